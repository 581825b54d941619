"""Billing periods: pure arithmetic on months, anchored to the day a subscription started on.

Period n of an anchor A is the half-open span [A + n months, A + (n+1) months). A month that lacks
the anchor's day ends on its own last one (31 January → 28 February → 31 March): each bound is
counted from the anchor, never from the bound before it, so a short month shortens nothing after it.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, timedelta


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Whole days from `start` up to, not including, `end`."""

    start: date
    end: date

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"a period has at least one day: {self.start} to {self.end}")

    @property
    def days(self) -> int:
        """How many days the period has."""
        return (self.end - self.start).days

    def each_day(self) -> list[date]:
        """This function will list the days of the period in order."""
        return [self.start + timedelta(days=number) for number in range(self.days)]


def months_after(anchor: date, months: int) -> date:
    """This function will return the anchor's day so many months later, or that month's last day."""
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    return date(year, month + 1, min(anchor.day, monthrange(year, month + 1)[1]))


def period(anchor: date, number: int) -> Period:
    """This function will return period `number` (from 0) of an anchor."""
    return Period(months_after(anchor, number), months_after(anchor, number + 1))


def number_on(anchor: date, day: date) -> int:
    """This function will return the number of the period that a day falls into.

    It is negative for a day before the anchor.
    """
    guess = (day.year - anchor.year) * 12 + day.month - anchor.month
    return guess if months_after(anchor, guess) <= day else guess - 1
