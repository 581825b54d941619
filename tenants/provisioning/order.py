"""What is written in control about a run: its reservation, its orders, its progress."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.errors import Conflict, NotFound, Unavailable
from tenants import clusters, template
from tenants.databases import Placement
from tenants.models import LIVE_STATES, ProvisioningRun
from tenants.provisioning.activation import activate, administrator

STEPS = ("reserve", "role", "database", "lockdown", "migrate", "seed", "verify", "activate")
# Where a note is written. A crash between two of them costs one look more at the steps since the
# last one, which is less than a note for each would cost every run.
NOTED = frozenset({"reserve", "lockdown", "seed", "activate"})


# One statement counts the place, names it and notes the step, so none of it can leak.
_RESERVE = text("""
WITH room AS (
    SELECT id FROM cluster WHERE template_name IS NOT NULL AND reserved < capacity
    ORDER BY reserved * 1.0 / capacity, id LIMIT 1 FOR UPDATE
), counted AS (
    UPDATE cluster SET reserved = reserved + 1 FROM room WHERE cluster.id = room.id
    RETURNING cluster.id
), placed AS (
    INSERT INTO tenant_database
        (tenant_id, cluster_id, database_name, role_name, password_sealed, placement_version)
    SELECT :tenant_id, id, :name, :name, :password_sealed, 1 FROM counted RETURNING tenant_id
)
UPDATE provisioning_run SET step = 'reserve',
    steps_done = jsonb_build_array(jsonb_build_object('step', 'reserve', 'at', CAST(:at AS text)))
FROM placed WHERE provisioning_run.tenant_id = placed.tenant_id RETURNING 1
""")
# Another tenant of the same cluster, whose door must be shut to this one's role.
_PLACE = text("""
SELECT tenant.limits, tenant.limits_version, place.database_name, place.role_name,
       place.password_sealed, place.placement_version, cluster.url, cluster.template_name,
       (SELECT beside.database_name
        FROM tenant_database AS beside JOIN tenant ON tenant.id = beside.tenant_id
        WHERE beside.cluster_id = cluster.id AND tenant.id <> :tenant_id
          AND tenant.state = ANY(:live_states)
        ORDER BY tenant.id DESC LIMIT 1) AS neighbour
FROM tenant JOIN tenant_database AS place ON place.tenant_id = tenant.id
     JOIN cluster ON cluster.id = place.cluster_id
WHERE tenant.id = :tenant_id
""")
_NOTE = """
UPDATE provisioning_run SET step = :step, finished_at = :finished_at,
    steps_done = steps_done || CAST(:done AS jsonb)
WHERE tenant_id = :tenant_id AND step = :before AND given_up IS NULL
"""
# A note lost with the server costs one look more: every step finds its own work. What must not be
# lost (the reservation's password, the activation) waits for the disk.
_UNHURRIED_NOTE = text(_NOTE + "RETURNING set_config('synchronous_commit', 'off', true)")
_LASTING_NOTE = text(_NOTE + "RETURNING 1")


class NoSuchRun(NotFound):
    """Nobody approved this tenant, so there is nothing to make."""


class NoRoom(Unavailable):
    """No cluster has room for another database."""


class RunMoved(Conflict):
    """Another worker has taken this run further in the meantime, or it was given up."""


@dataclass(frozen=True, slots=True)
class Done:
    """One step done, and when."""

    step: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Order:
    """The next step of one run and all it needs to know; holds no connection."""

    tenant_id: UUID
    run: str
    step: str
    place: Placement
    template: str
    limits: dict[str, Any]
    limits_version: int
    admin_id: UUID
    admin_email: str = field(repr=False)
    admin_name: str = field(repr=False)
    neighbour: str | None


def begin(*, control_session: Session, tenant_id: UUID, now: datetime) -> Order | None:
    """This function will reserve room if that is not done, and return the next step to perform.

    None says that the run is finished.

    Raises: NoSuchRun, NoRoom.
    """
    run = locked(control_session=control_session, tenant_id=tenant_id)
    if run.finished_at is not None:
        return None
    done = run.step or _reserve(control_session, run, now)
    return _order(control_session, run, STEPS[STEPS.index(done) + 1])


def is_reserved(*, control_session: Session, tenant_id: UUID) -> bool:
    """This function will tell whether a run has a place on a cluster, or had one until its end.

    Raises: NoSuchRun.
    """
    return locked(control_session=control_session, tenant_id=tenant_id).step is not None


def locked(*, control_session: Session, tenant_id: UUID) -> ProvisioningRun:
    """This function will return a tenant's run, read anew under its lock.

    Raises: NoSuchRun.
    """
    run = control_session.get(
        ProvisioningRun, tenant_id, with_for_update=True, populate_existing=True
    )
    if run is None:
        raise NoSuchRun("There is nothing to provision for this tenant.")
    return run


def _reserve(control_session: Session, run: ProvisioningRun, now: datetime) -> str:
    name = clusters.object_name(run.run)
    reserved = control_session.execute(
        _RESERVE,
        {
            "tenant_id": run.tenant_id,
            "name": name,
            "password_sealed": secrets.encrypt(ids.token()),
            "at": now.isoformat(),
        },
    ).first()
    if reserved is None:
        raise NoRoom("No cluster has room for another database. Add one, or raise its capacity.")
    return STEPS[0]


def _order(control_session: Session, run: ProvisioningRun, step: str) -> Order:
    row = control_session.execute(
        _PLACE, {"tenant_id": run.tenant_id, "live_states": list(LIVE_STATES)}
    ).one_or_none()
    if row is None:
        raise NoSuchRun("This run has no place on a cluster: there is nothing to go on with.")
    admin = administrator(control_session, run.tenant_id)
    return Order(
        tenant_id=run.tenant_id,
        run=run.run,
        step=step,
        place=Placement(
            tenant_id=run.tenant_id,
            cluster_url=row.url,
            database=row.database_name,
            role=row.role_name,
            password_sealed=row.password_sealed,
            placement_version=row.placement_version,
        ),
        template=str(row.template_name),
        limits=dict(row.limits),
        limits_version=row.limits_version,
        admin_id=admin.id,
        admin_email=admin.email,
        admin_name=admin.name,
        neighbour=row.neighbour,
    )


def stands(*, control_session: Session, order: Order) -> bool:
    """This function will tell whether a run still waits for exactly this order."""
    step = control_session.scalar(
        select(ProvisioningRun.step).where(ProvisioningRun.tenant_id == order.tenant_id)
    )
    return step == STEPS[STEPS.index(order.step) - 1]


def record(*, control_session: Session, order: Order, done: Sequence[Done]) -> Order | None:
    """This function will write down the steps done since the last note; `order` is the first.

    It returns the order for the step after them, if there is one.

    Raises: RunMoved when the run is not where the order was taken.
    """
    step, now = done[-1].step, done[-1].at
    last = step == STEPS[-1]
    moved = control_session.execute(
        _LASTING_NOTE if last else _UNHURRIED_NOTE,
        {
            "step": step,
            "done": json.dumps([{"step": one.step, "at": one.at.isoformat()} for one in done]),
            "finished_at": now if last else None,
            "tenant_id": order.tenant_id,
            "before": STEPS[STEPS.index(order.step) - 1],
        },
    ).first()
    if moved is None:
        raise RunMoved("Another worker has taken this run further, or it was given up.")
    names = {one.step for one in done}
    if "migrate" in names:
        control_session.execute(
            text("UPDATE tenant_database SET schema_revision = :at WHERE tenant_id = :tenant_id"),
            {"at": template.head_revision(), "tenant_id": order.tenant_id},
        )
    if "seed" in names:
        # Limits that changed since the order was taken are written by the limits' own step.
        control_session.execute(
            text("UPDATE tenant SET limits_version_written = :version WHERE id = :tenant_id"),
            {"version": order.limits_version, "tenant_id": order.tenant_id},
        )
    if last:
        activate(control_session=control_session, tenant_id=order.tenant_id, now=now)
    return None if last else replace(order, step=STEPS[STEPS.index(step) + 1])
