"""Issue: a draft gets its number and its hash, is frozen, booked, put on paper and announced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session, selectinload

from app.base import clock, ids, messages, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.messages import Message
from app.base.money import Money
from invoices import fingerprints, ledger, numbering
from invoices.documents import shelf
from invoices.invoice_papers import days_of, invoice_paper
from invoices.models import INVOICE, Document, Invoice, InvoiceLine, PaymentMethod

LANGUAGES = ("ko", "en")
ISSUER = Actor.job("invoicing")


def issue(
    *,
    control_session: Session,
    invoice_ids: Sequence[UUID],
    now: datetime,
    actor: Actor = ISSUER,
) -> None:
    """This function will issue drafts, in the order given, in the caller's transaction.

    Numbers are taken here, under the series' lock, so that whoever is killed before the commit
    leaves no gap. An invoice over zero asks for nothing: it is settled as it is issued, without
    payment, booking or mail. Invoices that are no drafts any more are left alone.
    """
    invoices = _drafts(control_session, invoice_ids)
    if not invoices:
        return
    carded = _with_card(control_session, {invoice.tenant_id for invoice in invoices})
    _finish(control_session, invoices, now)
    ledger.post(
        control_session=control_session,
        bookings=[ledger.issue_of(invoice) for invoice in invoices],
        now=now,
    )
    _lay_out(control_session, invoices, carded, now)
    _announce(control_session, invoices, carded, now)
    # What `move_many` changes it also expires: everything that reads the invoices comes before.
    every = [invoice.id for invoice in invoices]
    settled = [invoice.id for invoice in invoices if invoice.total_minor == 0]
    _move(control_session, every, "issued", actor, now, why=None)
    _move(control_session, settled, "paid", actor, now, why="nothing to pay")


def _drafts(control_session: Session, invoice_ids: Sequence[UUID]) -> list[Invoice]:
    found = {
        invoice.id: invoice
        for invoice in control_session.scalars(
            select(Invoice)
            .where(Invoice.id.in_(invoice_ids), Invoice.state == "draft")
            .options(selectinload(Invoice.lines))
            .order_by(Invoice.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    }
    return [found[invoice_id] for invoice_id in invoice_ids if invoice_id in found]


def _with_card(control_session: Session, tenant_ids: set[UUID]) -> set[UUID]:
    return set(
        control_session.scalars(
            select(PaymentMethod.tenant_id).where(
                PaymentMethod.tenant_id.in_(tenant_ids),
                PaymentMethod.revoked_at.is_(None),
                PaymentMethod.is_default,
            )
        )
    )


def _finish(control_session: Session, invoices: Sequence[Invoice], now: datetime) -> None:
    """This function will give drafts their numbers, dates and hashes."""
    s = settings()
    year = numbering.year_of(now)
    due_on = clock.today(now, s.contract_timezone) + timedelta(days=s.payment_term_days)
    numbers = numbering.take(
        control_session=control_session,
        series=numbering.INVOICE_SERIES,
        year=year,
        count=len(invoices),
    )
    for invoice, number in zip(invoices, numbers, strict=True):
        invoice.year = year
        invoice.number = number
        invoice.number_text = numbering.number_text(invoice.series, year, number)
        invoice.issued_at = now
        invoice.due_on = due_on
        if invoice.total_minor == 0:
            invoice.paid_at = now
        else:
            invoice.collect_at = now
        invoice.content_sha256 = content_sha256(invoice=invoice, lines=invoice.lines)
    control_session.flush()


def content_sha256(*, invoice: Invoice, lines: Sequence[InvoiceLine]) -> str:
    """This function will fingerprint everything that stands on an invoice, as it is stored.

    Computed again from the rows at any later time it must equal what was stored at issue.
    """
    return fingerprints.sha256(
        {
            "number": [invoice.series, invoice.year, invoice.number, invoice.number_text],
            "tenant": invoice.tenant_id,
            "subscription": invoice.subscription_id,
            "period": days_of(invoice.period),
            "supplied_on": invoice.supplied_on,
            "issued_at": invoice.issued_at and invoice.issued_at.astimezone(UTC),
            "due_on": invoice.due_on,
            "seller": invoice.seller,
            "buyer": invoice.buyer,
            "currency": invoice.currency,
            "sums": [invoice.subtotal_minor, invoice.tax_minor, invoice.total_minor],
            "lines": [_line_content(line) for line in sorted(lines, key=lambda x: x.position)],
        }
    )


def _line_content(line: InvoiceLine) -> dict[str, Any]:
    return {
        "position": line.position,
        "charge": line.charge,
        "names": [line.name_ko, line.name_en],
        "period": days_of(line.period),
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "sums": [line.amount_minor, line.tax_minor],
        "price": line.price_id,
        "evidence": line.evidence,
        "readings_sha256": line.readings_sha256,
        # Lines were all charges before there were other kinds; their hashes stay what they were.
        **({} if line.kind == "charge" else {"kind": line.kind}),
    }


def _lay_out(
    control_session: Session, invoices: Sequence[Invoice], carded: set[UUID], now: datetime
) -> None:
    """This function will write the papers to render, one for each language."""
    rows: list[Mapping[str, Any]] = []
    for invoice in invoices:
        for language in LANGUAGES:
            paper = invoice_paper(
                invoice=invoice,
                lines=invoice.lines,
                language=language,
                by_card=invoice.tenant_id in carded,
            )
            rows.append(
                {
                    "id": ids.uuid7(),
                    "state": "due",
                    "tenant_id": invoice.tenant_id,
                    "kind": "invoice",
                    "subject_id": invoice.id,
                    "language": language,
                    "file_name": f"{invoice.number_text}-{language}.pdf",
                    "data": shelf.to_json(paper),
                    "data_sha256": shelf.content_sha256(paper),
                    "created_at": now,
                }
            )
    control_session.execute(insert(Document), rows)
    notify(control_session, "documents")


def _announce(
    control_session: Session, invoices: Sequence[Invoice], carded: set[UUID], now: datetime
) -> None:
    """This function will write the mails that say an invoice is there, once for each invoice."""
    rows = [
        _mail(invoice, by_card=invoice.tenant_id in carded, now=now)
        for invoice in invoices
        if invoice.total_minor and invoice.buyer["email"]
    ]
    if not rows:
        return
    control_session.execute(
        postgresql.insert(Message).on_conflict_do_nothing(index_elements=["dedupe_key"]), rows
    )
    notify(control_session, "messages")


def _mail(invoice: Invoice, *, by_card: bool, now: datetime) -> dict[str, Any]:
    language = invoice.buyer["language"] if invoice.buyer["language"] in LANGUAGES else "en"
    start, end = days_of(invoice.period)
    subject, text, html = messages.render(
        room="invoices",
        name="invoice_issued",
        language=language,
        context={
            "invoice_id": invoice.id,
            "number": invoice.number_text,
            "company": invoice.buyer["name"],
            "total": Money(invoice.total_minor, invoice.currency),
            "due_on": invoice.due_on,
            "first_day": start,
            "last_day": end - timedelta(days=1),
            "by_card": by_card,
            "bank_account": invoice.seller["bank_account"],
        },
    )
    return {
        "id": ids.uuid7(),
        "state": "due",
        "channel": "mail",
        "kind": "invoice_issued",
        "dedupe_key": f"invoice_issued:{invoice.id}",
        "recipient": invoice.buyer["email"],
        "language": language,
        "subject": subject,
        "text": text,
        "html": html,
        "advertising": False,
        "regarding_id": invoice.tenant_id,
        "created_at": now,
    }


def _move(
    control_session: Session,
    invoice_ids: list[UUID],
    to: str,
    actor: Actor,
    now: datetime,
    *,
    why: str | None,
) -> None:
    moved = states.move_many(
        control_session=control_session,
        machine=INVOICE,
        model=Invoice,
        ids=invoice_ids,
        to=to,
        actor=actor,
        now=now,
        why=why,
    )
    if len(moved) != len(invoice_ids):
        raise RuntimeError("an invoice that this transaction holds locked changed its state")
