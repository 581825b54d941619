"""Reconciliation: what gateways say of a day is held against our books, line by line."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import reconciliation
from invoices.models import ReconciliationDay
from jobs.steps import Step, anything_due, settle_each

CHUNK = 4
# A busy account's week is read page by page, each of them within the longest call.
LEASE = timedelta(minutes=15)


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether a day waits to be held against our books."""
    return anything_due(session, ReconciliationDay, reconciliation.due())


def work() -> int:
    """This function will reconcile a chunk of days and return how many it took up."""
    return settle_each(
        step="reconciliation",
        model=ReconciliationDay,
        due=reconciliation.due(),
        perform_one=reconcile,
        limit=CHUNK,
        order_by=ReconciliationDay.day,
        lease=LEASE,
    )


def reconcile(day_id: UUID) -> int:
    """This function will take each line of a day in a transaction of its own, and count new ones.

    Killed at any of them, it begins again and leaves out what is taken.
    """
    with control_session() as session:
        question = reconciliation.begin(control_session=session, day_id=day_id)
    if question is None:
        return 0
    lines = new = 0
    for told in reconciliation.perform(question=question):
        with control_session() as session:
            new += reconciliation.take(
                control_session=session, gateway=question.gateway, told=told, now=clock.now()
            )
        lines += 1
    with control_session() as session:
        reconciliation.finish(
            control_session=session, question=question, lines=lines, now=clock.now()
        )
    return new


STEP = Step("reconciliation", "default", due, work)
