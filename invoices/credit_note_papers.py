"""A credit note as a paper, in both languages, and the mail that says it is there."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from sqlalchemy.orm import Session

from app.base import clock, messages
from app.base.config import settings
from app.base.db import notify
from app.base.money import Money
from invoices import parties, vat_lines
from invoices.documents import papers, shelf
from invoices.documents.papers import Evidence, InvoicePaper
from invoices.models import CreditNote, Document, Invoice

LANGUAGES = ("ko", "en")
_LINE = {
    "ko": ("청구서 {number} 일부 취소", "청구서 {number} 전부 취소"),
    "en": ("Taken back in part: invoice {number}", "Taken back in whole: invoice {number}"),
}
_FATE = {
    "ko": (
        "받지 않는 금액 {sum}",
        "돌려드리는 금액 {sum}",
        "다음 청구서에 쓰도록 보관하는 금액 {sum}",
    ),
    "en": ("{sum} is not owed any more", "{sum} is sent back", "{sum} is kept for later invoices"),
}


def lay_out(*, control_session: Session, note: CreditNote, invoice: Invoice, now: datetime) -> None:
    """This function will write a credit note's papers to render, and tell the customer."""
    for language in LANGUAGES:
        paper = credit_note_paper(note=note, invoice=invoice, language=language)
        control_session.add(
            Document(
                tenant_id=note.tenant_id,
                kind="credit_note",
                subject_id=note.id,
                language=language,
                file_name=f"{note.number_text}-{language}.pdf",
                data=shelf.to_json(paper),
                data_sha256=shelf.content_sha256(paper),
                created_at=now,
            )
        )
    control_session.flush()
    notify(control_session, "documents")
    _tell(control_session, note, invoice, now)


def credit_note_paper(*, note: CreditNote, invoice: Invoice, language: str) -> InvoicePaper:
    """This function will put a credit note on paper: negative amounts, and what becomes of them.

    Seller and buyer are those of the invoice it corrects.
    """
    issued_on = clock.today(note.issued_at, settings().contract_timezone)
    words = _LINE[language][1 if note.is_whole and note.total_minor == invoice.total_minor else 0]
    return InvoicePaper(
        number=note.number_text,
        issued_on=issued_on,
        due_on=issued_on,
        currency=note.currency,
        seller=parties.party(invoice.seller, language=language),
        buyer=parties.party(invoice.buyer, language=language),
        lines=(
            papers.InvoiceLine(
                description=words.format(number=invoice.number_text),
                detail=note.reason,
                amount_minor=-note.subtotal_minor,
            ),
        ),
        supply_minor=-note.subtotal_minor,
        tax_minor=-note.tax_minor,
        total_minor=-note.total_minor,
        tax_treatment=vat_lines.printed(lines=invoice.lines, buyer=invoice.buyer),
        tax_percent=Decimal(parties.vat_percent(invoice.buyer)),
        evidence=Evidence.NONE,
        corrects_number=invoice.number_text or "",
        note=fate(note, language),
    )


def fate(note: CreditNote, language: str) -> str:
    """This function will say in words what becomes of the amount."""
    sums = (note.open_minor, note.refund_minor, note.kept_minor)
    return " · ".join(
        words.format(sum=Money(amount, note.currency))
        for words, amount in zip(_FATE[language], sums, strict=True)
        if amount
    )


def _tell(control_session: Session, note: CreditNote, invoice: Invoice, now: datetime) -> None:
    to = invoice.buyer.get("email")
    if not to:
        return
    language = invoice.buyer["language"] if invoice.buyer["language"] in LANGUAGES else "en"
    messages.queue_mail(
        control_session=control_session,
        room="invoices",
        name="credit_note_issued",
        to=to,
        language=language,
        context={
            "company": invoice.buyer["name"],
            "number": note.number_text,
            "invoice_number": invoice.number_text,
            "total": str(Money(note.total_minor, note.currency)),
            "fate": fate(note, language),
            "reason": note.reason,
            "invoice_id": invoice.id,
        },
        regarding_id=note.tenant_id,
        dedupe_key=f"credit_note_issued:{note.id}",
        now=now,
    )
