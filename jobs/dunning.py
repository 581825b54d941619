"""Dunning: debtors are marked past due, warned once more, and shut out after their grace.

A payment opens their doors itself; whoever is left outside without a debt is let in here.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import dunning, dunning_warnings
from jobs.steps import Step, each_tenant
from tenants.models import Tenant

TENANTS_AT_ONCE = 200


def due(session: Session, now: datetime) -> bool:
    """This function will tell whether a debtor is to be marked, warned or shut out, or let in."""
    debtors = dunning.overdue(now) | dunning_warnings.due(now) | dunning_warnings.ripe(now)
    concerned = debtors | dunning.settled(now)
    return bool(session.scalar(select(exists().where(Tenant.id.is_not(None), concerned))))


def work() -> int:
    """This function will follow up a chunk of debts and return how many tenants it concerned."""
    now = clock.now()
    with control_session() as session:
        marked = dunning.mark_overdue(control_session=session, now=now, limit=TENANTS_AT_ONCE)
    with control_session() as session:
        warned = dunning_warnings.warn(control_session=session, now=now, limit=TENANTS_AT_ONCE)
    return marked + warned + _shut_out(now) + _let_in(now)


def _shut_out(now: datetime) -> int:
    """Returns how many were, so a spared one never spins."""
    with control_session() as session:
        ripe = dunning_warnings.due_for_suspension(
            control_session=session, now=now, limit=TENANTS_AT_ONCE
        )
    return each_tenant(
        ripe,
        lambda session, tenant_id: dunning_warnings.suspend(
            control_session=session, tenant_id=tenant_id, now=now
        ),
    )


def _let_in(now: datetime) -> int:
    with control_session() as session:
        outside = dunning.shut_without_debts(
            control_session=session, now=now, limit=TENANTS_AT_ONCE
        )
    return each_tenant(
        outside,
        lambda session, tenant_id: dunning.open_again(
            control_session=session, tenant_id=tenant_id, actor=dunning.DUNNING, now=now
        ),
    )


STEP = Step("dunning", "default", due, work)
