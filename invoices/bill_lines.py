"""Bill lines: what stands on a line of a bill before it is written, and how it is named. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.base.money import exponent
from invoices.charges import Charge
from invoices.discounts import Discount
from invoices.periods import Period
from invoices.quantity_words import counted
from invoices.rating import UsageTotal
from invoices.schedule import Span
from invoices.spending import Use

CORRECTED = ("정산: {name}", "Correction: {name}")


@dataclass(frozen=True, slots=True)
class Adjustment:
    """The total by which a line corrects what was billed for one item; each is a revision."""

    item_id: UUID
    group: tuple[tuple[str, str], ...]
    revision: int
    total: UsageTotal


@dataclass(frozen=True, slots=True)
class Corrects:
    """The part of an item's time, billed before, that a line puts right: what it came to and does.

    `total` is what it is priced from now; a minimum agreed upon has none.
    """

    span: Span
    was_minor: int
    is_minor: int
    total: UsageTotal | None = None

    @property
    def key(self) -> tuple[UUID, datetime]:
        """What the line that is put right is known by."""
        return self.span.item.item_id, self.span.start


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """One line of a bill, ready to be written; `span` is what of an item's time it takes."""

    kind: str
    charge: str
    names: tuple[str, str]
    period: Period
    quantity: Decimal
    unit_amount: Decimal
    amount_minor: int
    evidence: dict[str, Any]
    price_id: UUID | None = None
    readings_sha256: str | None = None
    span: Span | None = None
    use: Use | None = None
    discount: Discount | None = None
    adjustment: Adjustment | None = None
    corrects: Corrects | None = None


def names_of(charge: Charge) -> tuple[str, str]:
    """This function will name a charge on a bill, with what is included in it."""
    if not charge.pricing.included:
        return charge.name_ko, charge.name_en
    units = charge.unit_ko, charge.unit_en
    ko, en = (counted(charge.pricing.included, units, language) for language in ("ko", "en"))
    return (
        f"{charge.name_ko} (포함 {ko} 초과)",
        f"{charge.name_en} (above {en} included)",
    )


def plain(
    kind: str, amount_minor: int, period: Period, currency: str, evidence: dict[str, Any]
) -> BillLine:
    """This function will return a line that is an amount of money and no priced quantity."""
    return BillLine(
        kind=kind,
        charge="balance",
        names=("", ""),
        period=period,
        quantity=Decimal(1 if amount_minor > 0 else -1),
        unit_amount=Decimal(abs(amount_minor)).scaleb(-exponent(currency)),
        amount_minor=amount_minor,
        evidence=evidence,
    )


def named(pattern: tuple[str, str], names: tuple[str, str]) -> tuple[str, str]:
    """This function will put a charge's names into a pattern, Korean and English."""
    ko, en = (each.format(name=name) for each, name in zip(pattern, names, strict=True))
    return ko, en
