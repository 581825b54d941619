"""The rollups step: marked hours of a shard of tenants, then a chunk of a new meter's past."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session, usage_session
from jobs.steps import Step
from tenants import meters, rollups


def _due(control_session: Session, now: datetime) -> bool:
    del now  # an hour is due from the moment that something arrived in it
    counted = meters.counted(control_session=control_session)
    with usage_session() as session:
        return rollups.anything_marked(usage_session=session) or rollups.anything_uncovered(
            usage_session=session, definitions=counted
        )


def _work() -> int:
    """Meters are read under the locks: a version that was covered before them is among them."""
    with usage_session() as usage:
        shard = rollups.take_shard(usage_session=usage)
        if shard is not None:
            with control_session() as control:
                counted = meters.counted(control_session=control)
            taken = rollups.roll(usage_session=usage, definitions=counted, shard=shard)
            if taken:
                return taken
    with control_session() as control, usage_session() as usage:
        if not rollups.anything_uncovered(
            usage_session=usage, definitions=meters.counted(control_session=control)
        ):
            return 0
    with usage_session() as usage:
        rollups.lock_all(usage_session=usage)
        with control_session() as control:
            counted = meters.counted(control_session=control)
        return int(rollups.cover(usage_session=usage, definitions=counted, now=clock.now()))


STEP = Step(name="rollups", queue="default", due=_due, work=_work)
