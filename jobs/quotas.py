"""The quotas step: overrides whose time is over end, and quotas are counted and told of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import Actor
from app.base.db import control_session, usage_session
from jobs.steps import Step
from tenants import entitlements, quotas

# Many more in one query cost more each: windows are joined with each other there.
QUOTAS_AT_ONCE = 100


def _due(control_session: Session, now: datetime) -> bool:
    return entitlements.anything_expired(
        control_session=control_session, now=now
    ) or quotas.anything_due(control_session=control_session, now=now)


def _work() -> int:
    now = clock.now()
    with control_session() as control:
        ended = entitlements.end_expired(
            control_session=control, actor=Actor.job(STEP.name), now=now
        )
    with control_session() as control, usage_session() as usage:
        counted = quotas.count(
            control_session=control, usage_session=usage, now=now, limit=QUOTAS_AT_ONCE
        )
    return ended + counted


STEP = Step(name="quotas", queue="default", due=_due, work=_work)
