"""The step `business_status`: asks the tax service about registration numbers, 100 at a time."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.base import clock, leases
from app.base.db import control_session
from jobs.steps import Step, anything_due
from tenants import business_status
from tenants.business_checkers.port import CALL_MAX
from tenants.business_models import BusinessStatus


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a number is to be asked about, and somebody can be asked."""
    return business_status.offered() and anything_due(
        session, BusinessStatus, business_status.due(now)
    )


def work() -> int:
    """This function will ask about one call's worth of numbers and return how many they were."""
    if not business_status.offered():
        return 0
    with control_session() as session:
        keys = leases.claim(
            control_session=session,
            model=BusinessStatus,
            due=business_status.due(clock.now()),
            limit=CALL_MAX,
            order_by=BusinessStatus.ask_at,
        )
        question = business_status.question(control_session=session, row_ids=keys)
    if not keys:
        return 0
    answer = business_status.look(question=question)
    with control_session() as session:
        business_status.record(
            control_session=session, question=question, answer=answer, now=clock.now()
        )
        leases.release(control_session=session, model=BusinessStatus, keys=keys)
    return len(keys)


STEP = Step("business_status", "default", due, work)
