"""Collection: open invoices are charged to the tenant's card, each by the charge protocol.

Money that the tenant has with us already is used first.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import payment, settlement
from invoices.models import Invoice
from jobs import charging
from jobs.steps import Step, anything_due, settle_each

CHUNK = 20


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether an invoice is to be charged now, or settled by credit."""
    return anything_due(session, Invoice, payment.due_invoices(now)) or bool(
        session.scalar(select(exists().where(settlement.credit_due())))
    )


def work() -> int:
    """This function will charge a chunk of invoices and return how many it took up."""
    now = clock.now()
    with control_session() as session:
        settled = settlement.use_credits(control_session=session, now=now, limit=CHUNK)
    return settled + settle_each(
        step="collection",
        model=Invoice,
        due=payment.due_invoices(now),
        perform_one=_collect,
        limit=CHUNK,
        order_by=Invoice.collect_at,
        lease=payment.call_lease(),
    )


def _collect(invoice_id: UUID) -> None:
    with control_session() as session:
        order = payment.begin(
            control_session=session,
            invoice_id=invoice_id,
            now=clock.now(),
            real_now=clock.real_now(),
        )
    if order is None:
        return
    result = charging.charge(order)
    with control_session() as session:
        payment.record(
            control_session=session, attempt_id=order.attempt_id, result=result, now=clock.now()
        )


STEP = Step("collection", "default", due, work)
