"""The tables of how debts are followed up: rules of plans and tenants, holds, waivers."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class DunningRule(Keyed, Base):
    """What is done otherwise for one plan or one tenant; what is empty is as it is elsewhere.

    A tenant's rule goes before its plan's, and that before the settings. Who changed it when, from
    what and why is in the audit trail.
    """

    __tablename__ = "dunning_rule"
    __table_args__ = (
        CheckConstraint("(plan_code IS NULL) <> (tenant_id IS NULL)", name="of_one"),
        CheckConstraint("grace_days >= 0 AND warning_days >= 1", name="days"),
        Index(
            "uq_dunning_rule_plan_code",
            "plan_code",
            unique=True,
            postgresql_where="plan_code IS NOT NULL",
        ),
        Index(
            "uq_dunning_rule_tenant_id",
            "tenant_id",
            unique=True,
            postgresql_where="tenant_id IS NOT NULL",
        ),
    )

    plan_code: Mapped[str | None] = mapped_column(ForeignKey("plan.code"))
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenant.id"))
    retry_days: Mapped[str | None]  # "2,5,7,7": from one declined attempt to the next
    grace_days: Mapped[int | None]  # from past due to suspended
    warning_days: Mapped[int | None]  # from the final warning to suspended, at least
    set_at: Mapped[datetime]


class DunningHold(Keyed, Base):
    """Until when nobody of a tenant is reminded, tried again or shut out, and who said so."""

    __tablename__ = "dunning_hold"
    __table_args__ = (
        CheckConstraint("ends_at > starts_at", name="time"),
        CheckConstraint("(lifted_at IS NULL) = (lifted_by IS NULL)", name="lifted"),
        Index(
            "uq_dunning_hold_standing",
            "tenant_id",
            unique=True,
            postgresql_where="lifted_at IS NULL",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    why: Mapped[str]
    set_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    lifted_at: Mapped[datetime | None]
    lifted_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class DunningWaiver(Base):
    """An invoice that is not followed up any more; what it asks for is still owed.

    Taking the amount off the books is a write-off, which is another act.
    """

    __tablename__ = "dunning_waiver"
    __table_args__ = (Index(None, "tenant_id"),)

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), primary_key=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    at: Mapped[datetime]
    why: Mapped[str]
    waived_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
