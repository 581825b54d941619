"""Tenants with a real database of their own, for tests: made the way an approval makes them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import ids, secrets
from app.base.db import control_session
from app.base.messages import Message
from tenants import databases, members, provisioning
from tenants.models import ProvisioningRun, Tenant, TenantAdmin
from tests.factories import PASSWORD

_serial = itertools.count(1)


@dataclass(frozen=True)
class Workspace:
    """A provisioned tenant: its administrator is also its first member and has PASSWORD."""

    tenant_id: UUID
    slug: str
    admin_id: UUID
    admin_email: str

    def session(self) -> Any:
        """This function will open a transaction in the tenant's own database, as its own role."""
        with control_session() as session:
            place = databases.placement(session, self.tenant_id)
        return databases.tenant_session(place)


def make_workspace(
    *,
    now: datetime,
    limits: dict[str, int] | None = None,
    timezone: str = "Asia/Seoul",
    trial_days: int = 14,
    admin_email: str | None = None,
    application_id: UUID | None = None,
) -> Workspace:
    """This function will approve and provision a tenant, and give its administrator a password."""
    number = next(_serial)
    email = admin_email or f"admin-{number}@customer-{number}.example"
    with control_session() as session:
        tenant = Tenant(
            state="approved",
            slug=f"workspace-{number}-{ids.opaque(6)}",
            application_id=application_id,
            name=f"한빛정밀 {number}",
            country="KR",
            language="ko",
            timezone=timezone,
            currency="KRW",
            plan_code="team",
            limits={"seats": 5, "storage_bytes": 1_000_000} if limits is None else limits,
            billing_profile={"representative": "대표자"},
            trial_days=trial_days,
            created_at=now,
        )
        session.add(tenant)
        session.flush()
        admin = TenantAdmin(
            tenant_id=tenant.id,
            email=email,
            name="관리자",
            password_hash=secrets.hash_password(PASSWORD),
            created_at=now,
        )
        session.add_all(
            [
                admin,
                ProvisioningRun(
                    tenant_id=tenant.id, run=ids.opaque(), steps_done=[], started_at=now
                ),
            ]
        )
    provisioning.advance(transaction=control_session, tenant_id=tenant.id, now=lambda: now)
    made = Workspace(tenant.id, tenant.slug, admin.id, email)
    with made.session() as session:
        members.set_password(
            tenant_session=session,
            email=email,
            password_hash=secrets.hash_password(PASSWORD),
            now=now,
        )
    return made


def end_trial_and_retention(workspace: Workspace, *, now: datetime) -> None:
    """This function will leave a tenant suspended, with its retention over at `now`."""
    with control_session() as session:
        tenant = session.get_one(Tenant, workspace.tenant_id)
        tenant.state = "suspended"
        tenant.suspended_at = now - timedelta(days=90)
        tenant.suspend_reason = "trial_ended"
        tenant.destroy_after = now - timedelta(minutes=1)
        warn(session, tenant)


def warn(session: Session, tenant: Tenant) -> None:
    """This function will leave the last warning before a tenant's erasure as sent in time."""
    assert tenant.destroy_after is not None
    sent_at = tenant.destroy_after - timedelta(days=1)
    session.add(
        Message(
            state="sent",
            channel="mail",
            kind="retention_ends",
            dedupe_key=f"retention_ends:1:{tenant.destroy_after:%Y%m%d%H%M}:{tenant.id}:warned",
            recipient="admin@customer.example",
            language="ko",
            subject="",
            text="",
            html="",
            regarding_id=tenant.id,
            created_at=sent_at,
            sent_at=sent_at,
        )
    )
    session.flush()
