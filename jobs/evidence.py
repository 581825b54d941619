"""The step `evidence`: chooses each supply's one VAT evidence, and issues tax invoices in time."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import evidence
from invoices.models import Invoice
from jobs.steps import Step, anything_due, settle_each

CHUNK = 100


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether an invoice waits for its evidence."""
    return anything_due(session, Invoice, evidence.due(now))


def work() -> int:
    """This function will choose the evidence of a chunk of invoices and return how many."""
    return settle_each(
        step="evidence",
        model=Invoice,
        due=evidence.due(clock.now()),
        perform_one=_choose,
        limit=CHUNK,
        order_by=Invoice.supplied_on,
    )


def _choose(invoice_id: UUID) -> None:
    with control_session() as session:
        evidence.choose(control_session=session, invoice_id=invoice_id, now=clock.now())


STEP = Step("evidence", "default", due, work)
