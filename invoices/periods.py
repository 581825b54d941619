"""Billing periods: pure arithmetic on weeks, months and years, counted from an anchor's day.

Period n of an anchor A is the half-open span [A + n intervals, A + (n+1) intervals). A month that
lacks the anchor's day ends on its own last one (31 January → 28 February → 31 March): each bound is
counted from the anchor, never from the bound before it, so a short month shortens nothing after it.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import count, takewhile
from zoneinfo import ZoneInfo

from app.base.errors import Invalid
from tenants import replay

_MONTHS = {"month": 1, "year": 12}
# Five years of each: 260 weeks are the most that always fit into them.
_COUNTS_MAX = {"week": 260, "month": 60, "year": 5}
UNITS = tuple(_COUNTS_MAX)
_DAYS_PER_WEEK = 7
_JANUARY = 1
_DAYS_IN_EVERY_MONTH = 28


class IntervalUnsound(Invalid):
    """Nobody is billed so often or so rarely; `field` says which of the two numbers is at fault."""


class BillingDayUnsound(Invalid):
    """The billing day is no day of a month, or of a week where weeks are counted."""


@dataclass(frozen=True, slots=True)
class Interval:
    """How long a period is: so many weeks, months or years, five years at most.

    Raises: IntervalUnsound.
    """

    count: int
    unit: str  # week | month | year

    def __post_init__(self) -> None:
        if self.unit not in _COUNTS_MAX:
            raise IntervalUnsound(f"Choose one of {', '.join(UNITS)}.", field="unit")
        most = _COUNTS_MAX[self.unit]
        # bool is an int to Python, but no count.
        if type(self.count) is not int or not 1 <= self.count <= most:
            raise IntervalUnsound(f"Bill every 1 to {most} {self.unit}s.", field="count")

    @property
    def days(self) -> int | None:
        """How many days each period has, where all have the same number: weeks alone."""
        return None if self.unit in _MONTHS else self.count * _DAYS_PER_WEEK

    @property
    def months(self) -> int:
        """How many months each period has; none where weeks are counted."""
        return self.count * _MONTHS.get(self.unit, 0)


MONTHLY = Interval(1, "month")
QUARTERLY = Interval(3, "month")
YEARLY = Interval(1, "year")


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
    if anchor.day <= _DAYS_IN_EVERY_MONTH:
        return date(year, month + 1, anchor.day)
    return date(year, month + 1, min(anchor.day, monthrange(year, month + 1)[1]))


def start_of(anchor: date, number: int, interval: Interval = MONTHLY) -> date:
    """This function will return the first day of period `number` (from 0) of an anchor."""
    if interval.days is not None:
        return anchor + timedelta(days=interval.days * number)
    return months_after(anchor, interval.months * number)


def period(anchor: date, number: int, interval: Interval = MONTHLY) -> Period:
    """This function will return period `number` (from 0) of an anchor."""
    return Period(start_of(anchor, number, interval), start_of(anchor, number + 1, interval))


def number_on(anchor: date, day: date, interval: Interval = MONTHLY) -> int:
    """This function will return the number of the period that a day falls into.

    It is negative for a day before the anchor.
    """
    if interval.days is not None:
        return (day - anchor).days // interval.days
    months = (day.year - anchor.year) * 12 + day.month - anchor.month
    guess = months // interval.months
    return guess if start_of(anchor, guess, interval) <= day else guess - 1


def periods_from(anchor: date, first: date, interval: Interval = MONTHLY) -> Iterator[Period]:
    """This function will yield the period that a day falls into and all after it, without end."""
    number = number_on(anchor, first, interval)
    start = start_of(anchor, number, interval)
    for following in count(number + 1):
        end = start_of(anchor, following, interval)
        yield Period(start, end)
        start = end


def periods_between(
    anchor: date, first: date, until: date, interval: Interval = MONTHLY
) -> Iterator[Period]:
    """This function will yield, whole and in order, each period with a day in `[first, until)`."""
    return takewhile(lambda each: each.start < until, periods_from(anchor, first, interval))


def anchor_for(*, starts_on: date, billing_day: int | None, interval: Interval) -> date:
    """This function will return the day that a subscription's periods are counted from.

    Without a billing day it is the day of the start. With one (a day of the month 1–31, or an ISO
    weekday 1–7 for weeks) it is the last such day up to the start: for months and years a day in
    January, which has all 31, so that the day survives short months and quarters begin with the
    year. The start then lies in period `number_on(anchor, starts_on)`, which need not be 0, and
    what lies before it in that period is not the subscription's.

    Raises: BillingDayUnsound.
    """
    if billing_day is None:
        return starts_on
    last = _DAYS_PER_WEEK if interval.unit == "week" else 31
    if type(billing_day) is not int or not 1 <= billing_day <= last:
        raise BillingDayUnsound(
            f"The billing day is a number from 1 to {last}.", field="billing_day"
        )
    if interval.unit == "week":
        return starts_on - timedelta(days=(starts_on.isoweekday() - billing_day) % _DAYS_PER_WEEK)
    this_year = date(starts_on.year, _JANUARY, billing_day)
    return this_year if this_year <= starts_on else this_year.replace(year=starts_on.year - 1)


def bounds(period: Period, timezone: str) -> tuple[datetime, datetime]:
    """This function will return when a period begins and ends in a time zone, in UTC."""
    return midnight(period.start, timezone), midnight(period.end, timezone)


def local_day(moment: datetime, timezone: str) -> date:
    """This function will return the day of a time zone within whose bounds a moment lies.

    It is the date on the clocks there, but for the minutes after a midnight that clocks set back
    undo: the new day has begun then, so that days never turn back and each moment is in one only.

    Raises: ValueError when the moment has no time zone of its own.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment} names no moment: it lacks a time zone")
    shown = moment.astimezone(ZoneInfo(timezone)).date()
    if moment < midnight(shown, timezone):
        return shown - timedelta(days=1)
    following = shown + timedelta(days=1)
    return following if moment >= midnight(following, timezone) else shown


@lru_cache(maxsize=8192)
def midnight(day: date, timezone: str) -> datetime:
    """This function will return when a day begins in a time zone, in UTC.

    A billing run asks for the same few midnights for every subscription, so they are kept.
    """
    return replay.bounds(day, timezone)[0].astimezone(UTC)
