"""Tenants as review leaves them, and as provisioning leaves them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from app.base import ids
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from app.base.states import begin
from tenants import provisioning
from tenants.databases import Placement, placement
from tenants.models import TENANT, ProvisioningRun, Tenant, TenantAdmin


def approve(*, now: datetime, name: str = "대한설계", **fields: Any) -> UUID:
    """A committed tenant that is approved and due for provisioning."""
    values = {
        "slug": f"s-{ids.opaque(8)}",
        "country": "KR",
        "language": "ko",
        "timezone": "Asia/Seoul",
        "currency": "KRW",
        "plan_code": "team",
        "limits": {"seats": 5, "storage_bytes": 1_000_000},
        "trial_days": 14,
        "created_at": now,
    } | fields
    with transaction() as session:
        tenant = Tenant(name=name, **values)
        begin(control_session=session, machine=TENANT, row=tenant, actor=SYSTEM, now=now)
        session.add(
            TenantAdmin(
                tenant_id=tenant.id, email="admin@customer.example", name="관리자", created_at=now
            )
        )
        session.add(ProvisioningRun(tenant_id=tenant.id, run=ids.opaque(), started_at=now))
        return tenant.id


def provision(tenant_id: UUID, *, now: datetime, **more: Callable[..., Any]) -> Placement:
    """The same tenant with a database of its own, on trial."""
    provisioning.advance(transaction=transaction, tenant_id=tenant_id, now=lambda: now, **more)
    with transaction() as session:
        return placement(session, tenant_id)


def run_of(tenant_id: UUID) -> ProvisioningRun:
    """How far the tenant's run has come."""
    with transaction() as session:
        return session.get_one(ProvisioningRun, tenant_id)
