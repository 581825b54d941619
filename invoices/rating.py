"""Rating: what a charge costs over a stretch of time, from its price and its facts. Pure.

The only implementation there is: the billing run, previews and later proofs all call it. It takes
and returns dataclasses, counts in Decimal, and each line carries the evidence it was made from.
Facts become a quantity here, `pricing` makes it an exact amount, `proration` cuts and rounds it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction
from typing import Any
from uuid import UUID

from app.base.errors import Invalid
from app.base.money import Rounding, exponent, round_minor
from invoices import fingerprints, pricing, proration
from invoices.charges import Charge
from invoices.periods import Period, local_day
from invoices.pricing import Priced

# An average is billed in thousandths, rounded down (a gigabyte: whole megabytes), so that a person
# with a calculator gets our figure from the two numbers that are printed.
AVERAGE_STEP = Decimal("0.001")
# Digits enough for a NUMERIC(38, 12) times another without losing any.
_PRECISION = 80
ZERO, ONE = Decimal(0), Decimal(1)


class ReadingsMissing(Invalid):
    """A day of the period has no reading; a missing day never counts as zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """What a meter read on one day; `evidence_sha256` fingerprints the events behind it."""

    meter: str
    day: date
    quantity: Decimal
    evidence_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotal:
    """What a meter of pushed events counted between two moments; `sha256` fingerprints the sum's
    parts and `transactions` is how many events they were."""

    meter: str
    meter_version: int
    start: datetime
    end: datetime
    quantity: Decimal
    transactions: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a stretch is rated from; readings may hold other meters and other days as well."""

    readings: Sequence[ReadingRow] = ()
    total: UsageTotal | None = None


NO_FACTS = Facts()


@dataclass(frozen=True, slots=True)
class Stretch:
    """The part of a grid period over which a charge was in force.

    Prices and allowances are for the whole `period`; `share` is where the part starts and ends in
    it, and `days` its local days: a day belongs to what comes after a change on it.
    """

    period: Period
    days: Period | None  # None: begun and ended on one day
    share: tuple[Fraction, Fraction]
    first: date

    @classmethod
    def whole(cls, period: Period) -> Stretch:
        """This function will return all of a period."""
        return cls(period, period, proration.WHOLE, period.start)

    @classmethod
    def between(
        cls, *, charge: Charge, period: Period, timezone: str, start: datetime, end: datetime
    ) -> Stretch:
        """This function will return the part of a period between two moments in it."""
        share = proration.share(
            policy=charge.proration, period=period, timezone=timezone, start=start, end=end
        )
        first, past = local_day(start, timezone), local_day(end, timezone)
        return cls(period, Period(first, past) if first < past else None, share, first)

    @property
    def shown(self) -> Period:
        """The days to print; what begins and ends on one day is shown as that day."""
        return self.days or Period(self.first, self.first + timedelta(days=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """One charge over one stretch, priced; `evidence` is JSON and says how it came about."""

    kind: str  # charge | credit | commitment
    price_id: UUID
    charge: str
    period: Period
    quantity: Decimal
    unit_amount: Decimal
    amount_minor: int
    rounding: Rounding
    evidence: dict[str, Any]
    readings_sha256: str | None


@dataclass(frozen=True, slots=True)
class _Measured:
    quantity: Decimal
    transactions: int
    sha256: str | None
    evidence: dict[str, Any]


def rate(
    *,
    price_id: UUID,
    charge: Charge,
    currency: str,
    stretch: Stretch,
    quantity: Decimal = ONE,
    facts: Facts = NO_FACTS,
    free: Decimal = ZERO,
) -> RatedLine:
    """This function will price one charge over one stretch of time.

    `quantity` is what the subscriber bought, for a charge that no meter counts. `free` units are
    taken off beyond what the price includes; the evidence says how many there were to take.

    Raises: ReadingsMissing when a day of the stretch was not read, or no total is there.
    """
    with localcontext(prec=_PRECISION):
        measured = _measure(charge, stretch, quantity, facts)
        priced = _price(charge, stretch, measured)
        taken = min(free, _beyond_included(measured, priced))
        if taken:
            measured = replace(measured, quantity=measured.quantity - taken)
            priced = _price(charge, stretch, measured)
        full_minor = priced.amount.scaleb(exponent(currency))
        amount_minor = _amount_minor(charge, stretch, full_minor)
        evidence = _evidence(charge, stretch, measured, priced, full_minor)
        if free:
            evidence["free"] = fingerprints.plain_decimal(taken)
    return RatedLine(
        kind="charge",
        price_id=price_id,
        charge=charge.code,
        period=stretch.shown,
        quantity=priced.billed_quantity,
        unit_amount=charge.pricing.unit_amount,
        amount_minor=amount_minor,
        rounding=charge.rounding,
        evidence=evidence,
        readings_sha256=measured.sha256,
    )


def credit(
    *, price_id: UUID, charge: Charge, currency: str, stretch: Stretch, quantity: Decimal = ONE
) -> RatedLine:
    """This function will take back what was asked in advance for a stretch that is not used.

    With the part that was used it adds up to what was charged, to the minor unit.
    """
    asked = rate(
        price_id=price_id, charge=charge, currency=currency, stretch=stretch, quantity=quantity
    )
    return RatedLine(
        kind="credit",
        price_id=price_id,
        charge=charge.code,
        period=asked.period,
        quantity=-asked.quantity,
        unit_amount=asked.unit_amount,
        amount_minor=-asked.amount_minor,
        rounding=asked.rounding,
        evidence=asked.evidence,
        readings_sha256=None,
    )


def top_up(
    *, price_id: UUID, charge: Charge, currency: str, stretch: Stretch, reached_minor: int
) -> RatedLine:
    """This function will ask for what a period's charges lack to the minimum agreed upon.

    `reached_minor` is what the subscription's other charges of the same period came to.
    """
    asked = rate(price_id=price_id, charge=charge, currency=currency, stretch=stretch)
    return RatedLine(
        kind="commitment",
        price_id=price_id,
        charge=charge.code,
        period=asked.period,
        quantity=ONE,
        unit_amount=asked.unit_amount,
        amount_minor=max(0, asked.amount_minor - reached_minor),
        rounding=asked.rounding,
        evidence=asked.evidence
        | {"committed_minor": asked.amount_minor, "reached_minor": reached_minor},
        readings_sha256=None,
    )


def missing_days(*, charge: Charge, stretch: Stretch, readings: Sequence[ReadingRow]) -> list[date]:
    """This function will list the days of a stretch on which the charge's meter was not read."""
    if not charge.from_readings or stretch.days is None:
        return []
    read = {reading.day for reading in readings if reading.meter == charge.meter}
    return [day for day in stretch.days.each_day() if day not in read]


def readings_sha256(readings: Sequence[ReadingRow]) -> str:
    """This function will fingerprint readings, whatever order they come in."""
    rows = sorted((each.meter, each.day, each.quantity, each.evidence_sha256) for each in readings)
    return fingerprints.sha256(rows)


def _measure(charge: Charge, stretch: Stretch, quantity: Decimal, facts: Facts) -> _Measured:
    if charge.meter is None:
        return _Measured(quantity, 0, None, {})
    if charge.from_readings:
        return _measure_days(charge, stretch, facts.readings)
    total = facts.total
    if total is None or total.meter != charge.meter:
        raise ReadingsMissing(f"There is no total of {charge.meter}.")
    evidence = {
        "meter": total.meter,
        "meter_version": total.meter_version,
        "from": total.start.isoformat(),
        "until": total.end.isoformat(),
        "measured": fingerprints.plain_decimal(total.quantity),
        "events": total.transactions,
    }
    return _Measured(total.quantity, total.transactions, total.sha256, evidence)


def _measure_days(charge: Charge, stretch: Stretch, readings: Sequence[ReadingRow]) -> _Measured:
    if missing := missing_days(charge=charge, stretch=stretch, readings=readings):
        days = ", ".join(day.isoformat() for day in missing)
        raise ReadingsMissing(f"There is no reading of {charge.meter} for {days}.")
    used = _used(charge, stretch, readings)
    quantities = [reading.quantity for reading in used]
    measured = _COMBINED[str(charge.aggregation)](quantities) if used else Decimal(0)
    quantity = measured
    if charge.aggregation == "average":
        quantity = measured.quantize(AVERAGE_STEP, rounding=ROUND_DOWN)
    plain = fingerprints.plain_decimal
    evidence = {
        "meter": charge.meter,
        "aggregation": charge.aggregation,
        "measured": plain(round(measured, 12)),
        "readings": [plain(each) for each in quantities],
    }
    return _Measured(quantity, 0, readings_sha256(used), evidence)


def _used(charge: Charge, stretch: Stretch, readings: Sequence[ReadingRow]) -> list[ReadingRow]:
    days = stretch.days
    if days is None:
        return []
    return sorted(
        (
            reading
            for reading in readings
            if reading.meter == charge.meter and days.start <= reading.day < days.end
        ),
        key=lambda reading: reading.day,
    )


def _sum(quantities: Sequence[Decimal]) -> Decimal:
    return sum(quantities, Decimal(0))


_COMBINED: dict[str, Callable[[Sequence[Decimal]], Decimal]] = {
    "peak": max,
    "average": lambda quantities: _sum(quantities) / len(quantities),
    "sum": _sum,
    "last": lambda quantities: quantities[-1],
}


def _price(charge: Charge, stretch: Stretch, measured: _Measured) -> Priced:
    """What is used up by the piece has its allowance cut to the stretch; what is held its price."""
    begins, ends = stretch.share
    return pricing.price(
        pricing=charge.pricing,
        quantity=measured.quantity,
        transactions=measured.transactions,
        share=1 if charge.by_time else ends - begins,
    )


def _beyond_included(measured: _Measured, priced: Priced) -> Decimal:
    included = sum((step.quantity for step in priced.steps if step.rule == "included"), ZERO)
    return max(ZERO, measured.quantity - included)


def _amount_minor(charge: Charge, stretch: Stretch, full_minor: Decimal) -> int:
    if charge.once or not charge.by_time:
        return round_minor(full_minor, charge.rounding)
    return proration.part_minor(
        full_minor_exact=full_minor, share=stretch.share, rounding=charge.rounding
    )


def _evidence(
    charge: Charge, stretch: Stretch, measured: _Measured, priced: Priced, full_minor: Decimal
) -> dict[str, Any]:
    """This function will say how a line came about, in JSON: exact texts instead of numbers.

    A price that is cut to a stretch shows the whole period's amount and the stretch's share of it.
    """
    plain = fingerprints.plain_decimal
    evidence: dict[str, Any] = {
        "rule": charge.pricing.model,
        "timing": charge.timing,
        "days": stretch.days.days if stretch.days else 0,
        "exact_minor": plain(full_minor),
        "rounding": charge.rounding.value,
        "steps": [
            [step.rule, plain(step.quantity), plain(step.unit_amount), plain(step.amount)]
            for step in priced.steps
        ],
    }
    if charge.meter is not None:
        evidence |= measured.evidence | {"included": plain(charge.pricing.included)}
    elif measured.quantity != 1:
        evidence["bought"] = plain(measured.quantity)
    if stretch.share != proration.WHOLE and not charge.once:
        evidence["share"] = [str(position) for position in stretch.share]
        evidence["proration"] = charge.proration
        evidence["of"] = [stretch.period.start.isoformat(), stretch.period.end.isoformat()]
    return evidence
