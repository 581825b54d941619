"""On which days a plan is billed, in words, Korean and English. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from invoices.periods import Interval

_WEEKDAYS = (
    "월화수목금토일",
    ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
)
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
# What every month has.
_ALWAYS_THERE = 28


def words(intervals: Iterable[Interval], anchor: date, language: str) -> str:
    """This function will say on which days bills come, of periods counted from an anchor."""
    say = _ko if language == "ko" else _en
    said = dict.fromkeys(say(interval, anchor) for interval in intervals)
    return ", ".join(said)


def _ko(interval: Interval, anchor: date) -> str:
    count = interval.count
    if interval.unit == "week":
        often = "매주" if count == 1 else f"{count}주마다"
        return f"{often} {_WEEKDAYS[0][anchor.weekday()]}요일"
    if interval.unit == "month":
        often = "매월" if count == 1 else f"{count}개월마다"
        return f"{often} {anchor.day}일{_short_ko(anchor)}"
    often = "매년" if count == 1 else f"{count}년마다"
    return f"{often} {anchor.month}월 {anchor.day}일{_short_ko(anchor)}"


def _en(interval: Interval, anchor: date) -> str:
    count = interval.count
    often = f"each {interval.unit}" if count == 1 else f"every {count} {interval.unit}s"
    if interval.unit == "week":
        return f"{often} on {_WEEKDAYS[1][anchor.weekday()]}"
    if interval.unit == "month":
        return f"{often} on day {anchor.day}{_short_en(anchor)}"
    return f"{often} on {anchor.day} {_MONTHS[anchor.month - 1]}{_short_en(anchor)}"


def _short_ko(anchor: date) -> str:
    return " (그 날이 없는 달은 말일)" if anchor.day > _ALWAYS_THERE else ""


def _short_en(anchor: date) -> str:
    return " (the last day of a shorter month)" if anchor.day > _ALWAYS_THERE else ""
