"""Cards that were removed: each gateway is told until it confirms that it has forgotten them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import payment, payment_methods
from invoices.models import PaymentMethod
from jobs.steps import Step, anything_due, settle_each

CHUNK = 20


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether a gateway is to forget a method yet."""
    return anything_due(session, PaymentMethod, payment_methods.to_forget())


def work() -> int:
    """This function will tell the gateways of a chunk of methods and return how many."""
    return settle_each(
        step="payment_methods",
        model=PaymentMethod,
        due=payment_methods.to_forget(),
        perform_one=_forget,
        limit=CHUNK,
        lease=payment.call_lease(),
    )


def _forget(method_id: UUID) -> None:
    with control_session() as session:
        method = session.get_one(PaymentMethod, method_id)
        session.expunge(method)
    payment_methods.forget_at_gateway(method=method)
    with control_session() as session:
        payment_methods.forgotten(control_session=session, method_id=method_id, now=clock.now())


STEP = Step("payment_methods", "default", due, work)
