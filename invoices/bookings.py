"""What invoices put into the ledger: their issue, and taking it back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from invoices import deferrals, ledger
from invoices.ledger import Booking, credit, debit
from invoices.models import CreditGrant, CreditUse, Invoice
from invoices.sheets import Sheet


def issue_of(invoice: Invoice | Sheet, *, paid_grants: Collection[UUID]) -> Booking:
    """This function will return the entry that an invoice's issue makes.

    `paid_grants`: the credits used on it that were paid for. What was given is a smaller price.
    """
    deferred = sum(part.amount_minor for part in deferrals.ahead(invoice))
    carried = used = 0
    for line in invoice.lines:
        if line.kind == "carried":
            carried += line.amount_minor
        elif line.kind == "prepaid" and UUID(line.evidence["grant"]) in paid_grants:
            used -= line.amount_minor
    return Booking(
        kind="issue",
        cause_id=invoice.id,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        sides=(
            debit("receivable", invoice.total_minor),
            credit("revenue", invoice.subtotal_minor - deferred - carried + used),
            credit("deferred_revenue", deferred),
            credit("vat_payable", invoice.tax_minor),
            credit("credits", carried - used),
        ),
    )


def issue_of_sheet(sheet: Sheet) -> Booking:
    """This function will return the entry that a bill makes as it is issued."""
    return issue_of(
        sheet,
        paid_grants={
            line.made.use.grant.grant_id
            for line in sheet.lines
            if line.made.use is not None and line.made.use.grant.paid_for
        },
    )


def book_void(*, control_session: Session, invoice: Invoice, now: datetime) -> None:
    """This function will book the opposite of an invoice's issue, and end what it deferred.

    What was earned meanwhile is taken out of revenue, the rest out of what was deferred.
    """
    issued = issue_of(invoice, paid_grants=_paid_grants(control_session, invoice.id))
    net = {side.account: side.credit_minor - side.debit_minor for side in issued.sides}
    unearned = deferrals.stop(control_session=control_session, invoice_id=invoice.id)
    earned = net["revenue"] + net["deferred_revenue"] - unearned
    booking = Booking(
        kind="void",
        cause_id=invoice.id,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        sides=(
            credit("receivable", invoice.total_minor),
            debit("revenue", earned),
            debit("deferred_revenue", unearned),
            debit("vat_payable", net["vat_payable"]),
            debit("credits", net["credits"]),
        ),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def _paid_grants(control_session: Session, invoice_id: UUID) -> set[UUID]:
    return set(
        control_session.scalars(
            select(CreditGrant.id)
            .join(CreditUse, CreditUse.grant_id == CreditGrant.id)
            .where(CreditUse.invoice_id == invoice_id, CreditGrant.paid_for)
        )
    )
