"""Refunds: what credit notes send back goes through the gateway, each by the refund protocol."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from app.base.errors import Unavailable
from invoices import payment, refund_queue, refunds
from invoices.models import Refund
from jobs.steps import Step, anything_due, settle_each

CHUNK = 20


class StillUnknown(Unavailable):
    """The gateway could not say what became of the refund; it is asked again after a pause."""


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether a refund is to be sent, asked after, or handed over."""
    return anything_due(session, Refund, refunds.due()) or bool(
        session.scalar(select(exists().where(refund_queue.exhausted())))
    )


def work() -> int:
    """This function will send or clear up a chunk of refunds and return how many it took up."""
    with control_session() as session:
        handed_over = refund_queue.hand_over(control_session=session, now=clock.now(), limit=CHUNK)
    return handed_over + settle_each(
        step="refunds",
        model=Refund,
        due=refunds.due(),
        perform_one=_send,
        limit=CHUNK,
        order_by=Refund.asked_at,
        lease=payment.call_lease(),
    )


def _send(refund_id: UUID) -> None:
    with control_session() as session:
        order = refunds.begin(
            control_session=session,
            refund_id=refund_id,
            now=clock.now(),
            real_now=clock.real_now(),
        )
    if order is None:
        return
    result = refunds.perform(order=order, real_now=clock.real_now())
    with control_session() as session:
        refund = refunds.record(
            control_session=session, refund_id=refund_id, result=result, now=clock.now()
        )
    if refund.state == "unknown":
        raise StillUnknown(refund.last_error or "the gateway does not know yet")


STEP = Step("refunds", "default", due, work)
