"""The person's queue of refunds: of unknown outcome, or to be sent by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid
from invoices import credits, ledger, refund_outcome, refunds
from invoices.ledger import Booking, credit, debit
from invoices.models import CreditNote, Invoice, Payment, ReconciliationDifference, Refund
from invoices.reconciliation_differences import is_open
from invoices.refund_outcome import Desk

BANK = "manual"


class NotWaiting(Conflict):
    """The refund does not wait for a person, or not for this."""


class WhyMissing(Invalid):
    """What a person says of money is said with the proof that it rests on."""


def exhausted() -> ColumnElement[bool]:
    """This function will return the condition that the job has given a refund up."""
    return and_(
        Refund.state.in_(("open", "unknown")),
        Refund.attempts >= settings().work_attempts_max,
        or_(Refund.lease_until.is_(None), Refund.lease_until < func.clock_timestamp()),
    )


def hand_over(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will give refunds to a person that the job gave up, and count them."""
    found = control_session.scalars(
        select(Refund).where(exhausted()).limit(limit).with_for_update(skip_locked=True)
    ).all()
    desk = Desk(control_session, refunds.REFUNDER, now)
    for refund in found:
        refund_outcome.to_person(desk, refund, refund.last_error or "the job gave up")
    return len(found)


def waiting(*, control_session: Session, limit: int) -> list[Refund]:
    """This function will list the refunds that wait for a person, oldest first."""
    return list(
        control_session.scalars(
            select(Refund)
            .where(Refund.state.in_(("needs_person", "by_hand")))
            .order_by(Refund.asked_at, Refund.id)
            .limit(limit)
        )
    )


def by_transfer(*, control_session: Session, refunds: Sequence[Refund]) -> set[UUID]:
    """This function will say which refunds are of money that came by transfer, and go back so.

    To our own bank or to a gateway's virtual account: no gateway knows the payer's own.
    """
    paid = [each.payment_id for each in refunds]
    came = set(
        control_session.scalars(
            select(Payment.id).where(Payment.id.in_(paid), Payment.kind != "card")
        )
    )
    return {each.id for each in refunds if each.payment_id in came}


def declare_sent(
    *,
    control_session: Session,
    refund_id: UUID,
    why: str,
    actor: Actor,
    now: datetime,
    at_gateway: bool = False,
) -> Refund:
    """This function will note that a refund went back: by our bank, or, where its outcome was
    unknown or somebody made it there, `at_gateway`, through the gateway.

    Raises: NoSuchRefund, NotWaiting, WhyMissing.
    """
    refund = _waiting(control_session, refund_id, ("by_hand", "needs_person"), why)
    by_hand = refund.state == "by_hand"
    if by_hand and at_gateway and _is_told(control_session, refund):
        raise NotWaiting(
            "The gateway told of this refund already. Settle that under Reconciliation: it is our "
            "refund."
        )
    place = BANK if by_hand and not at_gateway else refund.gateway
    refund_outcome.sent(Desk(control_session, actor, now), refund, place=place, why=why.strip())
    return refund


def _is_told(control_session: Session, refund: Refund) -> bool:
    """Its cash was taken off the gateway's when that said so: it must not be once more."""
    said = ReconciliationDifference
    told = exists().where(
        said.payment_id == refund.payment_id,
        said.kind == "refunded_there",
        said.amount_minor == -refund.amount_minor,
        is_open(),
    )
    return bool(control_session.scalar(select(told)))


def declare_not_sent(
    *, control_session: Session, refund_id: UUID, why: str, actor: Actor, now: datetime
) -> Refund:
    """This function will note that nothing of a refund of unknown outcome went back.

    It then waits to be tried again, sent by hand or kept. Raises: as declare_sent.
    """
    refund = _waiting(control_session, refund_id, ("needs_person",), why)
    Desk(control_session, actor, now).move(refund, "by_hand", why.strip())
    return refund


def try_again(*, control_session: Session, refund_id: UUID, actor: Actor, now: datetime) -> Refund:
    """This function will send a refused refund once more, by a new key.

    Raises: NoSuchRefund, NotWaiting.
    """
    refund = _waiting(control_session, refund_id, ("by_hand",), "tried again")
    if by_transfer(control_session=control_session, refunds=[refund]):
        raise NotWaiting("This came by bank transfer: send it back by bank transfer.")
    _close(control_session, refund, "tried again", actor, now)
    new_id = ids.uuid7()
    again = Refund(
        id=new_id,
        state="due",
        tenant_id=refund.tenant_id,
        credit_note_id=refund.credit_note_id,
        payment_id=refund.payment_id,
        gateway=refund.gateway,
        gateway_payment_id=refund.gateway_payment_id,
        amount_minor=refund.amount_minor,
        currency=refund.currency,
        idempotency_key=f"refund-{new_id}",
        asked_at=now,
    )
    control_session.add(again)
    control_session.flush()
    notify(control_session, "refunds")
    return again


def keep(
    *, control_session: Session, refund_id: UUID, why: str, actor: Actor, now: datetime
) -> Refund:
    """This function will leave the money of a refund with the customer as credit.

    Raises: as declare_sent.
    """
    refund = _waiting(control_session, refund_id, ("by_hand",), why)
    _close(control_session, refund, why.strip(), actor, now)
    note = control_session.get_one(CreditNote, refund.credit_note_id)
    credits.keep(
        control_session=control_session,
        invoice=control_session.get_one(Invoice, note.invoice_id),
        amount_minor=refund.amount_minor,
        source="credit_note",
        credit_note_id=note.id,
        actor=actor,
        now=now,
    )
    booking = Booking(
        kind="refund_kept",
        cause_id=refund.id,
        tenant_id=refund.tenant_id,
        currency=refund.currency,
        sides=(debit("refunds", refund.amount_minor), credit("credits", refund.amount_minor)),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)
    return refund


def _waiting(control_session: Session, refund_id: UUID, among: tuple[str, ...], why: str) -> Refund:
    if not why.strip():
        raise WhyMissing("Please say what shows it.", field="why")
    refund = refunds.locked(control_session, refund_id)
    if refund.state not in among:
        raise NotWaiting("This refund does not wait for that any more. Look again.")
    return refund


def _close(control_session: Session, refund: Refund, why: str, actor: Actor, now: datetime) -> None:
    refund.finished_at = now
    Desk(control_session, actor, now).move(refund, "closed", why)
