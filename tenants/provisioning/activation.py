"""The last step: the tenant is on trial, and its administrator hears of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import accounts, messages, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import NotFound
from tenants.models import TENANT, Application, Tenant, TenantAdmin

INVITATION_DAYS = 7
JOB = Actor.job("provisioning")


class NobodyToInvite(NotFound):
    """The tenant has no administrator who could be let in."""


def administrator(control_session: Session, tenant_id: UUID) -> TenantAdmin:
    """This function will return the first administrator of a tenant who is not disabled.

    Raises: NobodyToInvite.
    """
    admin = control_session.scalar(
        select(TenantAdmin)
        .where(TenantAdmin.tenant_id == tenant_id, TenantAdmin.disabled_at.is_(None))
        .order_by(TenantAdmin.id)
        .limit(1)
    )
    if admin is None:
        raise NobodyToInvite("This tenant has no administrator to invite.")
    return admin


def activate(*, control_session: Session, tenant_id: UUID, now: datetime) -> None:
    """This function will move an approved tenant to its trial and invite its administrator."""
    tenant = control_session.get_one(Tenant, tenant_id)
    states.move(
        control_session=control_session,
        machine=TENANT,
        row=tenant,
        to="trialing",
        actor=JOB,
        now=now,
        values={
            "trial_starts_at": now,
            "trial_ends_at": now + timedelta(days=tenant.trial_days),
        },
    )
    invite(control_session=control_session, tenant=tenant, now=now)


def invite(*, control_session: Session, tenant: Tenant, now: datetime) -> None:
    """This function will mail the administrator a link that sets the first password."""
    admin = administrator(control_session, tenant.id)
    token = accounts.issue_token(
        control_session=control_session,
        purpose="admin_invite",
        subject_id=admin.id,
        valid_for=timedelta(days=INVITATION_DAYS),
        now=now,
    )
    assert tenant.trial_ends_at is not None
    application = (
        control_session.get(Application, tenant.application_id) if tenant.application_id else None
    )
    messages.queue_mail(
        control_session=control_session,
        room="tenants",
        name="tenant_ready",
        to=admin.email,
        language=tenant.language,
        context={
            "tenant": tenant,
            "admin": admin,
            "reference": application.reference if application else tenant.slug,
            "link": f"{settings().public_url}/portal/welcome/{token}",
            "valid_days": INVITATION_DAYS,
            "trial_ends": tenant.trial_ends_at.astimezone(ZoneInfo(tenant.timezone)).date(),
        },
        regarding_id=tenant.id,
        dedupe_key=f"tenant_ready:{tenant.id}",
        now=now,
    )
