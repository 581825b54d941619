"""What the law makes us keep of a tenant that is destroyed, set apart from everything else.

Its invoices, tax invoices, consents and printed papers are copied, data and bytes, into a schema
and a folder of their own; then the working tables forget who the customer was. Sums, numbers,
bookings and the choice of evidence stay where they are: they name nobody.
"""

from __future__ import annotations

import json
from datetime import date, datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ColumnElement, exists, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import clock, files, ids
from app.base.config import settings
from app.base.errors import Conflict, NotFound
from invoices import fingerprints, forgetting, paper_files, papers_by_hand
from invoices.models import (
    BankTransfer,
    CashReceipt,
    CreditNote,
    Document,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentReversal,
    Refund,
    StatutoryPaper,
    TaxInvoice,
    VatDecision,
    VatEvidence,
    VirtualAccount,
)
from invoices.paper_files import OpenPaper
from invoices.payment import UNDER_WAY
from tenants.models import Consent, Tenant
from tenants.personal_data import KEPT_CONSENTS

# Books and tax evidence: five years from the deadline of the return for their year, seven where
# the trade crossed the border. That is longer than the five years that contracts, payments and
# supplies are kept from their own day, and than the five of commercial vouchers. The ledger, a
# commercial book kept for ten, names no customer and stays in place.
# Source: 국세기본법 §85의3, 법인세법 §116; 전자상거래법 시행령 §6; 상법 §33.
YEARS_KEPT, YEARS_KEPT_ABROAD = 5, 7
RETURN_DUE = (3, 31)  # for a business year that is the calendar year


class PapersUnderWay(Conflict):
    """A tax paper is on its way to the issuer or the tax service: set apart, it would stop."""


class MoneyUnderWay(Conflict):
    """A charge's outcome is open, or money is to go back: what is set apart now would miss it."""


def prefix_of(tenant_id: UUID) -> str:
    """This function will return where the bytes of a destroyed tenant's papers are kept."""
    return f"statutory/{tenant_id}"


def keep_until(issued_on: date, *, abroad: bool) -> date:
    """This function will return the last day on which a paper must still be there."""
    years = YEARS_KEPT_ABROAD if abroad else YEARS_KEPT
    return date(issued_on.year + 1 + years, *RETURN_DUE)


def set_apart(*, control_session: Session, tenant_id: UUID, now: datetime) -> int:
    """This function will copy a tenant's papers to where the law's are kept, and forget the rest.

    Twice is harmless. The files at `paper_files.prefix_of` stay: they go with the tenant's. It
    returns how many papers were set apart now.

    Raises: MoneyUnderWay while a charge's outcome is open or money is still to go back,
    PapersUnderWay while a tax paper's is open; FileMissing, StoreUnavailable.
    """
    invoices = list(
        control_session.scalars(
            select(Invoice)
            .where(Invoice.tenant_id == tenant_id, Invoice.issued_at.is_not(None))
            .order_by(Invoice.id)
            .with_for_update()
            .execution_options(populate_existing=True)
        )
    )
    refuse_under_way(control_session=control_session, tenant_id=tenant_id)
    abroad = control_session.get_one(Tenant, tenant_id).country != "KR"
    papers = [
        *(_invoice(control_session, row) for row in invoices if row.set_apart_at is None),
        *_tax_invoices(control_session, tenant_id),
        *_cash_receipts(control_session, tenant_id),
        *_documents(control_session, tenant_id),
        *_vat_decisions(control_session, tenant_id),
        *_consents(control_session, tenant_id),
    ]
    kept = _keep(control_session, papers, abroad=abroad, now=now)
    forgetting.forget(control_session=control_session, tenant_id=tenant_id, now=now)
    return kept


def refuse_under_way(*, control_session: Session, tenant_id: UUID) -> None:
    """This function will refuse to set apart what is not over yet.

    Raises: MoneyUnderWay, PapersUnderWay.
    """
    open_charge = exists().where(
        PaymentAttempt.tenant_id == tenant_id, PaymentAttempt.state.in_(UNDER_WAY)
    )
    if control_session.scalar(select(open_charge)):
        raise MoneyUnderWay("A card charge of this tenant is under way. Its outcome comes first.")
    awaited = exists().where(
        VirtualAccount.tenant_id == tenant_id, VirtualAccount.state.in_(("opening", "waiting"))
    )
    if control_session.scalar(select(awaited)):
        raise MoneyUnderWay("Money may still come to a virtual account of this tenant. Wait.")
    to_refund = exists().where(
        Refund.tenant_id == tenant_id, Refund.state.not_in(("succeeded", "closed"))
    )
    if control_session.scalar(select(to_refund)):
        raise MoneyUnderWay("Money is still to go back to this tenant. That comes first.")
    if control_session.scalar(select(_papers_under_way(tenant_id))):
        raise PapersUnderWay("A tax paper of this tenant is under way. It has to arrive first.")


def _papers_under_way(tenant_id: UUID) -> ColumnElement[bool]:
    """What is still to be issued, or not with the tax service yet, can't be once it is apart."""
    tax_invoice = exists().where(
        TaxInvoice.tenant_id == tenant_id,
        or_(TaxInvoice.state.in_(("due", "sent", "failed")), TaxInvoice.look_at.is_not(None)),
    )
    cash_receipt = exists().where(
        CashReceipt.tenant_id == tenant_id, CashReceipt.state.in_(("due", "issued", "failed"))
    )
    # What follows it amends papers that are set apart with the others.
    credit_note = exists().where(
        CreditNote.tenant_id == tenant_id,
        CreditNote.evidence_at.is_(None),
        CreditNote.evidence_error.is_(None),
    )
    return or_(tax_invoice, cash_receipt, credit_note)


def _invoice(control_session: Session, invoice: Invoice) -> dict[str, Any]:
    payments = control_session.scalars(
        select(Payment).where(Payment.invoice_id == invoice.id).order_by(Payment.id)
    )
    reversals = control_session.scalars(
        select(PaymentReversal)
        .join(Payment, Payment.id == PaymentReversal.payment_id)
        .where(Payment.invoice_id == invoice.id)
        .order_by(PaymentReversal.id)
    )
    deposits = control_session.scalars(
        select(BankTransfer).where(BankTransfer.invoice_id == invoice.id).order_by(BankTransfer.id)
    )
    accounts = control_session.scalars(
        select(VirtualAccount)
        .where(VirtualAccount.invoice_id == invoice.id)
        .order_by(VirtualAccount.id)
    )
    evidence = control_session.scalar(
        select(VatEvidence).where(VatEvidence.invoice_id == invoice.id)
    )
    notes = papers_by_hand.notes(control_session=control_session, invoice_id=invoice.id)
    return {
        "tenant_id": invoice.tenant_id,
        "kind": "invoice",
        "source_id": invoice.id,
        "number_text": invoice.number_text,
        "issued_on": _day(cast(datetime, invoice.issued_at)),
        "data": _plain(
            {
                **_columns(invoice),
                "lines": [_columns(line) for line in invoice.lines],
                "payments": [_columns(payment) for payment in payments],
                "reversals": [_columns(reversal) for reversal in reversals],
                "deposits": [_columns(deposit) for deposit in deposits],
                "virtual_accounts": [_without(account, "secret_sealed") for account in accounts],
                "evidence": _columns(evidence) if evidence else None,
                "papers_by_hand": [_columns(note) for note in notes],
            }
        ),
    }


def _tax_invoices(control_session: Session, tenant_id: UUID) -> list[dict[str, Any]]:
    rows = control_session.scalars(
        select(TaxInvoice).where(TaxInvoice.tenant_id == tenant_id).order_by(TaxInvoice.id)
    )
    return [
        {
            "tenant_id": tenant_id,
            "kind": "tax_invoice",
            "source_id": row.id,
            "number_text": row.issue_id or row.management_key,
            "issued_on": row.written_on,
            "data": _plain(_columns(row)),
            "file_sha256": _copied(tenant_id, row.xml_sha256),
        }
        for row in rows
    ]


def _cash_receipts(control_session: Session, tenant_id: UUID) -> list[dict[str, Any]]:
    """To whom they were issued stays masked: the tax service has the number."""
    rows = control_session.scalars(
        select(CashReceipt).where(CashReceipt.tenant_id == tenant_id).order_by(CashReceipt.id)
    )
    return [
        {
            "tenant_id": tenant_id,
            "kind": "cash_receipt",
            "source_id": row.id,
            "number_text": row.number or row.key,
            "issued_on": row.traded_on or _day(row.created_at),
            "data": _plain(_without(row, "identity_sealed")),
        }
        for row in rows
    ]


def _documents(control_session: Session, tenant_id: UUID) -> list[dict[str, Any]]:
    """This function will copy the bytes too. A paper not rendered yet is kept by what it says."""
    rows = control_session.scalars(
        select(Document).where(Document.tenant_id == tenant_id).order_by(Document.id)
    )
    return [
        {
            "tenant_id": tenant_id,
            "kind": "document",
            "source_id": row.id,
            "number_text": row.file_name,
            "issued_on": _day(row.created_at),
            "data": _plain(_columns(row)),
            "file_sha256": _copied(tenant_id, row.sha256),
        }
        for row in rows
    ]


def _vat_decisions(control_session: Session, tenant_id: UUID) -> list[dict[str, Any]]:
    """Why no tax was charged is asked for as long as the books are kept."""
    rows = control_session.scalars(
        select(VatDecision).where(VatDecision.tenant_id == tenant_id).order_by(VatDecision.id)
    )
    return [
        {
            "tenant_id": tenant_id,
            "kind": "vat_decision",
            "source_id": row.id,
            "number_text": row.file_name or row.treatment,
            "issued_on": _day(row.decided_at),
            "data": _plain(_columns(row)),
            "file_sha256": _copied(tenant_id, row.file_sha256),
        }
        for row in rows
    ]


def _consents(control_session: Session, tenant_id: UUID) -> list[dict[str, Any]]:
    """Who agreed to what price, in which words: the contract itself.

    Source: 전자상거래법 시행령 §6 (five years).
    """
    rows = control_session.scalars(
        select(Consent)
        .where(Consent.subject_id == tenant_id, Consent.kind.in_(KEPT_CONSENTS))
        .order_by(Consent.id)
    )
    return [
        {
            "tenant_id": tenant_id,
            "kind": "consent",
            "source_id": row.id,
            "number_text": f"{row.kind} {row.version}",
            "issued_on": _day(row.at),
            "data": _plain(_columns(row)),
        }
        for row in rows
    ]


def _copied(tenant_id: UUID, sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    with files.open_stored(prefix=paper_files.prefix_of(tenant_id), sha256=sha256) as stream:
        stored = files.put(prefix=prefix_of(tenant_id), chunks=files.chunks_of(stream))
    if stored.sha256 != sha256:
        raise files.FileMissing("A stored paper's bytes were changed; a person must look.")
    return sha256


def _keep(
    control_session: Session, papers: list[dict[str, Any]], *, abroad: bool, now: datetime
) -> int:
    rows = [
        {
            "id": ids.uuid7(),
            "file_sha256": None,
            **paper,
            "keep_until": keep_until(paper["issued_on"], abroad=abroad),
            "data_sha256": fingerprints.sha256(paper["data"]),
            "set_apart_at": now,
        }
        for paper in papers
    ]
    if not rows:
        return 0
    statement = postgresql.insert(StatutoryPaper).on_conflict_do_nothing(
        index_elements=["kind", "source_id"]
    )
    return len(control_session.scalars(statement.returning(StatutoryPaper.id), rows).all())


def open_paper(*, control_session: Session, paper_id: UUID) -> OpenPaper:
    """This function will open the printed copy of a paper that was set apart, for staff.

    Raises: NotFound for no such paper, or one that has no printed copy; FileMissing.
    """
    paper = control_session.get(StatutoryPaper, paper_id)
    if paper is None or paper.file_sha256 is None:
        raise NotFound("There is no such paper.")
    stream = files.open_stored(prefix=prefix_of(paper.tenant_id), sha256=paper.file_sha256)
    if paper.kind == "tax_invoice":
        name, size = f"TAX-{paper.number_text}.xml", paper.data["xml_size_bytes"]
        return OpenPaper(stream, name, int(size), media_type="application/xml")
    media_type = paper.data.get("media_type") or paper_files.MEDIA_TYPE
    return OpenPaper(
        stream, paper.number_text, int(paper.data["size_bytes"]), media_type=media_type
    )


def _columns(row: Any) -> dict[str, Any]:
    return {
        attribute.key: _bounds(getattr(row, attribute.key))
        for attribute in row.__mapper__.column_attrs
    }


def _without(row: Any, sealed: str) -> dict[str, Any]:
    return {name: each for name, each in _columns(row).items() if name != sealed}


def _bounds(value: Any) -> Any:
    return [value.lower, value.upper] if isinstance(value, postgresql.Range) else value


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(fingerprints.canonical_json(data)))


def _day(moment: datetime) -> date:
    return clock.today(moment, settings().contract_timezone)
