"""The destruction step: statutory papers are set apart first, then the tenant goes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session, usage_session
from invoices import dunning, forgetting, statutory, subscriptions
from jobs.steps import Step, anything_due, settle_each
from tenants import destruction
from tenants.models import DestructionRun

TENANTS_AT_ONCE = 10


def destroy(tenant_id: UUID) -> None:
    """This function will take one tenant's destruction as far as it goes."""
    destruction.advance(
        transaction=control_session,
        usage_transaction=usage_session,
        tenant_id=tenant_id,
        now=clock.now,
        papers=PAPERS,
    )


def look(session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will refuse while money or a paper is under way.

    Whoever has paid what was open meanwhile is let in again: then nothing is destroyed.
    """
    if not dunning.open_again(
        control_session=session, tenant_id=tenant_id, actor=destruction.JOB, now=now
    ):
        statutory.refuse_under_way(control_session=session, tenant_id=tenant_id)


def set_apart(session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will save what the law makes us keep, and bill nothing more."""
    subscriptions.close(
        control_session=session,
        tenant_id=tenant_id,
        actor=destruction.JOB,
        now=now,
        why="the tenant is destroyed",
    )
    statutory.set_apart(control_session=session, tenant_id=tenant_id, now=now)


def left(session: Session, tenant_id: UUID, now: datetime) -> dict[str, int]:
    """This function will count what still names the customer in the tables of money.

    What had to wait when the rest was forgotten goes first.
    """
    forgetting.forget_late(control_session=session, tenant_id=tenant_id, now=now)
    return forgetting.left(control_session=session, tenant_id=tenant_id)


PAPERS = destruction.Papers(look=look, set_apart=set_apart, left=left)


def _due(control_session: Session, now: datetime) -> bool:
    del now
    return anything_due(control_session, DestructionRun, destruction.due_condition())


def _work() -> int:
    return settle_each(
        step=STEP.name,
        model=DestructionRun,
        due=destruction.due_condition(),
        perform_one=destroy,
        limit=TENANTS_AT_ONCE,
    )


STEP = Step(name="destruction", queue="default", due=_due, work=_work)
