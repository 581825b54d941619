"""The lifecycle step: reminders, trials that end, and retentions that are over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from app.base.errors import TenantryError
from invoices import subscriptions
from jobs import stopping
from jobs.steps import Step
from tenants import destruction, lifecycle, reminders, retention
from tenants.models import Tenant

log = structlog.get_logger(__name__)

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
    suspended = _each(ended, lifecycle.suspend_due)
    return reminded + suspended + _each(kept_long_enough, _begin)


def _begin(*, control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    """Whoever has agreed to a contract that begins later keeps their data until then."""
    lifecycle.locked(control_session, tenant_id)
    if subscriptions.is_agreed_ahead(control_session=control_session, tenant_id=tenant_id):
        retention.await_contract(
            control_session=control_session, tenant_id=tenant_id, actor=lifecycle.JOB, now=now
        )
        return False
    return destruction.begin(control_session=control_session, tenant_id=tenant_id, now=now)


def _each(tenant_ids: list[UUID], move: Callable[..., bool]) -> int:
    """Each tenant in a transaction of its own; returns how many moved, so failures never spin."""
    moved = 0
    for tenant_id in tenant_ids:
        if stopping.asked():
            break
        try:
            with control_session() as session:
                moved += move(control_session=session, tenant_id=tenant_id, now=clock.now())
        except TenantryError as error:
            log.warning("tenant.refused", tenant_id=str(tenant_id), error=type(error).__name__)
        except Exception:
            # The others have their turn; this one is looked at again at the next sweep.
            log.exception("tenant.failed", tenant_id=str(tenant_id))
    return moved


STEP = Step(name="lifecycle", queue="default", due=_due, work=_work)
