"""Receipts: the paper and the mail that say that the money came. They are no VAT evidence."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock, messages
from app.base.config import settings
from app.base.db import notify
from app.base.money import Money
from invoices import cash_receipts, parties, tax_invoices
from invoices.documents import shelf
from invoices.documents.papers import Evidence, PaidInvoice, ReceiptPaper
from invoices.documents.papers import PaymentMethod as Means
from invoices.models import (
    Document,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    VatEvidence,
)

LANGUAGES = ("ko", "en")
_KEPT = {
    "ko": "이 중 {kept}은 다음 청구서에 쓰도록 보관합니다.",
    "en": "{kept} of it is kept as credit for later invoices.",
}


def issue(*, control_session: Session, invoice: Invoice, payment: Payment, now: datetime) -> None:
    """This function will lay out the receipts of a payment, one a language, and write the mail.

    None for a customer whose data is gone: nobody is left whom it could name, or reach.
    """
    control_session.flush()
    if invoice.set_apart_at is not None:
        return
    masked = _masked(control_session, payment)
    place = _place(control_session, payment)
    evidence = _evidence(control_session, invoice, payment)
    for language in LANGUAGES:
        paper = receipt_paper(
            invoice=invoice,
            payment=payment,
            masked=masked,
            evidence=evidence,
            language=language,
            now=now,
            place=place,
        )
        control_session.add(
            Document(
                tenant_id=invoice.tenant_id,
                kind="receipt",
                subject_id=payment.id,
                language=language,
                file_name=f"{paper.number}-{language}.pdf",
                data=shelf.to_json(paper),
                data_sha256=shelf.content_sha256(paper),
                created_at=now,
            )
        )
    control_session.flush()
    notify(control_session, "documents")
    _tell(control_session, invoice, payment, masked, now)


def receipt_paper(
    *,
    invoice: Invoice,
    payment: Payment,
    masked: str,
    evidence: Evidence,
    language: str,
    now: datetime,
    place: int = 1,
) -> ReceiptPaper:
    """This function will put a payment on paper: what came, and what of it is kept as credit."""
    if invoice.number_text is None or invoice.issued_at is None:
        raise ValueError("only an issued invoice is receipted")
    zone = settings().contract_timezone
    by_card = payment.kind == "card"
    kept = Money(payment.amount_minor - payment.settled_minor, payment.currency)
    return ReceiptPaper(
        number=number_of(invoice, place),
        issued_on=clock.today(now, zone),
        received_on=payment.received_on,
        currency=payment.currency,
        seller=parties.party(invoice.seller, language=language),
        payer=parties.party(invoice.buyer, language=language),
        amount_minor=payment.amount_minor,
        method=Means.CARD if by_card else Means.TRANSFER,
        method_detail=masked,
        reference=payment.payer or "",
        settled=(
            PaidInvoice(
                number=invoice.number_text,
                issued_on=clock.today(invoice.issued_at, zone),
                total_minor=invoice.total_minor,
                paid_minor=payment.amount_minor,
            ),
        ),
        evidence=evidence,
        note=_KEPT[language].format(kept=kept) if kept.amount_minor else "",
    )


def number_of(invoice: Invoice, place: int = 1) -> str:
    """This function will return a receipt's number: its invoice's, and its place if later."""
    first = f"RCT-{invoice.year}-{invoice.number:06d}"
    return first if place == 1 else f"{first}-{place}"


def _place(control_session: Session, payment: Payment) -> int:
    """Which of the payments of its invoice it is; credit that is used makes no receipt."""
    return control_session.scalars(
        select(func.count()).where(
            Payment.invoice_id == payment.invoice_id, Payment.kind != "credit"
        )
    ).one()


def _masked(control_session: Session, payment: Payment) -> str:
    if payment.attempt_id is None:
        return ""
    masked = control_session.scalar(
        select(PaymentMethod.masked)
        .join(PaymentAttempt, PaymentAttempt.method_id == PaymentMethod.id)
        .where(PaymentAttempt.id == payment.attempt_id)
    )
    return masked or ""


def _evidence(control_session: Session, invoice: Invoice, payment: Payment) -> Evidence:
    """This function will name the supply's one evidence: chosen already, or as it will be."""
    chosen = control_session.scalar(
        select(VatEvidence.kind).where(VatEvidence.invoice_id == invoice.id)
    )
    if chosen is None and payment.kind == "card":
        return Evidence.CARD_SLIP
    if chosen == "cash_receipt" or (chosen is None and _wanted(control_session, invoice)):
        return Evidence.CASH_RECEIPT
    if chosen == "tax_invoice" or (chosen is None and tax_invoices.hindrance(invoice) is None):
        return Evidence.TAX_INVOICE
    return Evidence.NONE


def _wanted(control_session: Session, invoice: Invoice) -> bool:
    wish = cash_receipts.of_invoice(control_session=control_session, invoice_id=invoice.id)
    return wish is not None


def _tell(
    control_session: Session, invoice: Invoice, payment: Payment, masked: str, now: datetime
) -> None:
    to = invoice.buyer.get("email")
    if not to:
        return
    language = invoice.buyer["language"] if invoice.buyer["language"] in LANGUAGES else "en"
    messages.queue_mail(
        control_session=control_session,
        room="invoices",
        name="payment_received",
        to=to,
        language=language,
        context={
            "company": invoice.buyer["name"],
            "number": invoice.number_text,
            "total": str(Money(payment.amount_minor, payment.currency)),
            "received_on": payment.received_on,
            "masked": masked,
            "invoice_id": invoice.id,
        },
        regarding_id=invoice.tenant_id,
        dedupe_key=f"payment_received:{payment.id}",
        now=now,
    )
