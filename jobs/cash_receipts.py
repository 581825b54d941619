"""The step `cash_receipts`: has cash receipts issued and cancelled, then asks after them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import cash_receipt_issuing
from invoices.models import CashReceipt
from jobs.steps import Step, anything_due, settle_each

CHUNK = 50


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a cash receipt is to be issued or asked about."""
    return anything_due(session, CashReceipt, cash_receipt_issuing.due(now))


def work() -> int:
    """This function will settle a chunk of cash receipts and return how many."""
    return settle_each(
        step="cash_receipts",
        model=CashReceipt,
        due=cash_receipt_issuing.due(clock.now()),
        perform_one=_issue,
        limit=CHUNK,
        order_by=CashReceipt.created_at,
    )


def _issue(row_id: UUID) -> None:
    with control_session() as session:
        order = cash_receipt_issuing.begin(
            control_session=session, row_id=row_id, now=clock.now(), real_now=clock.real_now()
        )
    if order is None:
        return
    answer = cash_receipt_issuing.perform(order=order)
    with control_session() as session:
        cash_receipt_issuing.record(
            control_session=session, order=order, answer=answer, now=clock.now()
        )


STEP = Step("cash_receipts", "default", due, work)
