"""Destruction: what is left of a tenant when its retention is over is a line in a ledger.

Persisted steps, each of which looks before it acts: cut short at any line, the run goes on from
there. Up to `begin` a payment or a conversion wins; after it none can. Nothing is called destroyed
before its absence was seen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, exists, func, select, text
from sqlalchemy.orm import Session

from app.base import files, states
from app.base.audit import Actor, AuditEvent
from app.base.errors import Conflict, NotFound, Unavailable
from tenants import correspondence, destruction_on_cluster, events, lifecycle, personal_data
from tenants.destruction_on_cluster import Place, StillThere
from tenants.models import (
    TENANT,
    Cluster,
    DestructionRun,
    Erasure,
    MeteringDay,
    ProvisioningRun,
    Tenant,
    TenantDatabase,
    TenantExport,
)
from tenants.provisioning import release_place

# apart: the statutory papers, by the invoices' room. usage: pushed events, wherever they lie.
# records: personal data in control.
STEPS = ("apart", "close", "quarantine", "database", "role", "files", "usage", "records", "absence")
JOB = Actor.job("destruction")
POLICY = "retention policy"
LEGAL_BASIS = "PIPA §21"
DATA_CLASSES = [
    "tenant database",
    "database role",
    "files",
    "exports",
    "usage events",
    *personal_data.DATA_CLASSES,
]

Transaction = Callable[[], AbstractContextManager[Session]]
AfterStep = Callable[[str, str], None]
SetApart = Callable[[Session, UUID, datetime], None]


class NoSuchRun(NotFound):
    """Nobody has begun to destroy this tenant."""


class RunMoved(Conflict):
    """Another worker has taken this run further in the meantime."""


class PlaceUnknown(Conflict):
    """A database was made for this tenant, and where it stands is no longer written down."""


class ExportBeingWritten(Unavailable):
    """A worker is still copying the tenant's files into an export."""


@dataclass(frozen=True, slots=True)
class Order:
    """The next step of one destruction; holds no connection."""

    tenant_id: UUID
    step: str
    steps_done: int
    place: Place | None


def retention_over(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a suspended tenant has been kept long enough."""
    return (
        (Tenant.state == "suspended") & (Tenant.destroy_after <= now) & Tenant.legal_hold.is_(False)
    )


def due(*, control_session: Session, now: datetime, limit: int) -> list[UUID]:
    """This function will list tenants whose retention is over."""
    return list(
        control_session.scalars(
            select(Tenant.id).where(retention_over(now)).order_by(Tenant.id).limit(limit)
        )
    )


def begin(*, control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    """This function will begin a destruction if it is still due, and tell whether it was.

    It looks again under the tenant's lock: a payment, a conversion, an extension or a legal hold
    that came first wins. With its commit the way back is shut.

    Raises: NoSuchTenant.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    over = (
        tenant.state == "suspended"
        and not tenant.legal_hold
        and tenant.destroy_after is not None
        and tenant.destroy_after <= now
    )
    if not over:
        return False
    reason = tenant.suspend_reason or ""
    control_session.add(
        DestructionRun(
            tenant_id=tenant_id,
            reason=reason,
            approver=_approver(control_session, tenant_id),
            steps_done=[],
            started_at=now,
        )
    )
    # Nobody bills these days any more, and nobody could read them.
    control_session.execute(
        delete(MeteringDay).where(MeteringDay.tenant_id == tenant_id, MeteringDay.done_at.is_(None))
    )
    correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name=personal_data.LAST_MAIL,
        event="destroyed",
        now=now,
    )
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="destroying",
        actor=JOB,
        now=now,
        why=f"retention over, {reason}",
        values={"suspended_at": None},
    )
    return True


def _approver(control_session: Session, tenant_id: UUID) -> str:
    """Whoever of staff let the retention begin, else the policy."""
    scheduled = control_session.execute(
        select(AuditEvent.actor_kind, AuditEvent.actor_id)
        .where(
            AuditEvent.tenant_id == tenant_id,
            AuditEvent.action == "tenant.destruction_scheduled",
        )
        .order_by(AuditEvent.at.desc())
        .limit(1)
    ).first()
    return f"{scheduled.actor_kind} {scheduled.actor_id}" if scheduled else POLICY


def due_condition() -> ColumnElement[bool]:
    """This function will return the condition that a destruction has steps left to do."""
    return DestructionRun.finished_at.is_(None)


def advance(
    *,
    transaction: Transaction,
    usage_transaction: Transaction,
    tenant_id: UUID,
    now: Callable[[], datetime],
    set_apart: SetApart,
    after_step: AfterStep = lambda _step, _what: None,
) -> None:
    """This function will take one destruction from wherever it stands to its line in the ledger.

    `transaction` opens one on control, for each step its own; `usage_transaction` opens one where
    pushed usage lies. `set_apart(session, tenant_id, now)`
    saves what the law makes us keep, in the transaction that notes it. `after_step` is told of each
    boundary.

    Raises: NoSuchRun, ClusterTrouble, NotOurs, StillThere, PlaceUnknown; the run may be advanced
    again after any of them.
    """
    with transaction() as session:
        order = next_step(control_session=session, tenant_id=tenant_id)
    while order is not None:
        proof = perform(order)
        proof |= _perform_on_usage(order, transaction, usage_transaction, now())
        after_step(order.step, "performed")
        done = order.step
        with transaction() as session:
            if done == "apart":
                set_apart(session, tenant_id, now())
            order = record(control_session=session, order=order, proof=proof, now=now())
        after_step(done, "recorded")


def next_step(*, control_session: Session, tenant_id: UUID) -> Order | None:
    """This function will return the step that comes next; None says that the run is finished.

    Raises: NoSuchRun, PlaceUnknown.
    """
    run = control_session.get(DestructionRun, tenant_id, populate_existing=True)
    if run is None:
        raise NoSuchRun("Nobody has begun to destroy this tenant.")
    if run.finished_at is not None:
        return None
    done = len(run.steps_done)
    return Order(tenant_id, STEPS[done], done, _place(control_session, tenant_id))


def _place(control_session: Session, tenant_id: UUID) -> Place | None:
    """A tenant that was never provisioned has none; one that was must have one until the end."""
    provisioned = control_session.get(ProvisioningRun, tenant_id)
    row = control_session.execute(
        select(Cluster.url, TenantDatabase.database_name, TenantDatabase.role_name)
        .join(TenantDatabase, TenantDatabase.cluster_id == Cluster.id)
        .where(TenantDatabase.tenant_id == tenant_id)
    ).first()
    if provisioned is None and row is None:
        return None
    if provisioned is None or row is None:
        raise PlaceUnknown("Where this tenant's database stands is not written down. Please look.")
    return Place(row.url, row.database_name, row.role_name, provisioned.run)


def perform(order: Order) -> dict[str, Any]:
    """This function will do one step outside control, or find that it is done.

    It returns what was seen to be absent, for the ledger; before the last step that is nothing.

    Raises: ClusterTrouble, NotOurs, StillThere.
    """
    proof: dict[str, Any] = {}
    if order.step in destruction_on_cluster.STEPS and order.place is not None:
        proof |= destruction_on_cluster.perform(step=order.step, place=order.place)
    if order.step in ("files", "absence"):
        # Once more at the end: an export may have been on its way when the files went.
        files.delete_all(prefix=f"tenants/{order.tenant_id}")
    if order.step == "absence":
        if not files.is_empty(prefix=f"tenants/{order.tenant_id}"):
            raise StillThere("There are files of this tenant left.")
        proof["files"] = 0
    return proof


def _perform_on_usage(
    order: Order, transaction: Transaction, usage_transaction: Transaction, now: datetime
) -> dict[str, Any]:
    """Each part in a transaction of its own: a tenant's end must be seen before its events go."""
    if order.step == "usage":
        with transaction() as control_session, usage_transaction() as usage_session:
            events.end(
                usage_session=usage_session,
                control_session=control_session,
                tenant_id=order.tenant_id,
                now=now,
            )
        erased = 1
        while erased:
            with usage_transaction() as usage_session:
                erased = events.erase(usage_session=usage_session, tenant_id=order.tenant_id)
    if order.step != "absence":
        return {}
    with usage_transaction() as usage_session:
        left = events.left(usage_session=usage_session, tenant_id=order.tenant_id)
    if any(left.values()):
        raise StillThere(f"There is usage of this tenant left: {left}.")
    return dict(left)


def record(
    *, control_session: Session, order: Order, proof: dict[str, Any], now: datetime
) -> Order | None:
    """This function will write down that a step is done and return the next one, if there is any.

    Raises: RunMoved when the run is not where the order was taken; what a step raises.
    """
    moved = control_session.execute(
        text(
            "UPDATE destruction_run SET steps_done = steps_done || jsonb_build_array("
            "   jsonb_build_object('step', CAST(:step AS text), 'at', CAST(:at AS text)))"
            " WHERE tenant_id = :tenant_id AND jsonb_array_length(steps_done) = :done"
            "   AND finished_at IS NULL RETURNING 1"
        ),
        {
            "step": order.step,
            "at": now.isoformat(),
            "tenant_id": order.tenant_id,
            "done": order.steps_done,
        },
    ).first()
    if moved is None:
        raise RunMoved("Another worker has taken this run further.")
    if order.step == "apart":
        _wait_for_exports(control_session, order.tenant_id)
    if order.step == "records":
        personal_data.wait_for_last_mail(
            control_session=control_session, tenant_id=order.tenant_id, now=now
        )
        personal_data.erase(
            control_session=control_session, tenant_id=order.tenant_id, actor=JOB, now=now
        )
    if order.step == "absence":
        _finish(control_session, order.tenant_id, proof, now)
        return None
    return next_step(control_session=control_session, tenant_id=order.tenant_id)


def _wait_for_exports(control_session: Session, tenant_id: UUID) -> None:
    """One that is being written now would put its file down after all files are gone."""
    writing = control_session.scalar(
        select(
            exists().where(
                TenantExport.tenant_id == tenant_id,
                TenantExport.lease_until > func.clock_timestamp(),
            )
        )
    )
    if writing:
        raise ExportBeingWritten("An export of this tenant is being written. Waiting for its end.")


def _finish(
    control_session: Session, tenant_id: UUID, proof: dict[str, Any], now: datetime
) -> None:
    """One transaction: the last look, the place on the cluster, the ledger, the state."""
    tenant = lifecycle.locked(control_session, tenant_id)
    # A sign-in or a mail may have slipped in since; the count afterwards has to be nothing.
    left = personal_data.erase(
        control_session=control_session, tenant_id=tenant_id, actor=JOB, now=now
    )
    if any(left.values()):
        raise StillThere(f"After erasing there is still {left}.")
    release_place(control_session=control_session, tenant_id=tenant_id)
    run = control_session.get_one(DestructionRun, tenant_id, populate_existing=True)
    control_session.add(
        Erasure(
            subject_kind="tenant",
            subject_id=tenant_id,
            data_classes=DATA_CLASSES,
            created_on=tenant.created_at.date(),
            destroyed_at=now,
            reason=f"retention over, {run.reason}",
            legal_basis=LEGAL_BASIS,
            operator="destruction",
            approver=run.approver,
            verified={**proof, **left},
        )
    )
    run.finished_at = now
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="destroyed",
        actor=JOB,
        now=now,
        values={"destroyed_at": now},
    )
