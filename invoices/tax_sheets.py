"""The sheets of an amendment: what each says, by the reason for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from uuid import UUID

from invoices import tax_invoices
from invoices.documents.papers import (
    Amendment,
    Party,
    Purpose,
    TaxInvoiceLine,
    TaxInvoicePaper,
    TaxTreatment,
)
from invoices.models import TaxInvoice
from invoices.tax_papers import standard

_ON_THE_DAY = (Amendment.PRICE_CHANGE, Amendment.RETURN, Amendment.CONTRACT_ENDED)
_ITEMS = {
    Amendment.PRICE_CHANGE: "공급가액 변동",
    Amendment.RETURN: "환입",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A supply that became smaller: `supply_minor` and `tax_minor` are what it lost, positive."""

    cause_id: UUID
    invoice_id: UUID
    supply_minor: int
    tax_minor: int
    on: date
    reason: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What tax papers say of a supply now: the one that counts, and all that changed it since."""

    basis: TaxInvoice
    since: tuple[TaxInvoice, ...]

    @property
    def supply_minor(self) -> int:
        """What is left of the supply, by paper."""
        return self.basis.supply_minor + sum(row.supply_minor for row in self.since)

    @property
    def tax_minor(self) -> int:
        """What is left of its tax, by paper."""
        return self.basis.tax_minor + sum(row.tax_minor for row in self.since)


def papers(
    *, stands: Standing, amendment: Amendment, correction: Correction, buyer: Party | None = None
) -> list[TaxInvoicePaper]:
    """This function will write the sheets of an amendment, their numbers still to come."""
    original = tax_invoices.paper_of(stands.basis)
    day = correction.on if amendment in _ON_THE_DAY else original.written_on
    noted = f"당초 작성일자 {original.written_on:%Y-%m-%d}" if amendment in _ON_THE_DAY else ""
    frame = replace(
        original,
        written_on=day,
        amendment=amendment,
        original_approval_number=stands.basis.handed_in_number or stands.basis.issue_id or "",
        approval_number="",
        transmitted_on=None,
        remark=" ".join(filter(None, (noted, original.remark))),
    )
    if amendment in _ITEMS:
        part = _part(original, amendment, correction)
        return [_with(frame, [part])]
    negative = _with(frame, _undone(stands, original, day))
    if amendment is Amendment.CLERICAL_ERROR:
        return [negative, replace(_turned(negative), buyer=buyer or original.buyer)]
    if amendment is Amendment.LETTER_OF_CREDIT:
        return [negative, _zero_rated(negative)]
    return [negative]


def _part(
    original: TaxInvoicePaper, amendment: Amendment, correction: Correction
) -> TaxInvoiceLine:
    return TaxInvoiceLine(
        supplied_on=correction.on,
        item=f"{_ITEMS[amendment]}: {original.lines[0].item}"[: standard.ITEM_MAX],
        supply_minor=-correction.supply_minor,
        tax_minor=-correction.tax_minor,
        remark=correction.reason,
    )


def _undone(stands: Standing, original: TaxInvoicePaper, day: date) -> list[TaxInvoiceLine]:
    """Every line with its sign turned; one line over the rest where amendments came between."""
    if not stands.since:
        return [replace(_minus(line), supplied_on=day) for line in original.lines]
    return [
        TaxInvoiceLine(
            supplied_on=day,
            item=f"{original.lines[0].item} 외 잔액"[: standard.ITEM_MAX],
            supply_minor=-stands.supply_minor,
            tax_minor=-stands.tax_minor,
        )
    ]


def _minus(line: TaxInvoiceLine) -> TaxInvoiceLine:
    return replace(
        line,
        quantity=None if line.quantity is None else -line.quantity,
        supply_minor=-line.supply_minor,
        tax_minor=-line.tax_minor,
    )


def _turned(paper: TaxInvoicePaper) -> TaxInvoicePaper:
    return _with(paper, [_minus(line) for line in paper.lines])


def _zero_rated(negative: TaxInvoicePaper) -> TaxInvoicePaper:
    lines = [replace(_minus(line), tax_minor=0) for line in negative.lines]
    return _with(negative, lines, treatment=TaxTreatment.ZERO_RATED)


def _with(
    paper: TaxInvoicePaper,
    lines: Sequence[TaxInvoiceLine],
    *,
    treatment: TaxTreatment | None = None,
) -> TaxInvoicePaper:
    """The same paper over other lines: sums and means of payment follow from them."""
    supply = sum(line.supply_minor for line in lines)
    tax = sum(line.tax_minor for line in lines)
    received = paper.purpose is Purpose.RECEIVED
    return replace(
        paper,
        lines=tuple(lines),
        supply_minor=supply,
        tax_minor=tax,
        total_minor=supply + tax,
        tax_treatment=treatment or paper.tax_treatment,
        cash_minor=supply + tax if received else 0,
        cheque_minor=0,
        note_minor=0,
        credit_minor=0 if received else supply + tax,
    )
