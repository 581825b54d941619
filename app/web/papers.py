"""The papers of an invoice, for the portal and the console alike: what there is, and its bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from flask import Response
from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import defer

from app.base.config import settings
from app.base.errors import NotFound
from app.base.money import exponent
from app.web.db import control
from app.web.exports import download
from app.web.format import money, number
from app.web.i18n import gettext, language, lazy
from invoices import paper_files
from invoices.line_details import PLAIN_KINDS, plain_detail
from invoices.models import (
    CashReceipt,
    CreditNote,
    Document,
    Invoice,
    InvoiceLine,
    Payment,
    PaymentReversal,
    TaxInvoice,
)

NAMES = {
    "invoice": lazy("Invoice"),
    "tax_invoice_supplier": lazy("Tax invoice, supplier's copy"),
    "tax_invoice_buyer": lazy("Tax invoice, buyer's copy"),
    "tax_invoice_supplier_accepted": lazy("Tax invoice as transmitted, supplier's copy"),
    "tax_invoice_buyer_accepted": lazy("Tax invoice as transmitted, buyer's copy"),
    "receipt": lazy("Payment receipt"),
    "credit_note": lazy("Credit note"),
    "statement": lazy("Statement of items"),
    "cash_receipt": lazy("Cash receipt"),
}
PAYMENT_KIND_NAMES = {
    "card": lazy("Card"),
    "transfer": lazy("Bank transfer"),
    "virtual_account": lazy("Virtual account"),
    "credit": lazy("Credit"),
}
# What a customer is handed: the supplier's copy stays with us.
CUSTOMER_KINDS = (
    "invoice",
    "tax_invoice_buyer",
    "tax_invoice_buyer_accepted",
    "receipt",
    "credit_note",
    "statement",
    "cash_receipt",
)
_ORDER = tuple(NAMES)
_BOUNDS = (("lower", "upper"), ("start", "end"), ("period_start", "period_end"))
_LANGUAGES = {"ko": "한국어", "en": "English"}


class NoSuchPaper(NotFound):
    """There is no such paper, or not of this invoice."""


_TAKEN_BACK = select(PaymentReversal).where(
    PaymentReversal.payment_id.in_(bindparam("payments", expanding=True))
)
_OF_INVOICE = (
    select(Document)
    # What stands on a paper is long, and not looked at here.
    .options(defer(Document.data))
    .where(
        Document.tenant_id == bindparam("tenant"),
        Document.kind.in_(bindparam("kinds", expanding=True)),
        or_(
            Document.subject_id == bindparam("invoice"),
            *(
                Document.subject_id.in_(
                    select(each.id).where(each.invoice_id == bindparam("invoice"))
                )
                for each in (Payment, TaxInvoice, CreditNote, CashReceipt)
            ),
        ),
    )
)


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One paper as a list shows it; `trouble` says why one is not there yet."""

    document: Document
    name: str
    language: str
    ready: bool
    trouble: str


def taken_back(payments: Sequence[Payment]) -> dict[UUID, PaymentReversal]:
    """This function will return how each of these payments was undone, of those that were."""
    if not payments:
        return {}
    found = control().scalars(_TAKEN_BACK, {"payments": [each.id for each in payments]})
    return {reversal.payment_id: reversal for reversal in found}


def of_invoice(
    *, invoice_id: UUID, tenant_id: UUID, kinds: tuple[str, ...] = _ORDER
) -> list[PaperRow]:
    """This function will list the papers that go with an invoice, ready or still to come."""
    wanted = {"invoice": invoice_id, "tenant": tenant_id, "kinds": kinds}
    found = control().scalars(_OF_INVOICE, wanted)
    mine = language()
    ordered = sorted(found, key=lambda d: (_ORDER.index(d.kind), d.language != mine, d.language))
    return [_row(document) for document in ordered]


def _row(document: Document) -> PaperRow:
    return PaperRow(
        document=document,
        name=str(NAMES[document.kind]),
        language=_LANGUAGES.get(document.language, document.language),
        ready=document.state == "ready",
        trouble=trouble(document),
    )


def trouble(document: Document) -> str:
    """This function will say in the reader's words why a paper is not there yet."""
    if document.state == "ready":
        return ""
    if document.last_error and "pango" in document.last_error.lower():
        return gettext(
            "A system library for PDFs is missing on our side. The paper follows by itself once "
            "it is installed; nothing is lost."
        )
    if document.attempts >= settings().work_attempts_max:
        return gettext("This paper could not be made. Our staff look into it.")
    return gettext("Being made; usually ready within a minute.")


def send(
    *,
    rows: list[PaperRow],
    document_id: UUID,
    tenant_id: UUID | None,
    inline: bool = False,
) -> Response:
    """This function will send one of the papers listed; staff name no tenant.

    Raises: NoSuchPaper; PaperNotReady (staff hear the machine's own reason); FileMissing.
    """
    row = next((each for each in rows if each.document.id == document_id), None)
    if row is None:
        raise NoSuchPaper("There is no such paper.")
    if not row.ready and tenant_id is not None:
        raise paper_files.PaperNotReady(row.trouble)
    opened = paper_files.open_paper(
        control_session=control(), document_id=document_id, tenant_id=tenant_id
    )
    return download(
        opened.stream,
        file_name=opened.file_name,
        media_type=opened.media_type,
        size_bytes=opened.size_bytes,
        inline=inline,
    )


def days(period: Any) -> str:
    """This function will write a half-open period by its first and its last day."""
    start, end = next(
        (getattr(period, first), getattr(period, last))
        for first, last in _BOUNDS
        if hasattr(period, first)
    )
    return f"{start:%Y-%m-%d} – {end - timedelta(days=1):%Y-%m-%d}"


def plus_days(day: date, number_of_days: int) -> str:
    """This function will write the day so many days later, short."""
    return f"{day + timedelta(days=number_of_days):%m-%d}"


def lines_of(invoice: Invoice, compact: bool = False) -> list[dict[str, Any]]:
    """This function will return an invoice's lines as the money table prints them.

    `compact`: quantity and unit price go into the note, for a narrow place.
    """
    return [_line(line, invoice.currency, compact) for line in invoice.lines]


def _line(line: InvoiceLine, currency: str, compact: bool) -> dict[str, Any]:
    if line.kind in PLAIN_KINDS:
        return {
            "text": line.name_ko if language() == "ko" else line.name_en,
            "note": plain_detail(evidence=line.evidence, currency=currency, language=language()),
            "amount_minor": line.amount_minor,
        }
    unit_minor = int(line.unit_amount.scaleb(exponent(currency)))
    shown: dict[str, Any] = {
        "text": line.name_ko if language() == "ko" else line.name_en,
        "note": days(line.period),
        "amount_minor": line.amount_minor,
    }
    if compact:
        shown["note"] += f" · {number(line.quantity)} × {money(unit_minor, currency)}"
        return shown
    return shown | {"quantity": number(line.quantity), "unit_minor": unit_minor}
