"""Differences: a bill as it is worked out again, laid beside the bill as it was issued. Pure.

Every line of both is compared field by field, and what differs is named by what it comes from: a
price, a reading of one day, an item, a coupon. What an older engine did not write down yet is not
held against its lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from invoices.bill_lines import BillLine
from invoices.fingerprints import canonical_json, plain_decimal
from invoices.invoice_papers import days_of
from invoices.models import InvoiceLine

# What keys of a line's evidence come straight out of: everything else is worked out.
_PRICE = ("plan", "plan_version", "units", "rule", "timing", "rounding", "included", "proration")
_USAGE = ("measured", "events", "meter_version", "from", "until")
_NAMES = {
    **{key: f"price {key}" for key in (*_PRICE, "meter", "aggregation")},
    **{key: f"usage {key}" for key in _USAGE},
    "bought": "item quantity",
    "days": "item life",
    "share": "item life",
    "of": "item grid",
    "reached_minor": "other lines reached_minor",
    "was": "usage was",
    "is": "usage is",
}
_SOURCES = {"discount": "coupon", "prepaid": "credit", "carried": "other lines"}
# Which of these a person should read first; everything else is a consequence.
_CAUSES = ("price", "reading", "usage", "item", "coupon", "credit", "other lines")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that does not agree: what it is, worked out again, and on the invoice.

    `line` is the line's position, None for the invoice as a whole.
    """

    line: int | None
    what: str
    expected: str
    found: str

    @property
    def is_cause(self) -> bool:
        """Whether it names something that lines are made from, rather than what came of it."""
        return self.what.startswith(_CAUSES)


def of_line(expected: BillLine, found: InvoiceLine) -> list[Difference]:
    """This function will compare a line with itself worked out again, causes first."""
    pairs = [*_columns(expected, found), *_evidence(expected, found)]
    differences = [
        Difference(found.position, what, _text(right), _text(wrong))
        for what, right, wrong in pairs
        if right != wrong and canonical_json(right) != canonical_json(wrong)
    ]
    return sorted(_without_echoes(differences), key=lambda each: not each.is_cause)


def is_old(line: InvoiceLine) -> bool:
    """This function will tell whether a line was issued before steps were written down."""
    return line.kind == "charge" and "steps" not in line.evidence


def missing(expected: BillLine) -> Difference:
    """This function will say that a line which belongs on the invoice is not there."""
    names = f"{expected.kind} {expected.charge}, {expected.amount_minor}"
    return Difference(None, "line missing", names, "nothing")


def surplus(found: InvoiceLine) -> Difference:
    """This function will say that a line stands on the invoice for no reason."""
    names = f"{found.kind} {found.charge}, {found.amount_minor}"
    return Difference(found.position, "line without a cause", "nothing", names)


def of_order(expected: Sequence[InvoiceLine]) -> Iterator[Difference]:
    """This function will name the lines that don't stand in the order they should."""
    in_place = sorted(line.position for line in expected)
    for place, line in zip(in_place, expected, strict=True):
        if place != line.position:
            yield Difference(line.position, "position", str(place), str(line.position))


def _columns(expected: BillLine, found: InvoiceLine) -> Iterator[tuple[str, Any, Any]]:
    start, end = days_of(found.period)
    source = _SOURCES.get(expected.kind, "price")
    yield "kind", expected.kind, found.kind
    yield "charge", expected.charge, found.charge
    yield "item price", expected.price_id, found.price_id
    yield f"{source} unit_amount", expected.unit_amount, found.unit_amount
    if not is_old(found):
        yield f"{source} names", list(expected.names), [found.name_ko, found.name_en]
    yield "period", [expected.period.start, expected.period.end], [start, end]
    yield "quantity", expected.quantity, found.quantity
    yield "amount", expected.amount_minor, found.amount_minor
    yield "readings_sha256", expected.readings_sha256, found.readings_sha256


def _evidence(expected: BillLine, found: InvoiceLine) -> Iterator[tuple[str, Any, Any]]:
    right, wrong = expected.evidence, found.evidence
    known = right.keys() | wrong.keys()
    if is_old(found):
        known = wrong.keys() - {"rule"}
    for key in sorted(known):
        if key == "readings":
            yield from _readings(expected, right.get(key, []), wrong.get(key, []))
        else:
            yield _named(expected.kind, key), right.get(key), wrong.get(key)


def _readings(
    expected: BillLine, right: Sequence[str], wrong: Sequence[str]
) -> Iterator[tuple[str, Any, Any]]:
    meter = expected.evidence.get("meter")
    if len(right) != len(wrong):
        yield "reading count", len(right), len(wrong)
        return
    for place, (now, then) in enumerate(zip(right, wrong, strict=True)):
        yield f"reading of {meter} on {_day(expected.period.start, place)}", now, then


def _day(start: date, place: int) -> str:
    return (start + timedelta(days=place)).isoformat()


def _named(kind: str, key: str) -> str:
    return f"{_SOURCES[kind]} {key}" if kind in _SOURCES else _NAMES.get(key, key)


def _without_echoes(differences: list[Difference]) -> Iterator[Difference]:
    """A changed reading changes their sum and their hash too: the day alone is worth naming."""
    readings = any(each.what.startswith("reading of") for each in differences)
    causes = any(each.is_cause for each in differences)
    for each in differences:
        if readings and each.what in ("usage measured", "readings_sha256"):
            continue
        if each.what == "readings_sha256":
            yield Difference(each.line, "reading hash", each.expected, each.found)
        elif each.what == "steps" and not causes:
            yield Difference(each.line, "price steps", each.expected, each.found)
        else:
            yield each


def _text(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list | dict):
        return canonical_json(value)
    return plain_decimal(value) if hasattr(value, "as_tuple") else str(value)
