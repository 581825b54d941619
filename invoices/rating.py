"""Rating: what a charge costs for a period, from its price and its readings. Pure.

The only implementation there is: the billing run, previews and later proofs all call it. It takes
and returns dataclasses, counts in Decimal, and each line carries the evidence it was made from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import Any
from uuid import UUID

from app.base.errors import Invalid
from app.base.money import Rounding, exponent, round_minor
from invoices import fingerprints
from invoices.periods import Period

# A fraction of a won or cent is dropped: the customer never pays more than the exact product.
AMOUNT_ROUNDING = Rounding.DOWN
# Average storage is billed in whole megabytes, rounded down, so that a person with a calculator
# gets our figure from the two numbers that are printed.
STORAGE_STEP_GB = Decimal("0.001")
# Digits enough for a NUMERIC(38, 12) times another without losing any.
_PRECISION = 80


class ReadingsMissing(Invalid):
    """A day of the period has no reading; a missing day never counts as zero."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTerm:
    """One charge of a price list: `unit_amount` in major units, `included` in the meter's unit."""

    price_id: UUID
    charge: str  # base | seats | storage
    timing: str  # advance | arrears
    meter: str | None
    unit_amount: Decimal
    included: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingRow:
    """What a meter read on one day; `evidence_sha256` fingerprints the events behind it."""

    meter: str
    day: date
    quantity: Decimal
    evidence_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """One charge of one period, priced; `evidence` is JSON and says how the amount came about."""

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
class Taxes:
    """The tax on a bill: `lines_minor` are the shares of its lines and add up to `total_minor`."""

    total_minor: int
    lines_minor: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Measured:
    rule: str
    measured: Decimal | None  # before what is included was taken off
    quantity: Decimal


def rate(
    *, term: PriceTerm, currency: str, period: Period, readings: Sequence[ReadingRow] = ()
) -> RatedLine:
    """This function will price one charge over one period.

    `readings` may hold other meters and other days: only those of the term's meter within the
    period count.

    Raises: ReadingsMissing when a day of the period was not read.
    """
    used = _used(term, period, readings)
    if missing := missing_days(term=term, period=period, readings=readings):
        days = ", ".join(day.isoformat() for day in missing)
        raise ReadingsMissing(f"There is no reading of {term.meter} for {days}.")
    with localcontext(prec=_PRECISION):
        measured = _RULES[term.charge](term, period, used)
        exact_minor = (term.unit_amount * measured.quantity).scaleb(exponent(currency))
        amount_minor = round_minor(exact_minor, AMOUNT_ROUNDING)
    return RatedLine(
        price_id=term.price_id,
        charge=term.charge,
        period=period,
        quantity=measured.quantity,
        unit_amount=term.unit_amount,
        amount_minor=amount_minor,
        rounding=AMOUNT_ROUNDING,
        evidence=_evidence(term, period, measured, exact_minor, used),
        readings_sha256=readings_sha256(used) if term.meter else None,
    )


def missing_days(*, term: PriceTerm, period: Period, readings: Sequence[ReadingRow]) -> list[date]:
    """This function will list the days of a period on which the term's meter was not read."""
    if term.meter is None:
        return []
    read = {reading.day for reading in readings if reading.meter == term.meter}
    return [day for day in period.each_day() if day not in read]


def readings_sha256(readings: Sequence[ReadingRow]) -> str:
    """This function will fingerprint readings, whatever order they come in."""
    rows = sorted((each.meter, each.day, each.quantity, each.evidence_sha256) for each in readings)
    return fingerprints.sha256(rows)


def taxes(*, amounts_minor: Sequence[int], rate_percent: int, rounding: Rounding) -> Taxes:
    """This function will return the tax on a bill and each line's share of it.

    The tax is taken once on the sum. Each line gets its own, rounded alike; what the fractions
    leave over goes to the last line that has an amount, so that lines and total agree.

    Source: VAT Act §30; dropping fractions of a won (절사) is customary and a named setting.
    """

    def tax(amount_minor: int) -> int:
        return round_minor(Decimal(amount_minor) * rate_percent / 100, rounding)

    total = tax(sum(amounts_minor))
    shares = [tax(amount) for amount in amounts_minor]
    charged = [place for place, amount in enumerate(amounts_minor) if amount]
    if charged:
        shares[charged[-1]] += total - sum(shares)
    return Taxes(total, tuple(shares))


def _used(term: PriceTerm, period: Period, readings: Sequence[ReadingRow]) -> list[ReadingRow]:
    if term.meter is None:
        return []
    return sorted(
        (
            reading
            for reading in readings
            if reading.meter == term.meter and period.start <= reading.day < period.end
        ),
        key=lambda reading: reading.day,
    )


def _flat(_term: PriceTerm, _period: Period, _readings: Sequence[ReadingRow]) -> _Measured:
    return _Measured("flat", None, Decimal(1))


def _peak_over_included(
    term: PriceTerm, _period: Period, readings: Sequence[ReadingRow]
) -> _Measured:
    peak = max(reading.quantity for reading in readings)
    return _Measured("peak_over_included", peak, max(Decimal(0), peak - term.included))


def _average_over_included(
    term: PriceTerm, period: Period, readings: Sequence[ReadingRow]
) -> _Measured:
    average = sum((reading.quantity for reading in readings), Decimal(0)) / period.days
    over = max(Decimal(0), average - term.included)
    billed = over.quantize(STORAGE_STEP_GB, rounding=ROUND_DOWN)
    return _Measured("average_over_included", average, billed)


_RULES: dict[str, Callable[[PriceTerm, Period, Sequence[ReadingRow]], _Measured]] = {
    "base": _flat,
    "seats": _peak_over_included,
    "storage": _average_over_included,
}


def _evidence(
    term: PriceTerm,
    period: Period,
    measured: _Measured,
    exact_minor: Decimal,
    readings: Sequence[ReadingRow],
) -> dict[str, Any]:
    """This function will say how a line came about, in JSON: exact texts instead of numbers.

    `readings` are the daily quantities from the period's first day on, without a gap.
    """
    plain = fingerprints.plain_decimal
    evidence: dict[str, Any] = {
        "rule": measured.rule,
        "timing": term.timing,
        "days": period.days,
        "exact_minor": plain(exact_minor),
        "rounding": AMOUNT_ROUNDING.value,
    }
    if term.meter is not None and measured.measured is not None:
        evidence |= {
            "meter": term.meter,
            "measured": plain(round(measured.measured, 12)),
            "included": plain(term.included),
            "readings": [plain(reading.quantity) for reading in readings],
        }
    return evidence
