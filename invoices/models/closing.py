"""The tables of closed months and of quotations: what stands, and what was offered."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class MonthClose(Keyed, Base):
    """A month that was closed: nothing is booked into it while it is not reopened.

    `findings` is what the checks said then, the open differences with it.
    """

    __tablename__ = "month_close"
    __table_args__ = (
        CheckConstraint("extract(day from month) = 1", name="month"),
        CheckConstraint(
            "(reopened_at IS NULL) = (reopened_why IS NULL)"
            " AND (reopened_at IS NULL) = (reopened_by IS NULL)",
            name="reopened",
        ),
        Index(
            "uq_month_close_month",
            "month",
            unique=True,
            postgresql_where="reopened_at IS NULL",
        ),
    )

    month: Mapped[date]  # its first day
    closed_at: Mapped[datetime]
    closed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))  # empty: by command
    findings: Mapped[dict[str, Any]]
    reopened_at: Mapped[datetime | None]
    reopened_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    reopened_why: Mapped[str | None]


class Quotation(Keyed, Base):
    """An offer to a customer or an applicant: a plan, how much of it, and until when it holds.

    `data` holds seller, lines and sums as they were offered. Whom it is for is read when it is
    printed, so that nothing personal stays in here once an applicant is erased.
    """

    __tablename__ = "quotation"
    __table_args__ = (
        CheckConstraint("(tenant_id IS NULL) <> (application_id IS NULL)", name="whose"),
        CheckConstraint("valid_until >= issued_on", name="validity"),
        Index(None, "tenant_id"),
        Index(None, "application_id"),
    )

    number_text: Mapped[str] = mapped_column(unique=True)  # QUO-2026-000001
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenant.id"))
    application_id: Mapped[UUID | None] = mapped_column(ForeignKey("application.id"))
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    quantity: Mapped[int]
    months: Mapped[int]
    currency: Mapped[str]
    total_minor: Mapped[int]
    issued_on: Mapped[date]
    valid_until: Mapped[date]
    data: Mapped[dict[str, Any]]
    made_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    made_at: Mapped[datetime]
