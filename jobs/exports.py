"""The exports step: a tenant's own data becomes one ZIP on the disk."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock, files
from app.base.db import control_session
from jobs.steps import Step, anything_due, settle_each
from tenants import exports
from tenants.models import TenantExport

EXPORTS_AT_ONCE = 5
# A workspace of many gigabytes takes its time to be copied.
LEASE = timedelta(minutes=15)


def make_export(export_id: UUID) -> None:
    """This function will make one export and announce it."""
    with control_session() as session:
        order = exports.begin(control_session=session, export_id=export_id)
    if order is None:
        return
    stored = exports.perform(order)
    try:
        with control_session() as session:
            exports.record(control_session=session, order=order, stored=stored, now=clock.now())
    except exports.ExportMoved:
        files.delete(prefix=exports.prefix(order.place.tenant_id), sha256=stored.sha256)


def _due(control_session: Session, now: datetime) -> bool:
    del now
    return anything_due(control_session, TenantExport, exports.due_condition())


def _work() -> int:
    return settle_each(
        step=STEP.name,
        model=TenantExport,
        due=exports.due_condition(),
        perform_one=make_export,
        limit=EXPORTS_AT_ONCE,
        lease=LEASE,
    )


STEP = Step(name="exports", queue="default", due=_due, work=_work)
