"""The tables around the billing run: who let a day's drafts go, which totals were billed."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class RunRelease(Keyed, Base):
    """Somebody lets the drafts of one day and currency be issued before their grace is over.

    Above the limit a second person has to agree; the database refuses it from the first. What was
    asked for (and by whom) is never changed afterwards.
    """

    __tablename__ = "run_release"
    __table_args__ = (
        CheckConstraint("approved_by <> asked_by", name="second_person"),
        CheckConstraint("(approved_by IS NULL) = (approved_at IS NULL)", name="approved"),
        CheckConstraint("approved_by IS NULL OR needs_second", name="asked_for"),
        Index(None, "bill_on", "currency"),
    )

    bill_on: Mapped[date]
    currency: Mapped[str]
    invoices: Mapped[int]
    total_minor: Mapped[int]
    needs_second: Mapped[bool]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    asked_at: Mapped[datetime]
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    approved_at: Mapped[datetime | None]


class UsageTotal(Keyed, Base):
    """What a meter of pushed events came to over one billed span, as it was billed.

    `revision` 0 is the total its own bill was made from; each correction that a later bill made is
    one more, and the last one is what is compared with what the events come to now. The database
    refuses a second row of one revision: what changed is billed once.
    """

    __tablename__ = "usage_total"
    __table_args__ = (
        UniqueConstraint("line_id"),
        CheckConstraint("ends_at > starts_at", name="span"),
        CheckConstraint("revision >= 0", name="revision"),
        CheckConstraint("state IN ('billed', 'void')", name="state"),
        Index(
            "uq_usage_total_once",
            "item_id",
            "starts_at",
            "revision",
            unique=True,
            postgresql_where="state <> 'void'",
        ),
        Index(None, "subscription_id", "ends_at"),
        Index(None, "invoice_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    item_id: Mapped[UUID] = mapped_column(ForeignKey("subscription_item.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    line_id: Mapped[UUID] = mapped_column(ForeignKey("invoice_line.id"))
    revision: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(default="billed", server_default="billed")
    meter: Mapped[str]
    meter_version: Mapped[int]
    meter_group: Mapped[dict[str, Any]]
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    quantity: Mapped[Decimal]
    transactions: Mapped[int]
    sha256: Mapped[str]
    closed_at: Mapped[datetime]
