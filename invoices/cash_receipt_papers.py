"""A confirmed cash receipt, or its cancelling, as a paper in both languages."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import notify
from invoices import parties
from invoices.documents import shelf
from invoices.documents.papers import CashReceiptPaper
from invoices.models import CashReceipt, Document, Invoice

LANGUAGES = ("ko", "en")


def lay_out(*, control_session: Session, row: CashReceipt, now: datetime) -> None:
    """This function will write a cash receipt's papers to render, once."""
    control_session.flush()
    known = exists().where(Document.kind == "cash_receipt", Document.subject_id == row.id)
    if control_session.scalar(select(known)):
        return
    for language in LANGUAGES:
        paper = cash_receipt_paper(
            control_session=control_session, row=row, language=language, now=now
        )
        control_session.add(
            Document(
                tenant_id=row.tenant_id,
                kind="cash_receipt",
                subject_id=row.id,
                language=language,
                file_name=f"{row.key}-{language}.pdf",
                data=shelf.to_json(paper),
                data_sha256=shelf.content_sha256(paper),
                created_at=now,
            )
        )
    control_session.flush()
    notify(control_session, "documents")


def cash_receipt_paper(
    *, control_session: Session, row: CashReceipt, language: str, now: datetime
) -> CashReceiptPaper:
    """This function will put a cash receipt on paper; a cancelling one is negative."""
    invoice = control_session.get_one(Invoice, row.invoice_id)
    cancelled = control_session.get(CashReceipt, row.cancels_id) if row.cancels_id else None
    sign = -1 if cancelled else 1
    line = invoice.lines[0] if invoice.lines else None
    name = "" if line is None else line.name_ko if language == "ko" else line.name_en
    return CashReceiptPaper(
        number=row.number or "",
        traded_on=row.traded_on or clock.today(now, settings().contract_timezone),
        is_expense_proof=row.use == "expense_proof",
        identity=row.identity_masked,
        seller=parties.party(invoice.seller, language=language),
        buyer_name=str(invoice.buyer["name"]),
        item=name,
        order_number=invoice.number_text or "",
        supply_minor=sign * row.supply_minor,
        tax_minor=sign * row.tax_minor,
        total_minor=sign * row.total_minor,
        cancels_number=(cancelled.number or "") if cancelled else "",
        note=row.reason or "",
    )
