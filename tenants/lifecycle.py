"""A tenant's life between its trial and its end: who may move it where, and what follows.

Suspended means that the workspace is shut; the portal, payment, conversion and export stay open.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from app.base import audit, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, TenantryError
from tenants import correspondence, entitlements, grants, rescue
from tenants.databases import NoSuchTenant
from tenants.models import GONE_STATES, TENANT, Tenant

JOB = Actor.job("lifecycle")
REASONS = ("trial_ended", "cancelled", "unpaid", "staff", "paused")
# Nothing is owed and no contract runs: the data goes when the retention is over. A debtor's or a
# held tenant's data waits for a person to say so (`tenants.retention`).
RETENTION_FOLLOWS = ("trial_ended", "cancelled")
# The doors are shut, and there is a way back: for a tenant that is being destroyed, while its data
# stands (`tenants.rescue`).
SHUT_STATES = ("suspended", "destroying")
OPEN_AGAIN = {
    "suspended_at": None,
    "suspend_reason": None,
    "destroy_after": None,
    # Whoever is past due still is warned anew before the doors are shut again.
    "suspend_after": None,
}


class TenantGone(Conflict):
    """The tenant's data is being erased, or is erased: nothing brings it back."""


def suspend(
    *, control_session: Session, tenant_id: UUID, reason: str, actor: Actor, now: datetime
) -> Tenant:
    """This function will shut a tenant's workspace at once and tell its administrators.

    A tenant that is suspended already stays as it is, unless its trial or contract has ended
    meanwhile: then nothing brings it back but a new contract, and its retention begins.

    Raises: NoSuchTenant, TenantGone; Invalid for an unknown reason; IllegalMove.
    """
    if reason not in REASONS:
        raise Invalid("Choose a reason from the list.", field="reason")
    tenant = locked(control_session, tenant_id)
    refuse_gone(tenant)
    ends_for_good = reason in RETENTION_FOLLOWS
    destroy_after = now + timedelta(days=settings().retention_days) if ends_for_good else None
    if tenant.state == "suspended":
        runs = tenant.suspend_reason in RETENTION_FOLLOWS and tenant.destroy_after is not None
        if not ends_for_good or runs:
            return tenant
        tenant.suspend_reason, tenant.destroy_after = reason, destroy_after
        note(
            control_session=control_session,
            tenant=tenant,
            action="tenant.retention_begun",
            actor=actor,
            now=now,
            why=reason,
        )
    else:
        states.move(
            control_session=control_session,
            machine=TENANT,
            row=tenant,
            to="suspended",
            actor=actor,
            now=now,
            why=reason,
            values={
                "suspended_at": now,
                "suspend_reason": reason,
                "destroy_after": destroy_after,
            },
        )
    correspondence.tell_admins(
        control_session=control_session,
        tenant=tenant,
        name="suspended",
        event=f"suspended:{reason}:{now:%Y%m%d%H%M%S}",
        context={
            "reason": reason,
            "destroyed_on": destroy_after and correspondence.local(destroy_after, tenant),
        },
        now=now,
    )
    return tenant


def unblock(
    *,
    control_session: Session,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> bool:
    """This function will open a tenant that was overdue or suspended, and tell whether it did.

    A payment opens what was shut for want of it; only staff opens what staff shut. A trial that
    ended is opened by converting or extending it. What is being erased is opened as long as its
    data stands; afterwards the payment is recorded all the same, so that is no error here.

    Raises: NoSuchTenant.
    """
    tenant = locked_beside_payments(control_session, tenant_id)
    shut = tenant.state in SHUT_STATES
    paid_for = tenant.state == "past_due" or (shut and tenant.suspend_reason == "unpaid")
    let_go = shut and tenant.suspend_reason == "staff" and actor.kind == "staff"
    if not (paid_for or let_go) or not _saved(control_session, tenant):
        return False
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to=_state_to_return_to(tenant, paid_for=paid_for),
        actor=actor,
        now=now,
        why=why,
        values=OPEN_AGAIN | ({"past_due_at": None} if paid_for else {}),
        key_share=True,
    )
    return True


def _saved(control_session: Session, tenant: Tenant) -> bool:
    """Out of a destruction there is a way while the data stands, and a cluster can be asked.

    Nobody's payment fails because a cluster does not answer, or has not what it should: the
    destruction can't go on then either, and looks for payments before it does.
    """
    if tenant.state != "destroying":
        return True
    try:
        return rescue.call_off(control_session=control_session, tenant=tenant)
    except TenantryError:
        return False


def _state_to_return_to(tenant: Tenant, *, paid_for: bool) -> str:
    if paid_for:
        return "active"
    if tenant.converted_at is None:
        return "trialing"
    return "past_due" if tenant.past_due_at is not None else "active"


def mark_past_due(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime
) -> bool:
    """This function will note that a tenant owes money, and tell whether that was new.

    The workspace stays open until a final warning has run out. One that is past due, suspended or
    being erased stays as it is.

    Raises: NoSuchTenant, IllegalMove.
    """
    tenant = locked(control_session, tenant_id)
    if tenant.state in ("past_due", "suspended", *GONE_STATES):
        return False
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="past_due",
        actor=actor,
        now=now,
        values={"past_due_at": now},
    )
    return True


def convert(
    *,
    control_session: Session,
    tenant_id: UUID,
    plan_code: str,
    limits: Mapping[str, Any],
    features: Mapping[str, bool | str] | None = None,
    quotas: Mapping[str, Any] | None = None,
    actor: Actor,
    now: datetime,
) -> Tenant:
    """This function will make a paying tenant of one on trial, or after its trial or contract.

    The consent behind it is the invoices' room's to record. It wins over a destruction until the
    very DROP: both are done under this row's lock.

    Raises: NoSuchTenant; TenantGone once the data is gone; Conflict for one that pays already;
    ClusterTrouble when a database that was closed can't be opened again now.
    """
    tenant = convertible(control_session, tenant_id)
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="active",
        actor=actor,
        now=now,
        why="converted",
        values={**OPEN_AGAIN, "converted_at": now, "plan_code": plan_code},
    )
    entitlements.grant(
        control_session=control_session,
        tenant=tenant,
        granted=grants.told(limits=limits, features=features, quotas=quotas),
        actor=actor,
        now=now,
    )
    return tenant


def may_convert(tenant: Tenant) -> bool:
    """This function will tell whether a subscription can begin: on trial, or after one's end."""
    ended = tenant.state in SHUT_STATES and tenant.suspend_reason in RETENTION_FOLLOWS
    return tenant.state == "trialing" or ended


def convertible(control_session: Session, tenant_id: UUID) -> Tenant:
    """This function will return a tenant that a contract may begin for, under its lock.

    If its destruction had begun, that is called off: the caller moves it out of there.

    Raises: whatever `convert` raises.
    """
    tenant = locked(control_session, tenant_id)
    if not may_convert(tenant):
        refuse_gone(tenant)
        raise Conflict("Only a trial can be converted, running or ended.")
    if tenant.state == "destroying" and not rescue.call_off(
        control_session=control_session, tenant=tenant
    ):
        refuse_gone(tenant)
    return tenant


def change_plan(
    *,
    control_session: Session,
    tenant_id: UUID,
    plan_code: str,
    limits: Mapping[str, Any],
    features: Mapping[str, bool | str] | None = None,
    quotas: Mapping[str, Any] | None = None,
    actor: Actor,
    now: datetime,
) -> Tenant:
    """This function will note a tenant's other plan and write down what it grants.

    Raises: NoSuchTenant, TenantGone.
    """
    tenant = locked(control_session, tenant_id)
    refuse_gone(tenant)
    tenant.plan_code = plan_code
    entitlements.grant(
        control_session=control_session,
        tenant=tenant,
        granted=grants.told(limits=limits, features=features, quotas=quotas),
        actor=actor,
        now=now,
    )
    return tenant


def note(
    *,
    control_session: Session,
    tenant: Tenant,
    action: str,
    actor: Actor,
    now: datetime,
    why: str,
) -> None:
    """This function will write down what was decided about a tenant, and by whom."""
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        why=why,
        now=now,
    )


def trial_over(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a trial has run out."""
    return (Tenant.state == "trialing") & (Tenant.trial_ends_at <= now)


def due_for_suspension(*, control_session: Session, now: datetime, limit: int) -> list[UUID]:
    """This function will list tenants whose trial has run out, the oldest first."""
    return list(
        control_session.scalars(
            select(Tenant.id).where(trial_over(now)).order_by(Tenant.id).limit(limit)
        )
    )


def suspend_due(*, control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    """This function will suspend one tenant if that is still due, and tell whether it was.

    Looked at again under the lock: an extension or a conversion may have come first.
    """
    tenant = locked(control_session, tenant_id)
    over = tenant.state == "trialing" and tenant.trial_ends_at and tenant.trial_ends_at <= now
    if not over:
        return False
    suspend(
        control_session=control_session,
        tenant_id=tenant_id,
        reason="trial_ended",
        actor=JOB,
        now=now,
    )
    return True


def locked(control_session: Session, tenant_id: UUID) -> Tenant:
    """This function will return a tenant, read anew under its lock.

    Raises: NoSuchTenant.
    """
    return _locked(control_session, tenant_id, True)


def locked_beside_payments(control_session: Session, tenant_id: UUID) -> Tenant:
    """This function will return a tenant, read anew under a lock that holds off all but references.

    Each of two payments at once has written rows that name the tenant before either asks whether
    its doors open: under the full lock they would wait for each other.

    Raises: NoSuchTenant.
    """
    return _locked(control_session, tenant_id, {"key_share": True})


def _locked(
    control_session: Session, tenant_id: UUID, lock: Literal[True] | dict[str, bool]
) -> Tenant:
    control_session.flush()
    tenant = control_session.get(Tenant, tenant_id, with_for_update=lock, populate_existing=True)
    if tenant is None:
        raise NoSuchTenant("There is no such tenant.")
    return tenant


def refuse_gone(tenant: Tenant) -> None:
    """This function will refuse what nobody may do to a tenant that is being erased.

    Raises: TenantGone.
    """
    if tenant.state in GONE_STATES:
        raise TenantGone("The data of this workspace is being erased. It can't be brought back.")
