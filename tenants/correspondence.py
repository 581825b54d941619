"""What is said to a tenant's administrators by mail: each of them, in the tenant's language."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import messages
from app.base.config import settings
from tenants.models import Tenant, TenantAdmin


def tell_admins(
    *,
    control_session: Session,
    tenant: Tenant,
    name: str,
    event: str,
    now: datetime,
    context: dict[str, Any] | None = None,
) -> int:
    """This function will write one mail to each administrator and return how many there are.

    `event` names what happened; the same event never writes to the same person twice.
    """
    admins = control_session.scalars(
        select(TenantAdmin)
        .where(TenantAdmin.tenant_id == tenant.id, TenantAdmin.disabled_at.is_(None))
        .order_by(TenantAdmin.id)
    ).all()
    for admin in admins:
        messages.queue_mail(
            control_session=control_session,
            room="tenants",
            name=name,
            to=admin.email,
            language=tenant.language if tenant.language in ("ko", "en") else "en",
            context={
                "tenant": tenant,
                "admin": admin,
                "portal": f"{settings().public_url}/portal/",
                **(context or {}),
            },
            now=now,
            regarding_id=tenant.id,
            dedupe_key=f"{event}:{tenant.id}:{admin.id}",
        )
    return len(admins)


def local(moment: datetime, tenant: Tenant) -> str:
    """This function will write a moment in the contract's time zone, which it names."""
    return f"{moment.astimezone(ZoneInfo(tenant.timezone)):%Y-%m-%d %H:%M} ({tenant.timezone})"
