"""What is written in control about a run: its reservation, its orders, its progress."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, text, update
from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.errors import Conflict, NotFound, Unavailable
from tenants import clusters, template
from tenants.databases import Placement
from tenants.models import LIVE_STATES, Cluster, ProvisioningRun, Tenant, TenantDatabase
from tenants.provisioning.activation import activate, administrator

STEPS = ("reserve", "role", "database", "lockdown", "migrate", "seed", "verify", "activate")


class NoSuchRun(NotFound):
    """Nobody approved this tenant, so there is nothing to make."""


class NoRoom(Unavailable):
    """No cluster has room for another database."""


class RunMoved(Conflict):
    """Another worker has taken this run further in the meantime."""


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
    run = control_session.get(
        ProvisioningRun, tenant_id, with_for_update=True, populate_existing=True
    )
    if run is None:
        raise NoSuchRun("There is nothing to provision for this tenant.")
    if run.finished_at is not None:
        return None
    if run.step is None:
        _reserve(control_session, run, now)
    assert run.step is not None
    return _order(control_session, run, STEPS[STEPS.index(run.step) + 1])


def _reserve(control_session: Session, run: ProvisioningRun, now: datetime) -> None:
    """One transaction counts the place, names it and notes the step, so none of it can leak."""
    cluster = control_session.scalar(
        select(Cluster)
        .where(Cluster.template_name.is_not(None), Cluster.reserved < Cluster.capacity)
        .order_by(Cluster.reserved * 1000 / Cluster.capacity, Cluster.id)
        .limit(1)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if cluster is None:
        raise NoRoom("No cluster has room for another database. Add one, or raise its capacity.")
    cluster.reserved += 1
    name = clusters.object_name(run.run)
    control_session.add(
        TenantDatabase(
            tenant_id=run.tenant_id,
            cluster_id=cluster.id,
            database_name=name,
            role_name=name,
            password_sealed=secrets.encrypt(ids.token()),
        )
    )
    run.step = "reserve"
    run.steps_done = [{"step": "reserve", "at": now.isoformat()}]
    control_session.flush()


def _order(control_session: Session, run: ProvisioningRun, step: str) -> Order:
    tenant, place, cluster = control_session.execute(
        select(Tenant, TenantDatabase, Cluster)
        .join(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
        .join(Cluster, Cluster.id == TenantDatabase.cluster_id)
        .where(Tenant.id == run.tenant_id)
    ).one()
    admin = administrator(control_session, tenant.id)
    neighbour = control_session.scalar(
        select(TenantDatabase.database_name)
        .join(Tenant, Tenant.id == TenantDatabase.tenant_id)
        .where(
            TenantDatabase.cluster_id == cluster.id,
            Tenant.state.in_(LIVE_STATES),
            Tenant.id != tenant.id,
        )
        .order_by(Tenant.id.desc())
        .limit(1)
    )
    return Order(
        tenant_id=tenant.id,
        run=run.run,
        step=step,
        place=Placement(
            tenant_id=tenant.id,
            cluster_url=cluster.url,
            database=place.database_name,
            role=place.role_name,
            password_sealed=place.password_sealed,
            placement_version=place.placement_version,
        ),
        template=str(cluster.template_name),
        limits=dict(tenant.limits),
        limits_version=tenant.limits_version,
        admin_id=admin.id,
        admin_email=admin.email,
        admin_name=admin.name,
        neighbour=neighbour,
    )


def stands(*, control_session: Session, order: Order) -> bool:
    """This function will tell whether a run still waits for exactly this order."""
    step = control_session.scalar(
        select(ProvisioningRun.step).where(ProvisioningRun.tenant_id == order.tenant_id)
    )
    return step == STEPS[STEPS.index(order.step) - 1]


def record(*, control_session: Session, order: Order, now: datetime) -> Order | None:
    """This function will write down that a step is done and return the next one, if there is any.

    Raises: RunMoved when the run is not where the order was taken.
    """
    before = STEPS[STEPS.index(order.step) - 1]
    last = order.step == STEPS[-1]
    if not last:
        # A note lost with the server costs one look more: every step finds its own work. What must
        # not be lost (the reservation's password, the activation) waits for the disk.
        control_session.execute(text("SET LOCAL synchronous_commit = off"))
    moved = control_session.execute(
        text(
            "UPDATE provisioning_run SET step = :step, finished_at = :finished_at,"
            " steps_done = steps_done || jsonb_build_array("
            "   jsonb_build_object('step', CAST(:step AS text), 'at', CAST(:at AS text)))"
            " WHERE tenant_id = :tenant_id AND step = :before RETURNING 1"
        ),
        {
            "step": order.step,
            "at": now.isoformat(),
            "finished_at": now if last else None,
            "tenant_id": order.tenant_id,
            "before": before,
        },
    ).first()
    if moved is None:
        raise RunMoved("Another worker has taken this run further.")
    match order.step:
        case "migrate":
            _note(control_session, order, schema_revision=template.head_revision())
        case "seed":
            # Limits that changed since the order was taken are written by the limits' own step.
            control_session.execute(
                update(Tenant)
                .where(Tenant.id == order.tenant_id)
                .values(limits_version_written=order.limits_version)
            )
        case "activate":
            activate(control_session=control_session, tenant_id=order.tenant_id, now=now)
    return None if last else replace(order, step=STEPS[STEPS.index(order.step) + 1])


def _note(control_session: Session, order: Order, **values: Any) -> None:
    control_session.execute(
        update(TenantDatabase).where(TenantDatabase.tenant_id == order.tenant_id).values(**values)
    )
