"""I8 looked at closely: every issued paper against the fingerprint that it was issued with.

Hashes can't be taken by a query, so rows stream through here, a few hundred at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from app.base import files
from app.base.errors import NotFound
from invoices import fingerprints, paper_files, statutory
from invoices.issuing import content_sha256
from invoices.models import Document, Invoice, StatutoryPaper, TaxInvoice

ROWS_AT_ONCE = 500
Wrong = tuple[str, str, str]

# The triggers without which an issued row could be changed at all.
GUARDS = (
    ("invoice", "invoice_is_frozen"),
    ("invoice_line", "invoice_line_is_frozen"),
    ("invoice_line", "invoice_lines_join_drafts"),
    ("document", "document_is_frozen"),
    ("tax_invoice", "tax_invoice_is_frozen"),
    ("ledger_entry", "row_is_final"),
    ("ledger_line", "row_is_final"),
    ("audit_event", "row_is_final"),
    ("plan_version", "row_is_final"),
    ("price", "row_is_final"),
    ("coupon", "coupon_terms_are_final"),
)


def changed_papers(control_session: Session) -> Iterator[Wrong]:
    """This function will yield every issued paper that is not as it was issued."""
    yield from _guards_off(control_session)
    yield from _invoices(control_session)
    yield from _tax_invoices(control_session)
    yield from _documents(control_session)
    yield from _set_apart(control_session)


def _guards_off(control_session: Session) -> Iterator[Wrong]:
    on = set(
        control_session.execute(
            text(
                "SELECT tgrelid::regclass::text, tgname FROM pg_trigger"
                " WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
            )
        ).all()
    )
    for table, guard in GUARDS:
        if (table, guard) not in on:
            yield "trigger", guard, f"off or missing on {table}: rows could be changed unseen"


def _invoices(control_session: Session) -> Iterator[Wrong]:
    issued = (
        select(Invoice)
        .where(Invoice.issued_at.is_not(None), Invoice.set_apart_at.is_(None))
        .options(selectinload(Invoice.lines))
        .order_by(Invoice.id)
        .execution_options(yield_per=ROWS_AT_ONCE)
    )
    for invoice in control_session.scalars(issued):
        if invoice.content_sha256 != content_sha256(invoice=invoice, lines=invoice.lines):
            yield "invoice", str(invoice.id), f"{invoice.number_text} is not what was issued"
        control_session.expunge(invoice)


def _tax_invoices(control_session: Session) -> Iterator[Wrong]:
    """What it says, and the signed XML: its bytes, and that it says the same."""
    rows = select(
        TaxInvoice.id,
        TaxInvoice.tenant_id,
        TaxInvoice.issue_id,
        TaxInvoice.management_key,
        TaxInvoice.data,
        TaxInvoice.content_sha256,
        TaxInvoice.xml_sha256,
    )
    for row in control_session.execute(rows.execution_options(yield_per=ROWS_AT_ONCE)):
        name = row.issue_id or row.management_key
        if row.content_sha256 != fingerprints.sha256(row.data):
            yield "tax_invoice", str(row.id), f"{name} is not what was issued"
        if row.xml_sha256 is not None:
            prefix = paper_files.prefix_of(row.tenant_id)
            if wrong := _bytes_wrong(prefix, row.xml_sha256):
                yield "tax_invoice", str(row.id), f"the signed XML of {name}: {wrong}"


def _documents(control_session: Session) -> Iterator[Wrong]:
    rows = select(
        Document.id,
        Document.tenant_id,
        Document.state,
        Document.file_name,
        Document.data,
        Document.data_sha256,
        Document.sha256,
        Document.size_bytes,
    ).execution_options(yield_per=ROWS_AT_ONCE)
    for row in control_session.execute(rows):
        if row.data_sha256 != fingerprints.sha256(row.data):
            yield "document", str(row.id), f"{row.file_name}: its data was changed"
        if row.state == "ready":
            wrong = _bytes_wrong(paper_files.prefix_of(row.tenant_id), row.sha256)
            if wrong:
                yield "document", str(row.id), f"{row.file_name}: {wrong}"


def _set_apart(control_session: Session) -> Iterator[Wrong]:
    rows = select(StatutoryPaper).execution_options(yield_per=ROWS_AT_ONCE)
    for paper in control_session.scalars(rows):
        if paper.data_sha256 != fingerprints.sha256(paper.data):
            yield "statutory.paper", str(paper.id), f"{paper.number_text}: its data was changed"
        if paper.file_sha256 is not None:
            wrong = _bytes_wrong(statutory.prefix_of(paper.tenant_id), paper.file_sha256)
            if wrong:
                yield "statutory.paper", str(paper.id), f"{paper.number_text}: {wrong}"


def _bytes_wrong(prefix: str, sha256: str | None) -> str | None:
    if sha256 is None:
        return "ready, but no file was noted"
    try:
        with files.open_stored(prefix=prefix, sha256=sha256) as file:
            digest = hashlib.sha256()
            for chunk in files.chunks_of(file):
                digest.update(chunk)
    except NotFound:
        return "its file is gone"
    return None if digest.hexdigest() == sha256 else "the bytes of its file were changed"
