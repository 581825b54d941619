"""The step `bundles`: packs the papers that finance asked for into one ZIP."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session
from invoices import bundles
from invoices.models import DocumentBundle
from jobs.steps import Step, anything_due, settle_each

LEASE = timedelta(minutes=15)


def due(session: Session, _now: datetime) -> bool:
    """This function will tell whether a bundle waits to be made."""
    return anything_due(session, DocumentBundle, bundles.due())


def work() -> int:
    """This function will make one bundle and return how many it took up."""
    return settle_each(
        step="bundles",
        model=DocumentBundle,
        due=bundles.due(),
        perform_one=_make,
        limit=1,
        order_by=DocumentBundle.requested_at,
        lease=LEASE,
    )


def _make(bundle_id: UUID) -> None:
    with control_session() as session:
        order = bundles.begin(control_session=session, bundle_id=bundle_id, now=clock.now())
    if order is None:
        return

    def report(done: int) -> None:
        with control_session() as session:
            bundles.report(control_session=session, bundle_id=bundle_id, done=done)

    stored = bundles.perform(order=order, report=report)
    with control_session() as session:
        bundles.record(control_session=session, order=order, stored=stored, now=clock.now())


STEP = Step("bundles", "default", due, work)
