"""Issue: bills get their numbers and hashes and are written with all that follows from them.

Everything is computed first and then written by COPY, a statement for each table: an invoice that
is issued at once is never a draft in the database, so nothing of it is written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit, bulk, clock, ids, messages
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.money import Money
from invoices import bookings, deferrals, fingerprints, ledger, numbering, writing
from invoices.documents import shelf
from invoices.invoice_papers import days_of, invoice_paper
from invoices.models import INVOICE, Invoice, InvoiceLine, PaymentMethod
from invoices.sheets import Sheet, SheetLine

LANGUAGES = ("ko", "en")
ISSUER = Actor.job("invoicing")

_DOCUMENT = (
    *("id", "attempts", "state", "tenant_id", "kind", "subject_id", "language", "file_name"),
    *("data", "data_sha256", "created_at"),
)
_MAIL = (
    *("id", "attempts", "state", "channel", "kind", "dedupe_key", "recipient", "language"),
    *("subject", "text", "html", "advertising", "regarding_id", "created_at"),
)
Row = tuple[Any, ...]


def write(
    *,
    control_session: Session,
    sheets: Sequence[Sheet],
    issue: Iterable[UUID],
    now: datetime,
    actor: Actor = ISSUER,
) -> list[UUID]:
    """This function will write bills, issue those that are named, in order, and return their ids.

    Numbers are taken here, under the series' lock, so that whoever is killed before the commit
    leaves no gap. An invoice over zero asks for nothing: it is settled as it is issued, without
    payment, booking or mail. The others are written as drafts.

    A span that somebody billed meanwhile makes the database refuse it all
    (sqlalchemy.exc.IntegrityError by `ex_billed_span_once`): nothing is ever billed twice.
    """
    if not sheets:
        return []
    named = set(issue)
    issued = [sheet for sheet in sheets if sheet.id in named]
    carded = _with_card(control_session, {sheet.tenant_id for sheet in issued})
    if issued:
        _number(control_session, issued, now)
    writing.write(control_session=control_session, sheets=sheets, now=now)
    if issued:
        ledger.append(
            control_session=control_session,
            bookings=[bookings.issue_of_sheet(sheet) for sheet in issued],
            now=now,
        )
        deferrals.write(control_session=control_session, sheets=issued)
        _lay_out(control_session, issued, carded, now)
        _announce(control_session, issued, carded, now)
        _note(control_session, issued, actor, now)
    return [sheet.id for sheet in issued]


def _with_card(control_session: Session, tenant_ids: set[UUID]) -> set[UUID]:
    if not tenant_ids:
        return set()
    return set(
        control_session.scalars(
            select(PaymentMethod.tenant_id).where(
                bulk.among(PaymentMethod.tenant_id, tenant_ids),
                PaymentMethod.revoked_at.is_(None),
                PaymentMethod.is_default,
            )
        )
    )


def _number(control_session: Session, sheets: Sequence[Sheet], now: datetime) -> None:
    """This function will give bills their numbers, dates and hashes."""
    s = settings()
    year = numbering.year_of(now)
    due_on = clock.today(now, s.contract_timezone) + timedelta(days=s.payment_term_days)
    numbers = numbering.take(
        control_session=control_session,
        series=numbering.INVOICE_SERIES,
        year=year,
        count=len(sheets),
    )
    for sheet, number in zip(sheets, numbers, strict=True):
        sheet.state = "issued" if sheet.total_minor else "paid"
        sheet.year = year
        sheet.number = number
        sheet.number_text = numbering.number_text(sheet.series, year, number)
        sheet.issued_at = now
        sheet.due_on = due_on
        sheet.issue_at = sheet.held = None
        sheet.gathers = False
        if sheet.total_minor:
            sheet.collect_at = now
        else:
            sheet.paid_at = now
        sheet.content_sha256 = content_sha256(invoice=sheet, lines=sheet.lines)


def content_sha256(*, invoice: Invoice | Sheet, lines: Sequence[InvoiceLine | SheetLine]) -> str:
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


def _line_content(line: InvoiceLine | SheetLine) -> dict[str, Any]:
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
    control_session: Session, sheets: Sequence[Sheet], carded: set[UUID], now: datetime
) -> None:
    """This function will write the papers to render, one for each language."""
    bulk.copy(
        control_session=control_session,
        table="document",
        columns=_DOCUMENT,
        rows=(
            _document_row(sheet, language, sheet.tenant_id in carded, now)
            for sheet in sheets
            for language in LANGUAGES
        ),
    )
    notify(control_session, "documents")


def _document_row(sheet: Sheet, language: str, by_card: bool, now: datetime) -> Row:
    paper = invoice_paper(invoice=sheet, lines=sheet.lines, language=language, by_card=by_card)
    data = fingerprints.canonical_json(shelf.to_json(paper))
    return (
        ids.uuid7(),
        0,
        "due",
        sheet.tenant_id,
        "invoice",
        sheet.id,
        language,
        f"{sheet.number_text}-{language}.pdf",
        data,
        fingerprints.sha256_of(data),
        now,
    )


def _announce(
    control_session: Session, sheets: Sequence[Sheet], carded: set[UUID], now: datetime
) -> None:
    """This function will write the mails that say an invoice is there, once for each invoice."""
    rows = [
        _mail(sheet, by_card=sheet.tenant_id in carded, now=now)
        for sheet in sheets
        if sheet.total_minor and sheet.buyer["email"]
    ]
    if rows:
        bulk.copy(control_session=control_session, table="message", columns=_MAIL, rows=rows)
        notify(control_session, "messages")


def _mail(sheet: Sheet, *, by_card: bool, now: datetime) -> Row:
    language = sheet.buyer["language"] if sheet.buyer["language"] in LANGUAGES else "en"
    start, end = days_of(sheet.period)
    subject, plain, html = messages.render(
        room="invoices",
        name="invoice_issued",
        language=language,
        context={
            "invoice_id": sheet.id,
            "number": sheet.number_text,
            "company": sheet.buyer["name"],
            "total": Money(sheet.total_minor, sheet.currency),
            "due_on": sheet.due_on,
            "first_day": start,
            "last_day": end - timedelta(days=1),
            "by_card": by_card,
            "bank_account": sheet.seller["bank_account"],
        },
    )
    return (
        ids.uuid7(),
        0,
        "due",
        "mail",
        "invoice_issued",
        f"invoice_issued:{sheet.id}",
        sheet.buyer["email"],
        language,
        subject,
        plain,
        html,
        False,
        sheet.tenant_id,
        now,
    )


def _note(control_session: Session, sheets: Sequence[Sheet], actor: Actor, now: datetime) -> None:
    """This function will write down that the bills were issued, and wake who goes on with them."""
    moves: list[tuple[Sheet, str, str, str | None]] = [
        (sheet, "draft", "issued", None) for sheet in sheets
    ]
    moves += [(s, "issued", "paid", "nothing to pay") for s in sheets if s.state == "paid"]
    audit.append_many(
        control_session=control_session,
        actor=actor,
        machine=INVOICE.name,
        moves=[
            (sheet.id, sheet.tenant_id, came_from, to, why) for sheet, came_from, to, why in moves
        ],
        now=now,
    )
    for state in dict.fromkeys(to for _, _, to, _ in moves):
        notify(control_session, INVOICE.wakes[state])
