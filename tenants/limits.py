"""What a plan allows, written down from control into the tenant's own database, where it is held.

Control says what should be (`tenant.limits`, `limits_version`); a job carries it over, as the
provisioner, and notes which version arrived. The tenant's own role can read a limit and not change
it: whoever gets hold of its key has no more than was agreed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Invalid
from tenants import databases, grants
from tenants.databases import Placement, TenantSession
from tenants.models import LIVE_STATES, Tenant, TenantDatabase
from tenants.schema import PlanLimit

SEATS = grants.SEATS
STORAGE_BYTES = grants.STORAGE_BYTES
KEYS = grants.LIMITS


class UnknownLimit(Invalid):
    """A limit that no part of the workspace holds, or one below zero."""


@dataclass(frozen=True, slots=True)
class LimitsOrder:
    """Limits on their way into a tenant's database; holds no connection."""

    place: Placement
    limits: Mapping[str, int | None]
    version: int


def set_limits(
    *,
    control_session: Session,
    tenant_id: UUID,
    limits: Mapping[str, int | None],
    actor: Actor,
    now: datetime,
) -> None:
    """This function will say what a tenant may use: `{"seats": 10, "storage_bytes": None}`.

    None means no limit, and so does a key left out. A job writes it down in the tenant's database.

    Raises: UnknownLimit; NoSuchTenant.
    """
    for key, value in limits.items():
        if key not in KEYS or (value is not None and value < 0):
            raise UnknownLimit(f"There is no limit {key!r} of {value}.", field="limits")
    tenant = control_session.get(Tenant, tenant_id, with_for_update=True, populate_existing=True)
    if tenant is None:
        raise databases.NoSuchTenant("There is no such tenant.")
    if tenant.limits == dict(limits):
        return
    tenant.limits = dict(limits)
    tenant.limits_version += 1
    control_session.flush()
    # What failed before may succeed with what is written now.
    control_session.execute(
        update(TenantDatabase)
        .where(TenantDatabase.tenant_id == tenant_id)
        .values(attempts=0, retry_at=None)
    )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="tenant.limits_set",
        subject_kind="tenant",
        subject_id=tenant_id,
        tenant_id=tenant_id,
        details={"limits": dict(limits), "version": tenant.limits_version},
        now=now,
    )
    notify(control_session, "limits")


def due_condition() -> ColumnElement[bool]:
    """This function will return the condition on a tenant's database that its limits are old."""
    condition: ColumnElement[bool] = TenantDatabase.tenant_id.in_(
        select(Tenant.id).where(
            Tenant.state.in_(LIVE_STATES), Tenant.limits_version != Tenant.limits_version_written
        )
    )
    return condition


def begin(*, control_session: Session, tenant_id: UUID) -> LimitsOrder:
    """This function will return what is to be written where.

    Raises: NoSuchTenant, NoDatabase.
    """
    place = databases.placement(control_session, tenant_id)
    tenant = control_session.get_one(Tenant, tenant_id, populate_existing=True)
    return LimitsOrder(place, dict(tenant.limits), tenant.limits_version)


def write(order: LimitsOrder) -> None:
    """This function will write limits down in the tenant's database; control is not asked.

    Raises: TenantDatabaseUnavailable.
    """
    put(order.place, {key: order.limits.get(key) for key in KEYS})


def put(place: Placement, limits: Mapping[str, int | None]) -> None:
    """This function will write limits into a tenant's database as the provisioner.

    Raises: TenantDatabaseUnavailable.
    """
    with databases.provisioner_connection(place.cluster_url, database=place.database) as connection:
        connection.execute(
            "INSERT INTO plan_limit (key, value) SELECT * FROM unnest(%s::text[], %s::bigint[])"
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (list(limits), list(limits.values())),
        )


def record(*, control_session: Session, order: LimitsOrder) -> None:
    """This function will note which version of the limits has arrived; an older one never wins."""
    control_session.execute(
        update(Tenant)
        .where(Tenant.id == order.place.tenant_id, Tenant.limits_version_written < order.version)
        .values(limits_version_written=order.version)
        .execution_options(synchronize_session=False)
    )


def lock(*, tenant_session: TenantSession, key: str) -> int | None:
    """This function will lock what a limit limits until the transaction ends; None is no limit.

    Every change of seats, or of stored bytes, comes by here one after the other. It is no lock on
    the row, which PostgreSQL gives only to those who may change it.
    """
    name = func.hashtextextended(f"plan limit {key}", 0)
    tenant_session.execute(select(func.pg_advisory_xact_lock(name)))
    return read(tenant_session=tenant_session, key=key)


def read(*, tenant_session: TenantSession, key: str) -> int | None:
    """This function will return a limit for showing it; None is no limit."""
    return tenant_session.scalar(select(PlanLimit.value).where(PlanLimit.key == key))
