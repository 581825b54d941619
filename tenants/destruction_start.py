"""When a destruction begins: retention over, no hold, and everybody warned in time."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from app.base import audit, states
from app.base.audit import Actor, AuditEvent
from tenants import correspondence, lifecycle, personal_data, reminders
from tenants.models import TENANT, DestructionRun, MeteringDay, Tenant

JOB = Actor.job("destruction")
POLICY = "retention policy"
# An erasure whose last warning did not go out moves on day by day, and so often at most.
MOVED_ON = "tenant.erasure_moved_on"
MOVED_ON_DAYS_MAX = 30


def retention_over(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a suspended tenant has been kept long enough.

    While its last warning is on its way, or went out less than a day ago, it waits.
    """
    return (
        (Tenant.state == "suspended")
        & (Tenant.destroy_after <= now)
        & Tenant.legal_hold.is_(False)
        & (reminders.warned(now) | ~reminders.being_warned(now))
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
    that came first wins. One whose last warning never went out is not destroyed: its day moves on
    by one, and it is warned anew.

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
    waits, warned = control_session.execute(
        select(~retention_over(now), reminders.warned(now)).where(Tenant.id == tenant_id)
    ).one()
    if waits:
        return False
    if not warned and not _moved_on_enough(control_session, tenant):
        _move_on(control_session, tenant, now)
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


def _moved_on_enough(control_session: Session, tenant: Tenant) -> bool:
    """Nobody can be reached for so long: to keep the data without end would be against the law."""
    moved_on = control_session.scalar(
        select(func.count()).where(
            AuditEvent.tenant_id == tenant.id,
            AuditEvent.action == MOVED_ON,
            AuditEvent.at >= tenant.suspended_at,
        )
    )
    return (moved_on or 0) >= MOVED_ON_DAYS_MAX


def _move_on(control_session: Session, tenant: Tenant, now: datetime) -> None:
    tenant.destroy_after = now + reminders.LAST_WARNING_BEFORE
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=JOB,
        action=MOVED_ON,
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        why="no last warning went out a day before",
        now=now,
    )


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
