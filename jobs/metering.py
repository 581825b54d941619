"""The metering step: a chunk of tenants, all due days of each in one pass over its events."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.base import clock, leases
from app.base.config import settings
from app.base.db import control_session
from app.base.errors import TenantryError, Unavailable
from jobs import stopping
from jobs.steps import Step, anything_due
from tenants import metering
from tenants.models import MeteringDay
from tenants.sql_meters import Failure

log = structlog.get_logger(__name__)

DAYS_AT_ONCE = 5_000


class MeterFailed(Unavailable):
    """A declared query gave no number for a day; it is tried again."""


def _due(control_session: Session, now: datetime) -> bool:
    del now  # a day is listed when it is over, never before
    return anything_due(control_session, MeteringDay, metering.due_condition())


def _work() -> int:
    """Claims the days of `metering_chunk` tenants and reads one tenant after the other."""
    began = time.monotonic()
    with control_session() as session:
        claimed = leases.claim(
            control_session=session,
            model=MeteringDay,
            due=metering.due_condition(tenants_max=settings().metering_chunk),
            limit=DAYS_AT_ONCE,
            order_by=MeteringDay.tenant_id,
        )
        rows = session.scalars(select(MeteringDay).where(MeteringDay.id.in_(claimed))).all()
    by_tenant: dict[UUID, list[MeteringDay]] = defaultdict(list)
    for row in rows:
        by_tenant[row.tenant_id].append(row)
    waiting = list(by_tenant)
    while waiting:
        # A cluster that does not answer takes its time: what is left goes back before its lease
        # runs out.
        if stopping.asked() or time.monotonic() - began > settings().lease_seconds / 2:
            _give_back([row.id for tenant_id in waiting for row in by_tenant[tenant_id]])
            break
        tenant_id = waiting.pop(0)
        _read(tenant_id, by_tenant[tenant_id])
    return len(claimed)


def _read(tenant_id: UUID, rows: Sequence[MeteringDay]) -> None:
    try:
        with control_session() as session:
            order = metering.begin(
                control_session=session, tenant_id=tenant_id, days=[row.day for row in rows]
            )
        taken = metering.perform(order)
        queried, failed = metering.query(order)
        with control_session() as session:
            metering.record(
                control_session=session,
                order=order,
                taken=taken + queried,
                now=clock.now(),
                failed=failed,
            )
    except TenantryError as error:
        _park(rows, error)
        log.warning(
            "metering.refused",
            tenant_id=str(tenant_id),
            days=len(rows),
            error=type(error).__name__,
        )
    except Exception as error:
        # One tenant that can't be read keeps no other waiting; its days stay missing.
        _park(rows, error)
        log.exception("metering.failed", tenant_id=str(tenant_id), days=len(rows))
    else:
        _report(tenant_id, rows, failed)


def _report(tenant_id: UUID, rows: Sequence[MeteringDay], failed: Sequence[Failure]) -> None:
    """Days of which a declared query gave no number: the others' readings stand."""
    for row in rows:
        reasons = [f"{each.meter}: {each.why}" for each in failed if each.day == row.day]
        if reasons:
            _park([row], MeterFailed("; ".join(reasons)))
            log.warning(
                "metering.query_failed",
                tenant_id=str(tenant_id),
                day=row.day.isoformat(),
                meters=sorted({each.meter for each in failed if each.day == row.day}),
            )


def _park(rows: Sequence[MeteringDay], error: Exception) -> None:
    with control_session() as session:
        for row in rows:
            leases.fail(
                control_session=session,
                model=MeteringDay,
                key=row.id,
                error=f"metering: {type(error).__name__}: {error}",
            )


def _give_back(day_ids: Sequence[UUID]) -> None:
    with control_session() as session:
        session.execute(
            update(MeteringDay)
            .where(MeteringDay.id.in_(day_ids))
            .values(
                lease_until=func.clock_timestamp() - timedelta(seconds=1),
                attempts=func.greatest(MeteringDay.attempts - 1, 0),
            )
            .execution_options(synchronize_session=False)
        )


STEP = Step(name="metering", queue="default", due=_due, work=_work)
