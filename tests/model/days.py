"""Days, moments and periods, found by looking for them one day after the other. No engine."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo

from tests.model.histories import Priced

DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
Days = tuple[date, date]  # from the first, up to but not including the second


@cache
def midnight(day: date, zone: str) -> datetime:
    """The first moment at which the clocks there show that day (or a later one)."""
    clock = ZoneInfo(zone)
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while moment.astimezone(clock).date() < day:
        moment += timedelta(minutes=15)  # where and when all clocks here are turned
    return moment


@cache
def day_of(moment: datetime, zone: str) -> date:
    """The day there whose beginning was the last before a moment."""
    day = moment.astimezone(ZoneInfo(zone)).date() - DAY
    while midnight(day + DAY, zone) <= moment:
        day += DAY
    return day


def begins(day: date, anchor: date, every: tuple[int, str]) -> bool:
    """Whether a period begins on a day: weeks on its weekday, months on its day or their last."""
    count, unit = every
    if unit == "week":
        return (day - anchor).days % (7 * count) == 0
    months = count * (12 if unit == "year" else 1)
    passed = (day.year - anchor.year) * 12 + day.month - anchor.month
    last = monthrange(day.year, day.month)[1]
    return passed % months == 0 and day.day == min(anchor.day, last)


@cache
def period_of(day: date, anchor: date, every: tuple[int, str]) -> Days:
    """The whole period that a day lies in."""
    first, past = day, day + DAY
    while not begins(first, anchor, every):
        first -= DAY
    while not begins(past, anchor, every):
        past += DAY
    return first, past


def months_later(day: date, months: int) -> date:
    """The same day so many months later, or that month's last one."""
    return period_of(day, day, (months, "month"))[1]


def position(charge: Priced, period: Days, moment: datetime, zone: str) -> Fraction:
    """How much of a period is over at a moment, by days or by seconds."""
    first, past = (midnight(day, zone) for day in period)
    moment = min(max(moment, first), past)
    if charge.proration == "second":
        return Fraction((moment - first) // SECOND, (past - first) // SECOND)
    return Fraction((day_of(moment, zone) - period[0]).days, (period[1] - period[0]).days)
