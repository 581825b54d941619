"""The limits step: what control says a tenant may use is written down in its own database."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base.db import control_session
from jobs.steps import Step, anything_due, settle_each
from tenants import limits
from tenants.models import TenantDatabase

TENANTS_AT_ONCE = 50


def write_limits(tenant_id: UUID) -> None:
    """This function will write one tenant's limits down where they are held."""
    with control_session() as session:
        order = limits.begin(control_session=session, tenant_id=tenant_id)
    limits.write(order)
    with control_session() as session:
        limits.record(control_session=session, order=order)


def _due(control_session: Session, now: datetime) -> bool:
    del now
    return anything_due(control_session, TenantDatabase, limits.due_condition())


def _work() -> int:
    return settle_each(
        step=STEP.name,
        model=TenantDatabase,
        due=limits.due_condition(),
        perform_one=write_limits,
        limit=TENANTS_AT_ONCE,
    )


STEP = Step(name="limits", queue="default", due=_due, work=_work)
