"""The tables of entitlements: overrides, quotas as they run, and the alerts that were sent."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class EntitlementOverride(Keyed, Base):
    """One value in place of a plan's for one tenant, until it is ended; `value` is {"is": …}."""

    __tablename__ = "entitlement_override"
    __table_args__ = (
        CheckConstraint("kind IN ('feature', 'limit', 'quota')", name="kind"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", name="ended"),
        Index(
            "uq_entitlement_override_in_force",
            "tenant_id",
            "kind",
            "code",
            unique=True,
            postgresql_where="ended_at IS NULL",
        ),
        Index(
            "ix_entitlement_override_expires_at",
            "expires_at",
            postgresql_where="ended_at IS NULL AND expires_at IS NOT NULL",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]
    code: Mapped[str]
    value: Mapped[dict[str, Any]]
    reason: Mapped[str]
    created_by: Mapped[str]  # staff:<id>, job:<step> or system
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    ended_by: Mapped[str | None]


class TenantQuota(Base):
    """A quota in force and what was used of it in the month that runs; `used` as of `counted_at`.

    The months are those of the tenant's time zone. An empty `counted_at` is due at once.
    """

    __tablename__ = "tenant_quota"
    __table_args__ = (Index(None, "counted_at"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    soft: Mapped[Decimal | None]
    hard: Mapped[Decimal | None]
    alerts: Mapped[list[Any]]
    starts_at: Mapped[datetime | None]
    ends_at: Mapped[datetime | None]
    used: Mapped[Decimal]
    counted_at: Mapped[datetime | None]


class QuotaAlert(Base):
    """A threshold of a quota that was reached, once in its month; its mail was written with it."""

    __tablename__ = "quota_alert"
    __table_args__ = (CheckConstraint("bound IN ('soft', 'hard')", name="bound"),)

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    starts_at: Mapped[datetime] = mapped_column(primary_key=True)
    bound: Mapped[str] = mapped_column(primary_key=True)
    percent: Mapped[int] = mapped_column(primary_key=True)
    quota: Mapped[Decimal]
    used: Mapped[Decimal]
    reached_at: Mapped[datetime]
