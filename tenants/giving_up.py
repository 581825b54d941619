"""Giving a tenant up whose database could not be made: nothing of it stays, its applicant is told.

Only before it was ever on trial: whoever had a workspace is suspended, kept and destroyed. An admin
says so on the run, which from then on goes no further; a worker undoes what was made. Cut short
anywhere, it goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, null, select, update
from sqlalchemy.orm import Session

from app.base import audit, states
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict
from tenants import lifecycle, personal_data, provisioning, review
from tenants.models import TENANT, Erasure, ProvisioningRun, Tenant, TenantDatabase
from tenants.provisioning import order

Transaction = Callable[[], AbstractContextManager[Session]]


class GoingOn(Conflict):
    """A worker that had begun before has taken the making of this tenant further."""


def ask(
    *, control_session: Session, tenant_id: UUID, reason: str, actor: Actor, now: datetime
) -> None:
    """This function will have a tenant given up: its run makes nothing any more, and is undone.

    `reason` is what the applicant reads.

    Raises: NoSuchRun; RunFinished once the tenant is on trial, or given up; Invalid for the reason.
    """
    review.check_reason(reason=reason)
    run = order.locked(control_session=control_session, tenant_id=tenant_id)
    if run.finished_at is not None:
        raise provisioning.RunFinished(
            "This is settled: the tenant is on trial by now, or was given up before."
        )
    run.given_up = {"reason": reason, "kind": actor.kind, "id": actor.id}
    # Whoever holds its lease now ends by itself.
    run.attempts, run.retry_at = 0, None
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action="provisioning.given_up",
        subject_kind="tenant",
        subject_id=tenant_id,
        tenant_id=tenant_id,
        now=now,
    )
    notify(control_session, "provisioning")


def is_asked(*, control_session: Session, tenant_id: UUID) -> bool:
    """This function will tell whether a tenant is to be given up."""
    given_up = ProvisioningRun.tenant_id == tenant_id, ProvisioningRun.given_up.is_not(None)
    return bool(control_session.scalar(select(exists().where(*given_up))))


def perform(*, transaction: Transaction, tenant_id: UUID, now: datetime) -> None:
    """This function will undo what was made of a tenant, if that is asked, and reject its
    application.

    The application is kept for as long as a rejected one is; the same company may apply again.

    Raises: NoSuchRun, RunFinished, GoingOn, ClusterTrouble, NotOurs; it may be called again after
    any of them.
    """
    with transaction() as session:
        wish = order.locked(control_session=session, tenant_id=tenant_id).given_up
    if wish is None:
        return
    actor = Actor(wish["kind"], wish["id"])
    provisioning.undo(transaction=transaction, tenant_id=tenant_id, actor=actor, now=now)
    with transaction() as session:
        _close(session, tenant_id, wish["reason"], actor, now)


def _close(
    control_session: Session, tenant_id: UUID, reason: str, actor: Actor, now: datetime
) -> None:
    tenant = lifecycle.locked(control_session, tenant_id)
    run = order.locked(control_session=control_session, tenant_id=tenant_id)
    placed = control_session.scalar(select(exists().where(TenantDatabase.tenant_id == tenant_id)))
    if tenant.state != "approved" or run.steps_done or placed:
        raise GoingOn("A worker that had begun before goes on with it.")
    control_session.execute(
        update(ProvisioningRun)
        .where(ProvisioningRun.tenant_id == tenant_id)
        .values(finished_at=now, given_up=null())
        .execution_options(synchronize_session=False)
    )
    application_id, tenant.application_id = tenant.application_id, None
    control_session.flush()
    if application_id is not None:
        review.take_back(
            control_session=control_session,
            application_id=application_id,
            reason=reason,
            actor=actor,
            now=now,
        )
    left = personal_data.erase(
        control_session=control_session, tenant_id=tenant_id, actor=actor, now=now
    )
    control_session.add(_line(tenant, left, actor, now))
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="destroyed",
        actor=actor,
        now=now,
        why="its database could not be made",
        values={"destroyed_at": now},
    )


def _line(tenant: Tenant, left: dict[str, int], actor: Actor, now: datetime) -> Erasure:
    return Erasure(
        subject_kind="tenant",
        subject_id=tenant.id,
        data_classes=["tenant database", "database role", *personal_data.DATA_CLASSES],
        created_on=tenant.created_at.date(),
        destroyed_at=now,
        reason="given up before it was made",
        legal_basis="PIPA §21",
        operator="provisioning",
        approver=f"{actor.kind} {actor.id}",
        verified={"database": 0, "role": 0, **left},
    )
