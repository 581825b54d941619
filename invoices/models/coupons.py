"""The tables of coupons: what is offered, who redeemed it, and the bills that used it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.base.db import Base, Keyed
from invoices.discounts import DURATIONS, KINDS


class CouponOffer(Keyed, Base):
    """A coupon's terms, which never change; only how often it was redeemed, and its retirement.

    `redeemed` is the number of its redemptions that are counted: the database refuses one more than
    `max_redemptions`.
    """

    __tablename__ = "coupon"
    __table_args__ = (
        CheckConstraint(f"kind IN {KINDS}", name="kind"),
        CheckConstraint(f"duration IN {DURATIONS}", name="duration"),
        CheckConstraint("redeemed >= 0", name="counted"),
        CheckConstraint("max_redemptions IS NULL OR redeemed <= max_redemptions", name="used_up"),
    )

    code: Mapped[str] = mapped_column(unique=True)
    name_ko: Mapped[str]
    name_en: Mapped[str]
    kind: Mapped[str]
    percent: Mapped[Decimal] = mapped_column(default=Decimal(0))
    amount_minor: Mapped[int] = mapped_column(default=0)
    currency: Mapped[str | None]
    units: Mapped[Decimal] = mapped_column(default=Decimal(0))
    plans: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    charges: Mapped[list[str]] = mapped_column(ARRAY(Text), default=list)
    duration: Mapped[str]
    months: Mapped[int] = mapped_column(default=0)
    priority: Mapped[int] = mapped_column(default=100)  # the lowest takes effect first
    starts_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    max_redemptions: Mapped[int | None]
    per_customer_max: Mapped[int] = mapped_column(default=1)
    first_time_only: Mapped[bool] = mapped_column(default=False)
    redeemed: Mapped[int] = mapped_column(default=0)
    created_by: Mapped[str]
    created_at: Mapped[datetime]
    retired_at: Mapped[datetime | None]


class CouponRedemption(Keyed, Base):
    """A coupon that a tenant has; its bills of `[starts_on, ends_on)` are discounted.

    It belongs to the subscription it was redeemed for, or to the first one whose bill uses it. One
    that is released before any use gives its place back and is not `counted` any more.
    """

    __tablename__ = "coupon_redemption"
    __table_args__ = (
        CheckConstraint("state IN ('open', 'released')", name="state"),
        CheckConstraint("(state = 'released') = (released_at IS NOT NULL)", name="released"),
        Index("ix_coupon_redemption_tenant_id", "tenant_id"),
        Index("ix_coupon_redemption_coupon_id", "coupon_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    coupon_id: Mapped[UUID] = mapped_column(ForeignKey("coupon.id"))
    subscription_id: Mapped[UUID | None] = mapped_column(ForeignKey("subscription.id"))
    state: Mapped[str] = mapped_column(default="open")
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    counted: Mapped[bool] = mapped_column(default=True)
    redeemed_by: Mapped[str]
    redeemed_at: Mapped[datetime]
    released_at: Mapped[datetime | None]

    coupon: Mapped[CouponOffer] = relationship(lazy="joined", innerjoin=True)


class CouponUse(Keyed, Base):
    """So much taken off one bill by one redemption; void when its invoice is."""

    __tablename__ = "coupon_use"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="positive"),
        CheckConstraint("state IN ('used', 'void')", name="state"),
        Index("ix_coupon_use_redemption_id", "redemption_id"),
        Index("ix_coupon_use_invoice_id", "invoice_id"),
        Index("ix_coupon_use_line_id", "line_id"),
    )

    redemption_id: Mapped[UUID] = mapped_column(ForeignKey("coupon_redemption.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    line_id: Mapped[UUID] = mapped_column(ForeignKey("invoice_line.id"))
    amount_minor: Mapped[int]
    used_from: Mapped[date]
    state: Mapped[str] = mapped_column(default="used")
    used_at: Mapped[datetime]
