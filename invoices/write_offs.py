"""Write-offs: what is still owed of an invoice is given up. The supply and its tax stay."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import audit, ids
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid
from invoices import ledger, settlement
from invoices.ledger import Booking, credit, debit
from invoices.models import WriteOff

REASON_LENGTH_MAX = 500


class NothingOwed(Conflict):
    """Nothing is open of the invoice, or money for it may be on its way."""


class ReasonMissing(Invalid):
    """Money is never given up without saying why."""


def write_off(
    *,
    control_session: Session,
    invoice_id: UUID,
    reason: str,
    staff_id: UUID,
    now: datetime,
    approved_by: UUID | None = None,
) -> WriteOff:
    """This function will give up all that is open of an invoice, and book it.

    The tax paper of the supply is not touched by it: relief for bad debt is claimed apart.

    Raises: NoSuchInvoice, NothingOwed, ReasonMissing.
    """
    why = reason.strip()
    if not why or len(why) > REASON_LENGTH_MAX:
        raise ReasonMissing("Please say why this is given up.", field="reason")
    invoice = settlement.locked(control_session, invoice_id)
    if not invoice.open_minor:
        raise NothingOwed("Nothing is open of this invoice any more.")
    if settlement.charge_under_way(control_session, invoice_id):
        raise NothingOwed("A card charge of this invoice is under way. Wait for its outcome.")
    row = WriteOff(
        id=ids.uuid7(),
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        amount_minor=invoice.open_minor,
        currency=invoice.currency,
        reason=why,
        written_at=now,
        written_by=staff_id,
        approved_by=approved_by,
    )
    control_session.add(row)
    control_session.flush()
    booking = Booking(
        kind="write_off",
        cause_id=row.id,
        tenant_id=row.tenant_id,
        currency=row.currency,
        sides=(debit("write_offs", row.amount_minor), credit("receivable", row.amount_minor)),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)
    invoice.written_off_minor += row.amount_minor
    actor = Actor.staff(staff_id)
    settlement.close_if_settled(
        control_session=control_session, invoice=invoice, actor=actor, now=now
    )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="invoice.given_up",
        subject_kind="invoice",
        subject_id=invoice.id,
        tenant_id=invoice.tenant_id,
        why=why,
        details={"amount_minor": row.amount_minor, "currency": row.currency},
        now=now,
    )
    return row
