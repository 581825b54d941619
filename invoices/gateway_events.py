"""Webhooks: stored before they are answered, applied by a job that asks the gateway itself.

What a webhook says is never believed: it only tells where to look.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Unavailable
from invoices import payment, virtual_accounts
from invoices.gateways.port import GatewayEvent as Heard
from invoices.gateways.port import LookupResult, Succeeded, Unknown
from invoices.models import GatewayEvent, PaymentAttempt

LISTENER = Actor("gateway")


class NotConfirmed(Unavailable):
    """The gateway called about a payment and can't be asked about it; asked again after a pause."""


def store(*, control_session: Session, gateway: str, event: Heard, now: datetime) -> bool:
    """This function will keep an event; True when it is new, False for a repeated delivery.

    One about a virtual account has that looked at, at once.

    Raises: NewsForged when the sender does not know the account's secret: then nothing is kept.
    """
    virtual_accounts.heard(control_session=control_session, gateway=gateway, event=event, now=now)
    written = control_session.scalar(
        postgresql.insert(GatewayEvent)
        .values(
            gateway=gateway,
            event_id=event.event_id,
            kind=event.kind.value,
            trust=event.trust.value,
            order_id=event.order_id,
            gateway_payment_id=event.gateway_payment_id,
            received_at=now,
        )
        .on_conflict_do_nothing(index_elements=["gateway", "event_id"])
        .returning(GatewayEvent.id)
    )
    if written is not None:
        notify(control_session, "gateway_events")
    return written is not None


def due() -> ColumnElement[bool]:
    """This function will return the condition that an event waits to be applied."""
    return GatewayEvent.applied_at.is_(None)


def begin(*, control_session: Session, event_id: UUID) -> payment.Order | None:
    """This function will find the attempt that an event is about, if its outcome is still open."""
    event = control_session.get_one(GatewayEvent, event_id)
    if event.order_id is None:
        return None
    attempt_id = control_session.scalar(
        select(PaymentAttempt.id).where(
            PaymentAttempt.gateway == event.gateway,
            PaymentAttempt.order_id == event.order_id,
            PaymentAttempt.state.in_(payment.UNDER_WAY),
        )
    )
    if attempt_id is None:
        return None
    return payment.reopen(control_session=control_session, attempt_id=attempt_id)


def record(
    *,
    control_session: Session,
    event_id: UUID,
    order: payment.Order | None,
    result: LookupResult | None,
    now: datetime,
) -> None:
    """This function will settle the attempt if the gateway confirms the money, and the event.

    Anything else is left to the attempt's maker or the reaper: its charge may be on its way this
    very moment, and a message from outside must not end it early.
    """
    if order is not None and isinstance(result, Succeeded):
        payment.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=result,
            now=now,
            actor=LISTENER,
        )
    event = control_session.get_one(
        GatewayEvent, event_id, with_for_update=True, populate_existing=True
    )
    lost_patience = event.attempts >= settings().work_attempts_max - 1
    if order is not None and isinstance(result, Unknown) and not lost_patience:
        raise NotConfirmed(f"The gateway does not confirm its own message yet: {result.reason}")
    event.applied_at = now
