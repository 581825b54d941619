"""Proration: what a part of a period costs. Exact fractions until the single rounding. Pure.

Two moments cut a part out of a grid period; each has a position from 0 (its beginning) to 1 (its
end). The part costs R(full · end) - R(full · start), the difference of two rounded prices and not
the rounded price of a difference: so the parts of a period, however many and wherever cut, add up
to R(full), and a credit takes back to the unit what its charge had asked for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal, localcontext
from fractions import Fraction

from app.base.money import Rounding, round_minor
from invoices import periods
from invoices.periods import Period

# none: the whole period whenever it is touched; day: by local days; second: by elapsed seconds.
PRORATIONS = ("none", "day", "second")

BEGINNING, END = Fraction(0), Fraction(1)
WHOLE = (BEGINNING, END)

_SECOND = timedelta(seconds=1)
_DAY = timedelta(days=1)
# Digits enough for a NUMERIC(38, 12) in minor units.
_PRECISION = 80


def share(
    *, policy: str, period: Period, timezone: str, start: datetime, end: datetime
) -> tuple[Fraction, Fraction]:
    """This function will return where a part of a grid period starts and ends in it, from 0 to 1.

    The part is `[start, end)`; what of it lies outside the period is cut off. By "day" a change
    takes effect as its local day begins and by "second" as its second does: both belong to what
    comes after. "none" gives the whole period, whatever part of it is asked for.

    Raises: ValueError for an unknown policy, an end before its start or a moment without a zone.
    """
    if policy not in PRORATIONS:
        raise ValueError(f"{policy!r} is none of {', '.join(PRORATIONS)}")
    if start.tzinfo is None or end.tzinfo is None:
        raise ValueError(f"{start} to {end} names no moments: they lack a time zone")
    if start > end:
        raise ValueError(f"a part does not end before it starts: {start} to {end}")
    if policy == "none":
        return WHOLE
    return (
        _position(policy, period, timezone, start),
        _position(policy, period, timezone, end),
    )


def part_minor(
    *, full_minor_exact: Decimal, share: tuple[Fraction, Fraction], rounding: Rounding
) -> int:
    """This function will return what a part of a period costs, in whole minor units.

    `full_minor_exact` is the price of the whole period in minor units, unrounded. To credit a part
    that was charged, negate the result.
    """
    start, end = share
    return round_share(full_minor_exact, end, rounding) - round_share(
        full_minor_exact, start, rounding
    )


def round_share(full_minor_exact: Decimal, position: Fraction, rounding: Rounding) -> int:
    """This function will round a price times a fraction to whole minor units, once and exactly."""
    if not position:
        return 0
    with localcontext(prec=_PRECISION):
        if position == END:
            return round_minor(full_minor_exact, rounding)
        exact = Fraction(full_minor_exact) * position
        whole, rest = divmod(abs(exact.numerator), exact.denominator)
        # A third has no last decimal. Rounding only asks whether what is left over is nothing,
        # less than a half, a half or more, and a quarter each says that as exactly.
        over_half = (2 * rest > exact.denominator) - (2 * rest < exact.denominator)
        left_over = (2 + over_half) * Decimal("0.25") if rest else Decimal(0)
        size = round_minor(whole + left_over, rounding)
    return size if exact >= 0 else -size


def _position(policy: str, period: Period, timezone: str, moment: datetime) -> Fraction:
    begins, ends = periods.bounds(period, timezone)
    if moment <= begins:
        return BEGINNING
    if moment >= ends:
        return END
    if policy == "second":
        return Fraction((moment - begins) // _SECOND, (ends - begins) // _SECOND)
    day_begins = periods.midnight(periods.local_day(moment, timezone), timezone)
    return Fraction(_days(begins, day_begins), _days(begins, ends))


def _days(earlier: datetime, later: datetime) -> int:
    """How many days lie between two midnights, be some 23 or 25 hours long.

    Counted by the time that passed and not on the calendar: a day that a zone left out when it
    crossed the date line was nobody's, and is not paid for.
    """
    return (later - earlier + _DAY / 2) // _DAY
