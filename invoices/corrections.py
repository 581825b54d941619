"""Corrections of issued invoices: credit notes and write-offs, above the limit by two people."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.errors import Conflict, NotFound
from app.base.money import Money
from invoices import credit_notes, runs, settlement, write_offs
from invoices.models import CorrectionRequest, CreditNote, Invoice, WriteOff


class AlreadyAsked(Conflict):
    """A correction of the invoice waits for a second person already."""


class NothingAsked(NotFound):
    """No such correction waits for anybody."""


class SecondPersonNeeded(Conflict):
    """Whoever asked can't agree to it as well."""


def needs_second(amount: Money) -> bool:
    """This function will tell whether a correction is above what one person may make alone."""
    most = runs.limit_minor(amount.currency)
    return most is not None and amount.amount_minor > most


def credit(
    *,
    control_session: Session,
    invoice_id: UUID,
    amount: Money,
    keep: bool,
    reason: str,
    staff_id: UUID,
    now: datetime,
) -> CreditNote | CorrectionRequest:
    """This function will make a credit note, or ask a second person for it above the limit.

    Raises: as credit_notes.issue; AlreadyAsked.
    """
    if needs_second(amount):
        invoice = settlement.locked(control_session, invoice_id)
        credit_notes.plan(
            control_session=control_session, invoice=invoice, amount=amount, keep=keep
        )
        return _ask(
            control_session,
            CorrectionRequest(
                invoice_id=invoice_id,
                kind="credit_note",
                amount_minor=amount.amount_minor,
                currency=amount.currency,
                keep=keep,
                reason=reason.strip(),
                asked_by=staff_id,
                asked_at=now,
            ),
            invoice,
        )
    return credit_notes.issue(
        control_session=control_session,
        invoice_id=invoice_id,
        amount=amount,
        keep=keep,
        reason=reason,
        staff_id=staff_id,
        now=now,
    )


def write_off(
    *, control_session: Session, invoice_id: UUID, reason: str, staff_id: UUID, now: datetime
) -> WriteOff | CorrectionRequest:
    """This function will write off what is open, or ask a second person for it above the limit.

    Raises: as write_offs.write_off; AlreadyAsked.
    """
    invoice = settlement.locked(control_session, invoice_id)
    owed = Money(invoice.open_minor, invoice.currency)
    if owed.amount_minor and needs_second(owed):
        return _ask(
            control_session,
            CorrectionRequest(
                invoice_id=invoice_id,
                kind="write_off",
                amount_minor=owed.amount_minor,
                currency=owed.currency,
                keep=False,
                reason=reason.strip(),
                asked_by=staff_id,
                asked_at=now,
            ),
            invoice,
        )
    return write_offs.write_off(
        control_session=control_session,
        invoice_id=invoice_id,
        reason=reason,
        staff_id=staff_id,
        now=now,
    )


def _ask(control_session: Session, asked: CorrectionRequest, invoice: Invoice) -> CorrectionRequest:
    if not asked.reason:
        raise write_offs.ReasonMissing("Please say why.", field="reason")
    if waiting_for(control_session=control_session, invoice_id=invoice.id) is not None:
        raise AlreadyAsked("A correction of this invoice waits for a second person already.")
    control_session.add(asked)
    control_session.flush()
    _note(control_session, asked, invoice, "asked", (Actor.staff(asked.asked_by), asked.asked_at))
    return asked


def waiting_for(*, control_session: Session, invoice_id: UUID) -> CorrectionRequest | None:
    """This function will return the correction of an invoice that waits for a second person."""
    return control_session.scalar(
        select(CorrectionRequest).where(
            CorrectionRequest.invoice_id == invoice_id, CorrectionRequest.decided_at.is_(None)
        )
    )


def waiting(*, control_session: Session, limit: int) -> list[tuple[CorrectionRequest, Invoice]]:
    """This function will list the corrections that wait for a second person, oldest first."""
    rows = control_session.execute(
        select(CorrectionRequest, Invoice)
        .join(Invoice, Invoice.id == CorrectionRequest.invoice_id)
        .where(CorrectionRequest.decided_at.is_(None))
        .order_by(CorrectionRequest.asked_at, CorrectionRequest.id)
        .limit(limit)
    )
    return [(asked, invoice) for asked, invoice in rows]


def decide(
    *, control_session: Session, request_id: UUID, agreed: bool, staff_id: UUID, now: datetime
) -> CorrectionRequest:
    """This function will let a second person agree to a correction, which is then made, or not.

    Whoever asked may take it back, and nothing more.

    Raises: NothingAsked, SecondPersonNeeded; as credit_notes.issue and write_offs.write_off.
    """
    asked = control_session.get(
        CorrectionRequest, request_id, with_for_update=True, populate_existing=True
    )
    if asked is None or asked.decided_at is not None:
        raise NothingAsked("This correction does not wait for anybody any more.")
    if agreed and asked.asked_by == staff_id:
        raise SecondPersonNeeded("Somebody else has to agree to what you asked for.")
    asked.decided_by, asked.decided_at, asked.agreed = staff_id, now, agreed
    control_session.flush()
    invoice = settlement.locked(control_session, asked.invoice_id)
    _note(
        control_session,
        asked,
        invoice,
        "agreed" if agreed else "refused",
        (Actor.staff(staff_id), now),
    )
    if agreed:
        _make(control_session, asked, staff_id, now)
    return asked


def _make(
    control_session: Session, asked: CorrectionRequest, staff_id: UUID, now: datetime
) -> None:
    if asked.kind == "write_off":
        write_offs.write_off(
            control_session=control_session,
            invoice_id=asked.invoice_id,
            reason=asked.reason,
            staff_id=asked.asked_by,
            approved_by=staff_id,
            now=now,
        )
        return
    credit_notes.issue(
        control_session=control_session,
        invoice_id=asked.invoice_id,
        amount=Money(asked.amount_minor, asked.currency),
        keep=asked.keep,
        reason=asked.reason,
        staff_id=asked.asked_by,
        approved_by=staff_id,
        now=now,
    )


def _note(
    control_session: Session,
    asked: CorrectionRequest,
    invoice: Invoice,
    what: str,
    by: tuple[Actor, datetime],
) -> None:
    actor, now = by
    audit.append(
        control_session=control_session,
        actor=actor,
        action=f"{asked.kind}.{what}",
        subject_kind="invoice",
        subject_id=invoice.id,
        tenant_id=invoice.tenant_id,
        why=asked.reason,
        details={"amount_minor": asked.amount_minor, "currency": asked.currency},
        now=now,
    )
