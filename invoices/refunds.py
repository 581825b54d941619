"""Refunds through a gateway, by the same protocol as charges: no money goes back twice.

A credit note writes them down with their keys. `begin` commits that one is sent now; `perform`
calls the gateway in no transaction; `record` settles it. What stays unknown is asked again with the
same key while that counts, then looked up, and in the end is a person's. What came by our own bank,
and what a gateway refuses, is a person's from the first: sent by hand, tried again, or kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.base import states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import NotFound
from app.base.money import Money
from invoices import refund_outcome
from invoices.gateways.port import Capability, Declined, Refunded, RefundResult, Succeeded, Unknown
from invoices.gateways.registry import gateway
from invoices.models import REFUND, CreditNote, Payment, Refund
from invoices.models.refunds import REFUND_UNDER_WAY
from invoices.payment import CLOCKS_DIFFER, KEY_USED_FOR, MARGIN

REFUNDER = Actor.job("refunds")


class NoSuchRefund(NotFound):
    """No such refund was ever asked for."""


@dataclass(frozen=True, slots=True)
class RefundOrder:
    """All that a refund needs, read before the transaction ended."""

    refund_id: UUID
    gateway: str
    gateway_payment_id: str
    amount: Money
    reason: str
    idempotency_key: str
    key_expires_at: datetime
    captured_minor: int
    refunded_before_minor: int
    tax_minor: int


def due() -> ColumnElement[bool]:
    """This function will return the condition that a refund is to be sent, or asked after.

    One at a time of a payment: what the gateway says of the payment then speaks of one refund.
    """
    other = aliased(Refund)
    free = ~exists().where(
        other.payment_id == Refund.payment_id,
        other.id != Refund.id,
        other.state.in_(REFUND_UNDER_WAY),
    )
    return or_(Refund.state.in_(("open", "unknown")), and_(Refund.state == "due", free))


def locked(control_session: Session, refund_id: UUID) -> Refund:
    """This function will return a refund under its lock, and its payment's, which comes first.

    Raises: NoSuchRefund.
    """
    payment_id = control_session.scalar(select(Refund.payment_id).where(Refund.id == refund_id))
    if payment_id is None:
        raise NoSuchRefund("There is no such refund.")
    control_session.get_one(Payment, payment_id, with_for_update=True)
    return control_session.get_one(Refund, refund_id, with_for_update=True, populate_existing=True)


def begin(
    *, control_session: Session, refund_id: UUID, now: datetime, real_now: datetime
) -> RefundOrder | None:
    """This function will commit that a refund is sent now; None when it is settled meanwhile.

    One that was sent before keeps its key and its time.
    """
    refund = locked(control_session, refund_id)
    if not control_session.scalar(select(exists().where(Refund.id == refund_id, due()))):
        return None
    if refund.state == "due":
        window = min(gateway(refund.gateway).key_window - CLOCKS_DIFFER, KEY_USED_FOR)
        refund.key_expires_at = real_now + max(window, timedelta())
        refund.refunded_before_minor = _gone(control_session, refund.payment_id)
        states.move(
            control_session=control_session,
            machine=REFUND,
            row=refund,
            to="open",
            actor=REFUNDER,
            now=now,
        )
    payment = control_session.get_one(Payment, refund.payment_id)
    note = control_session.get_one(CreditNote, refund.credit_note_id)
    return RefundOrder(
        refund_id=refund.id,
        gateway=refund.gateway,
        gateway_payment_id=refund.gateway_payment_id,
        amount=Money(refund.amount_minor, refund.currency),
        reason=note.number_text,
        idempotency_key=refund.idempotency_key,
        key_expires_at=refund.key_expires_at or real_now,
        captured_minor=payment.amount_minor,
        refunded_before_minor=refund.refunded_before_minor,
        tax_minor=note.tax_minor * refund.amount_minor // note.total_minor,
    )


def _gone(control_session: Session, payment_id: UUID) -> int:
    """What of a payment went back through its gateway; what we sent by hand it knows nothing of."""
    return int(
        control_session.scalar(
            select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
                Refund.payment_id == payment_id,
                Refund.state == "succeeded",
                Refund.sent_from == Refund.gateway,
            )
        )
        or 0
    )


def perform(*, order: RefundOrder, real_now: datetime) -> RefundResult:
    """This function will ask the gateway to send money back, or after the key's time only look.

    Call it in no transaction.
    """
    longest = settings().gateway_connect_timeout_seconds + settings().gateway_read_timeout_seconds
    if real_now + timedelta(seconds=longest) + MARGIN >= order.key_expires_at:
        return look(order=order)
    at = gateway(order.gateway)
    if Capability.REFUND not in at.capabilities:
        return _unable("the gateway can't send money back")
    whole = order.amount.amount_minor == order.captured_minor
    if not whole and Capability.REFUND_IN_PART not in at.capabilities:
        return _unable("the gateway sends back whole payments only")
    # Adapters that others keep may not know of it.
    split: dict[str, Any] = (
        {"tax_minor": order.tax_minor} if Capability.REFUND_TAX in at.capabilities else {}
    )
    result = at.refund(
        gateway_payment_id=order.gateway_payment_id,
        amount=order.amount,
        reason=order.reason,
        idempotency_key=order.idempotency_key,
        **split,
    )
    if isinstance(result, Refunded):
        return result
    # A refusal may only say that the money went back already: then it did, by this very refund.
    found = look(order=order)
    return found if isinstance(found, Refunded) else result


def _unable(why: str) -> Declined:
    return Declined(refund_outcome.PERSON, "not_supported", why)


def look(*, order: RefundOrder) -> RefundResult:
    """This function will tell by the payment at the gateway whether a refund went through.

    Only one refund of a payment is under way at a time, so what went back beyond those before is
    this one's.
    """
    at = gateway(order.gateway)
    if Capability.LOOKUP_BY_PAYMENT not in at.capabilities:
        return Unknown("the gateway can't look up payments")
    found = at.lookup(gateway_payment_id=order.gateway_payment_id)
    if not isinstance(found, Succeeded):
        return Unknown("the gateway does not show the payment as captured")
    gone = found.refunded.amount_minor - order.refunded_before_minor
    if gone == 0:
        return Declined(refund_outcome.PERSON, "not_refunded", "nothing of it went back")
    if gone != order.amount.amount_minor:
        return Unknown(f"{gone} went back by the gateway's account, {order.amount} was asked for")
    return Refunded(
        gateway_refund_id="",
        gateway_payment_id=order.gateway_payment_id,
        amount=order.amount,
        remaining=found.amount - found.refunded,
        refunded_at=found.approved_at,
    )


def record(
    *, control_session: Session, refund_id: UUID, result: RefundResult, now: datetime
) -> Refund:
    """This function will settle a refund by what the gateway said; a settled one stays so."""
    refund = locked(control_session, refund_id)
    if refund.state not in ("open", "unknown"):
        return refund
    desk = refund_outcome.Desk(control_session, REFUNDER, now)
    match result:
        case Refunded():
            refund_outcome.succeeded(desk, refund, result)
        case Declined():
            refund_outcome.declined(desk, refund, result)
        case Unknown():
            refund_outcome.unknown(desk, refund, result)
    return refund
