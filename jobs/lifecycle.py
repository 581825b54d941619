"""The lifecycle step: reminders, trials that end, and retentions that are over."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import subscriptions
from jobs.steps import Step, each_tenant
from tenants import destruction, lifecycle, reminders, retention
from tenants.models import Tenant

TENANTS_AT_ONCE = 200


def _due(control_session: Session, now: datetime) -> bool:
    moves = lifecycle.trial_over(now) | destruction.retention_over(now)
    return bool(control_session.scalar(select(exists().where(Tenant.id.is_not(None), moves)))) or (
        reminders.anything_due(control_session=control_session, now=now)
    )


def _work() -> int:
    now = clock.now()
    with control_session() as session:
        reminded = reminders.remind(control_session=session, now=now, limit=TENANTS_AT_ONCE)
    with control_session() as session:
        ended = lifecycle.due_for_suspension(
            control_session=session, now=now, limit=TENANTS_AT_ONCE
        )
        kept_long_enough = destruction.due(control_session=session, now=now, limit=TENANTS_AT_ONCE)
    suspended = each_tenant(ended, _suspend)
    return reminded + suspended + each_tenant(kept_long_enough, _begin)


def _suspend(session: Session, tenant_id: UUID) -> bool:
    return lifecycle.suspend_due(control_session=session, tenant_id=tenant_id, now=clock.now())


def _begin(session: Session, tenant_id: UUID) -> bool:
    """Whoever has agreed to a contract that begins later keeps their data until then."""
    now = clock.now()
    lifecycle.locked(session, tenant_id)
    if subscriptions.is_agreed_ahead(control_session=session, tenant_id=tenant_id):
        retention.await_contract(
            control_session=session, tenant_id=tenant_id, actor=lifecycle.JOB, now=now
        )
        return False
    return destruction.begin(control_session=session, tenant_id=tenant_id, now=now)


STEP = Step(name="lifecycle", queue="default", due=_due, work=_work)
