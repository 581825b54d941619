"""How long a suspended tenant's data is kept, where no rule says so by itself, and who decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict
from tenants import correspondence, lifecycle, rescue
from tenants.models import TENANT, Tenant


class NotSuspended(Conflict):
    """Only a suspended tenant's data can be marked for erasure."""


class NothingScheduled(Conflict):
    """No person has let this tenant's retention begin."""


def schedule_destruction(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime, why: str
) -> Tenant:
    """This function will let the retention of a suspended tenant begin, as staff decides.

    For debtors and for tenants that staff suspended; whoever decides is the approver in the ledger.
    A contract that is paused is cancelled first: its data is what it is paused for.

    Its administrators are told at once, and again before the end. What runs already stays.

    Raises: NoSuchTenant, TenantGone, NotSuspended.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    lifecycle.refuse_gone(tenant)
    if tenant.state != "suspended":
        raise NotSuspended("Suspend the tenant first; then its retention can begin.")
    if tenant.suspend_reason == "paused":
        raise NotSuspended("Cancel the paused subscription: then the retention begins by itself.")
    if tenant.destroy_after is not None:
        return tenant
    tenant.destroy_after = now + timedelta(days=settings().retention_days)
    lifecycle.note(
        control_session=control_session,
        tenant=tenant,
        action="tenant.destruction_scheduled",
        actor=actor,
        now=now,
        why=why,
    )
    correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name="suspended",
        event=f"retention:{now:%Y%m%d%H%M%S}",
        context={
            "reason": tenant.suspend_reason,
            "destroyed_on": correspondence.local(tenant.destroy_after, tenant),
        },
        now=now,
    )
    return tenant


def call_off_destruction(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime, why: str
) -> Tenant:
    """This function will keep the data of a tenant whose retention staff had begun.

    After a trial or a contract the retention is the policy's: only a legal hold stops it.

    Raises: NoSuchTenant, TenantGone, NothingScheduled.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    lifecycle.refuse_gone(tenant)
    if tenant.destroy_after is None or tenant.suspend_reason in lifecycle.RETENTION_FOLLOWS:
        raise NothingScheduled("Nobody has scheduled an erasure that could be taken back.")
    tenant.destroy_after = None
    lifecycle.note(
        control_session=control_session,
        tenant=tenant,
        action="tenant.retention_ended",
        actor=actor,
        now=now,
        why=why,
    )
    return tenant


def set_legal_hold(
    *, control_session: Session, tenant_id: UUID, hold: bool, actor: Actor, now: datetime, why: str
) -> Tenant:
    """This function will keep a tenant's data from erasure, or let its term run again.

    An erasure that has begun is called off as long as the data stands.

    Raises: NoSuchTenant, TenantGone; ClusterTrouble when a database that was closed can't be opened
    again now.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    if (
        hold
        and tenant.state == "destroying"
        and rescue.call_off(control_session=control_session, tenant=tenant)
    ):
        _shut_again(control_session, tenant, actor, now, why, destroy_after=tenant.destroy_after)
    lifecycle.refuse_gone(tenant)
    tenant.legal_hold = hold
    lifecycle.note(
        control_session=control_session,
        tenant=tenant,
        action="tenant.legal_hold_set" if hold else "tenant.legal_hold_lifted",
        actor=actor,
        now=now,
        why=why,
    )
    return tenant


def await_contract(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime
) -> Tenant:
    """This function will keep the data of a tenant whose contract is agreed on and begins later.

    A trial that runs goes on; one that has ended stays shut, and is not erased any more.

    Raises: whatever `convert` raises.
    """
    tenant = lifecycle.convertible(control_session, tenant_id)
    if tenant.state == "trialing" or (tenant.state == "suspended" and tenant.destroy_after is None):
        return tenant
    why = "a contract is agreed on"
    if tenant.state == "destroying":
        _shut_again(control_session, tenant, actor, now, why, destroy_after=None)
        return tenant
    tenant.destroy_after = None
    lifecycle.note(
        control_session=control_session,
        tenant=tenant,
        action="tenant.retention_ended",
        actor=actor,
        now=now,
        why=why,
    )
    return tenant


def _shut_again(
    control_session: Session,
    tenant: Tenant,
    actor: Actor,
    now: datetime,
    why: str,
    *,
    destroy_after: datetime | None,
) -> None:
    """Out of a destruction that was called off, shut for the reason that it was shut for before."""
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="suspended",
        actor=actor,
        now=now,
        why=why,
        values={"suspended_at": now, "destroy_after": destroy_after},
    )
