"""The way back from a destruction that has begun: it is open until the database is dropped.

Whoever holds the tenant's lock decides: a conversion or a payment that comes first calls the run
off, and the DROP, which is made under the same lock, finds nothing to destroy.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, or_, select, update
from sqlalchemy.orm import Session

from tenants import destruction_on_cluster, metering
from tenants.models import GONE_STATES, DestructionRun, Tenant

# With this step the data is gone; until then all of it stands.
POINT_OF_NO_RETURN = "database"


def gone() -> ColumnElement[bool]:
    """This function will return the condition that nothing brings a tenant back any more."""
    stands = exists().where(
        DestructionRun.tenant_id == Tenant.id,
        ~DestructionRun.steps_done.contains([{"step": POINT_OF_NO_RETURN}]),
    )
    return or_(Tenant.state == "destroyed", and_(Tenant.state == "destroying", ~stands))


def is_gone(*, control_session: Session, tenant: Tenant) -> bool:
    """This function will tell whether nothing brings this tenant back any more."""
    if tenant.state not in GONE_STATES:
        return False
    return bool(control_session.scalar(select(exists().where(Tenant.id == tenant.id, gone()))))


def call_off(*, control_session: Session, tenant: Tenant) -> bool:
    """This function will end a destruction that has begun, and tell whether the data still stands.

    The caller holds the tenant's lock and moves it out of `destroying`. The database gets its name
    back and lets its role in at once: should the caller's transaction fail, the run closes it
    again.

    Raises: ClusterTrouble, NotOurs, PlaceUnknown; then nothing was changed in control.
    """
    run = control_session.get(
        DestructionRun, tenant.id, with_for_update=True, populate_existing=True
    )
    if run is None or any(entry["step"] == POINT_OF_NO_RETURN for entry in run.steps_done):
        return False
    place = destruction_on_cluster.place_of(control_session=control_session, tenant_id=tenant.id)
    # A worker that was killed may have dropped it and noted nothing.
    if place is not None and not destruction_on_cluster.restore(place=place):
        return False
    control_session.delete(run)
    control_session.flush()
    # A contract may go on, and its bills wait for every day.
    metering.list_between(control_session=control_session, tenant_id=tenant.id)
    return True


def suppose_called_off(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will put a tenant where it would be without its destruction, for a look.

    The caller takes that back. Nothing is asked of a cluster: a look opens no database.
    """
    control_session.execute(
        update(Tenant)
        .where(Tenant.id == tenant_id, Tenant.state == "destroying")
        .values(state="suspended", suspended_at=now)
        .execution_options(synchronize_session=False)
    )
