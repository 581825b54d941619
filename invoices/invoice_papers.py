"""An issued invoice as a paper: what the 청구서 says, in a language."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import ROUND_DOWN, Decimal

from sqlalchemy.dialects.postgresql import Range

from app.base import clock
from app.base.config import settings
from app.base.money import exponent
from invoices import parties, vat_lines
from invoices.documents import papers
from invoices.documents.papers import Evidence, InvoicePaper, PaymentMethod
from invoices.fingerprints import plain_decimal
from invoices.line_details import PLAIN_KINDS, plain_detail
from invoices.models import Invoice, InvoiceLine
from invoices.rating import AVERAGE_STEP
from invoices.sheets import Sheet, SheetLine

# Lines issued before charges had units of their own in their evidence.
_FIRST_UNITS = {"base": ["개월", "month"], "seats": ["명", "seats"], "storage": ["GB", "GB"]}
_FIRST_AGGREGATIONS = {"seats": "peak", "storage": "average"}
_MEASURED = {
    ("peak", "ko"): "최대 {measured} 사용",
    ("peak", "en"): "peak {measured}",
    ("average", "ko"): "평균 {measured} 사용",
    ("average", "en"): "average {measured}",
    ("sum", "ko"): "{measured} 사용",
    ("sum", "en"): "{measured} used",
    ("last", "ko"): "마지막 날 {measured}",
    ("last", "en"): "{measured} on the last day",
}


def invoice_paper(
    *,
    invoice: Invoice | Sheet,
    lines: Sequence[InvoiceLine] | Sequence[SheetLine],
    language: str,
    by_card: bool,
) -> InvoicePaper:
    """This function will put an invoice on paper.

    `by_card` tells whether a registered card will be charged for it; otherwise the paper asks for
    a transfer and names the account.
    """
    if invoice.issued_at is None or invoice.due_on is None or invoice.number_text is None:
        raise ValueError("only an invoice with its number and dates goes on paper")
    method = PaymentMethod.CARD if by_card else PaymentMethod.TRANSFER
    return InvoicePaper(
        number=invoice.number_text,
        issued_on=clock.today(invoice.issued_at, settings().contract_timezone),
        due_on=invoice.due_on,
        currency=invoice.currency,
        seller=parties.party(invoice.seller, language=language),
        buyer=parties.party(invoice.buyer, language=language),
        lines=tuple(_line(line, invoice.currency, language) for line in lines),
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        tax_treatment=vat_lines.printed(lines=lines, buyer=invoice.buyer),
        tax_percent=Decimal(parties.vat_percent(invoice.buyer)),
        evidence=_evidence(invoice, by_card),
        method=method,
        bank=None
        if by_card
        else parties.bank_account(invoice.seller, reference=invoice.number_text),
    )


def _evidence(invoice: Invoice | Sheet, by_card: bool) -> Evidence:
    if invoice.total_minor == 0 or invoice.buyer["country"] != "KR":
        return Evidence.NONE
    return Evidence.CARD_SLIP if by_card else Evidence.TAX_INVOICE


def _line(line: InvoiceLine | SheetLine, currency: str, language: str) -> papers.InvoiceLine:
    if line.kind in PLAIN_KINDS:
        return papers.InvoiceLine(
            description=line.name_ko if language == "ko" else line.name_en,
            detail=plain_detail(evidence=line.evidence, currency=currency, language=language),
            amount_minor=line.amount_minor,
        )
    start, end = days_of(line.period)
    return papers.InvoiceLine(
        description=line.name_ko if language == "ko" else line.name_en,
        detail=_detail(line, language),
        period_start=start,
        period_end=end,
        quantity=_short(line.quantity),
        unit=_unit(line, language),
        unit_price_minor=_short(line.unit_amount.scaleb(exponent(currency))),
        amount_minor=line.amount_minor,
    )


def _unit(line: InvoiceLine | SheetLine, language: str) -> str:
    units: list[str] = line.evidence.get("units") or _FIRST_UNITS.get(line.charge, ["", ""])
    return units[0] if language == "ko" else units[1]


def _detail(line: InvoiceLine | SheetLine, language: str) -> str:
    evidence = line.evidence
    if "measured" not in evidence:
        return ""
    aggregation = evidence.get("aggregation") or _FIRST_AGGREGATIONS.get(line.charge, "sum")
    # Cut as the billed quantity is, so that the printed figures subtract to it.
    shown = Decimal(evidence["measured"]).quantize(AVERAGE_STEP, rounding=ROUND_DOWN)
    unit = _unit(line, language)
    space = " " if unit.isascii() and unit else ""
    return _MEASURED[aggregation, language].format(measured=f"{_short(shown):,f}{space}{unit}")


def _short(value: Decimal) -> Decimal:
    """A stored decimal without the zeros that its column pads it with."""
    return Decimal(plain_decimal(value))


def days_of(period: Range[date]) -> tuple[date, date]:
    """This function will return the bounds of a stored period.

    Raises: ValueError for one that is open-ended, which billing never writes.
    """
    if period.lower is None or period.upper is None:
        raise ValueError("a billed period has both of its bounds")
    return period.lower, period.upper
