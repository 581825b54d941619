"""Provisioning: approved tenants get their database, a chunk at a time, or are given up."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import control_session as transaction
from jobs.steps import Step, anything_due, settle_each
from tenants import giving_up, provisioning
from tenants.models import ProvisioningRun


def due(control_session: Session, _now: datetime) -> bool:
    """This function will tell whether an approved tenant waits for its database, or its end."""
    return anything_due(control_session, ProvisioningRun, provisioning.due_condition())


def work() -> int:
    """This function will take a chunk of runs as far as they go and return how many it took."""
    with provisioning.gather_crew() as crew:
        return settle_each(
            step="provisioning",
            model=ProvisioningRun,
            due=provisioning.due_condition(),
            perform_one=lambda tenant_id: _advance(tenant_id, crew),
            limit=settings().provisioning_chunk,
            order_by=ProvisioningRun.started_at,
        )


def _advance(tenant_id: UUID, crew: provisioning.Crew) -> None:
    with transaction() as session:
        given_up = giving_up.is_asked(control_session=session, tenant_id=tenant_id)
    if given_up:
        giving_up.perform(transaction=transaction, tenant_id=tenant_id, now=clock.now())
        return
    provisioning.advance(transaction=transaction, tenant_id=tenant_id, now=clock.now, crew=crew)


STEP = Step(name="provisioning", queue="default", due=due, work=work)
