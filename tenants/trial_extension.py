"""Extending a trial: more days while it runs, and a second chance after it ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import audit, messages, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from tenants import lifecycle, rescue
from tenants.models import TENANT, Tenant, TenantAdmin


def extend_trial(
    *, control_session: Session, tenant_id: UUID, days: int, actor: Actor, now: datetime
) -> Tenant:
    """This function will lengthen a trial; one that has ended opens its workspace again.

    All extensions together stay within `trial_days_max`.

    Raises: NotFound; Conflict when the tenant is not on trial; TenantGone once its data is gone;
    Invalid for the days.
    """
    tenant = control_session.scalar(
        select(Tenant)
        .where(Tenant.id == tenant_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if tenant is None:
        raise NotFound("There is no such tenant.")
    ended = tenant.state in lifecycle.SHUT_STATES and tenant.suspend_reason == "trial_ended"
    if tenant.trial_ends_at is None or not (tenant.state == "trialing" or ended):
        raise Conflict("Only a trial can be extended, running or ended.")
    if days < 1 or tenant.trial_days + days > settings().trial_days_max:
        raise Invalid(
            f"A trial lasts {settings().trial_days_max} days at most, extensions included.",
            field="days",
        )
    if tenant.state == "destroying" and not rescue.call_off(
        control_session=control_session, tenant=tenant
    ):
        raise lifecycle.TenantGone("The data of this trial is erased. It can't be brought back.")
    tenant.trial_ends_at = max(tenant.trial_ends_at, now) + timedelta(days=days)
    tenant.trial_days += days
    if ended:
        states.move(
            control_session=control_session,
            machine=TENANT,
            row=tenant,
            to="trialing",
            actor=actor,
            now=now,
            why="trial extended",
            values={"suspended_at": None, "suspend_reason": None, "destroy_after": None},
        )
    audit.append(
        control_session=control_session,
        actor=actor,
        action="tenant.trial_extended",
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        details={"days": days},
        now=now,
    )
    _tell_admins(control_session, tenant, now)
    return tenant


def _tell_admins(control_session: Session, tenant: Tenant, now: datetime) -> None:
    for admin in control_session.scalars(
        select(TenantAdmin).where(
            TenantAdmin.tenant_id == tenant.id, TenantAdmin.disabled_at.is_(None)
        )
    ):
        messages.queue_mail(
            control_session=control_session,
            room="tenants",
            name="trial_extended",
            to=admin.email,
            language=tenant.language,
            context={
                "admin": admin,
                "tenant": tenant,
                "zone": ZoneInfo(tenant.timezone),
                "link": f"{settings().public_url}/portal/",
            },
            now=now,
            regarding_id=tenant.id,
        )
