"""Statements of items (거래명세서): an issued invoice's supplies, line by line, in two copies."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict, NotFound
from invoices import invoice_papers, parties
from invoices.documents import shelf
from invoices.documents.papers import Evidence, StatementLine, StatementPaper
from invoices.models import Document, Invoice, VatEvidence

LANGUAGES = ("ko", "en")
_EVIDENCE = {
    "card_slip": Evidence.CARD_SLIP,
    "cash_receipt": Evidence.CASH_RECEIPT,
    "tax_invoice": Evidence.TAX_INVOICE,
}


class NotSupplied(Conflict):
    """Only what was issued and stands has a statement of its items."""


def lay_out(*, control_session: Session, invoice_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will write an invoice's statement of items to render, one a language.

    Asked again, it stays the one that there is. Raises: NotFound, NotSupplied.
    """
    invoice = control_session.get(Invoice, invoice_id, with_for_update=True)
    if invoice is None:
        raise NotFound("There is no such invoice.")
    if invoice.number_text is None or invoice.state in ("draft", "void"):
        raise NotSupplied("Only an issued invoice has a statement of its items.")
    known = select(Document.id).where(
        Document.kind == "statement", Document.subject_id == invoice_id
    )
    if control_session.scalar(known.limit(1)) is not None:
        return
    kind = control_session.scalar(
        select(VatEvidence.kind).where(VatEvidence.invoice_id == invoice_id)
    )
    for language in LANGUAGES:
        paper = statement_paper(invoice=invoice, evidence=kind, language=language)
        control_session.add(
            Document(
                tenant_id=invoice.tenant_id,
                kind="statement",
                subject_id=invoice.id,
                language=language,
                file_name=f"STM-{invoice.number_text}-{language}.pdf",
                data=shelf.to_json(paper),
                data_sha256=shelf.content_sha256(paper),
                created_at=now,
            )
        )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="invoice.statement_made",
        subject_kind="invoice",
        subject_id=invoice.id,
        tenant_id=invoice.tenant_id,
        now=now,
    )
    control_session.flush()
    notify(control_session, "documents")


def statement_paper(*, invoice: Invoice, evidence: str | None, language: str) -> StatementPaper:
    """This function will put an invoice's supplies on paper.

    `evidence` is the kind that was chosen for the supply, None while none was.
    """
    billed = invoice_papers.invoice_paper(
        invoice=invoice, lines=invoice.lines, language=language, by_card=False
    )
    rows = tuple(
        StatementLine(
            supplied_on=(
                min(printed.period_end - timedelta(days=1), invoice.supplied_on)
                if printed.period_end
                else invoice.supplied_on
            ),
            item=printed.description,
            specification=printed.unit,
            quantity=printed.quantity,
            unit_price_minor=printed.unit_price_minor,
            supply_minor=line.amount_minor,
            tax_minor=line.tax_minor,
        )
        for printed, line in zip(billed.lines, invoice.lines, strict=True)
    )
    return StatementPaper(
        number=billed.number,
        supplied_on=invoice.supplied_on,
        currency=invoice.currency,
        seller=parties.party(invoice.seller, language=language),
        buyer=parties.party(invoice.buyer, language=language),
        lines=rows,
        supply_minor=invoice.subtotal_minor,
        tax_minor=invoice.tax_minor,
        total_minor=invoice.total_minor,
        evidence=_EVIDENCE.get(evidence or "", Evidence.NONE) if evidence else billed.evidence,
    )
