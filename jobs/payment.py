"""The reaper: attempts whose outcome nobody knows are asked after until somebody does."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from app.base.errors import Unavailable
from invoices import payment, payment_queue
from invoices.models import PaymentAttempt
from jobs import charging
from jobs.steps import Step, anything_due, settle_each

CHUNK = 20


class StillUnknown(Unavailable):
    """The gateway could not say what became of the charge; it is asked again after a pause."""


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether an attempt waits to be cleared up, or for a person."""
    return anything_due(session, PaymentAttempt, payment.due_attempts()) or bool(
        session.scalar(select(exists().where(payment_queue.exhausted_attempts())))
    )


def work() -> int:
    """This function will clear up a chunk of attempts and return how many it took up."""
    with control_session() as session:
        handed_over = payment_queue.hand_over(control_session=session, now=clock.now(), limit=CHUNK)
    return handed_over + settle_each(
        step="payment",
        model=PaymentAttempt,
        due=payment.due_attempts(),
        perform_one=_clear_up,
        limit=CHUNK,
        lease=payment.call_lease(),
    )


def _clear_up(attempt_id: UUID) -> None:
    with control_session() as session:
        order = payment.reopen(control_session=session, attempt_id=attempt_id)
    result = charging.find_out(order, real_now=clock.real_now())
    with control_session() as session:
        attempt = payment.record(
            control_session=session, attempt_id=attempt_id, result=result, now=clock.now()
        )
    if attempt.state == "unknown":
        raise StillUnknown(attempt.last_error or "the gateway does not know yet")


STEP = Step("payment", "default", due, work)
