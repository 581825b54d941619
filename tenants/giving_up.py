"""Giving a tenant up whose database could not be made: nothing of it stays, its applicant is told.

Only before it was ever on trial: whoever had a workspace is suspended, kept and destroyed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from app.base.errors import Conflict
from tenants import lifecycle, personal_data, provisioning, review
from tenants.models import TENANT, Erasure, ProvisioningRun, Tenant, TenantDatabase

Transaction = Callable[[], AbstractContextManager[Session]]


class GoingOn(Conflict):
    """A worker has taken the making of this tenant further in the meantime."""


def give_up(
    *, transaction: Transaction, tenant_id: UUID, reason: str, actor: Actor, now: datetime
) -> None:
    """This function will undo what was made of a tenant and reject its application.

    `reason` is what the applicant reads. The application is kept for as long as a rejected one is;
    the same company may apply again. Cut short anywhere, it may be called again.

    Raises: NoSuchRun; RunFinished once the tenant is on trial; GoingOn; Invalid for the reason;
    ClusterTrouble, NotOurs.
    """
    review.check_reason(reason=reason)
    provisioning.undo(transaction=transaction, tenant_id=tenant_id, actor=actor, now=now)
    with transaction() as session:
        _close(session, tenant_id, reason, actor, now)


def _close(
    control_session: Session, tenant_id: UUID, reason: str, actor: Actor, now: datetime
) -> None:
    tenant = lifecycle.locked(control_session, tenant_id)
    run = control_session.get_one(
        ProvisioningRun, tenant_id, with_for_update=True, populate_existing=True
    )
    placed = control_session.scalar(select(exists().where(TenantDatabase.tenant_id == tenant_id)))
    if tenant.state != "approved" or run.steps_done or placed:
        raise GoingOn("Somebody has tried this again in the meantime. Look again.")
    run.finished_at = now
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
