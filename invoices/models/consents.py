"""The table of consents that are asked for before a price rises."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.states import machine

PRICE_CONSENT = machine(
    "price_consent",
    {
        "asked": ("given", "refused", "lapsed", "withdrawn"),
        "refused": ("given", "lapsed", "withdrawn"),
        "given": (),
        "lapsed": (),
        "withdrawn": (),
    },
)


class PriceConsent(Keyed, Base):
    """A dearer price that a tenant is asked to agree to; without consent it does not come."""

    __tablename__ = "price_consent"
    __table_args__ = (
        PRICE_CONSENT.check(),
        CheckConstraint("(state = 'given') = (consent_id IS NOT NULL)", name="given"),
        CheckConstraint("opens_on < moves_on", name="time"),
        Index(
            "uq_price_consent_open",
            "subscription_id",
            unique=True,
            postgresql_where="state IN ('asked', 'refused')",
        ),
        Index("ix_price_consent_due", "opens_on", postgresql_where="state IN ('asked', 'refused')"),
    )

    state: Mapped[str] = mapped_column(default="asked")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    from_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    to_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    moves_on: Mapped[date]
    # Consent counts within the 30 days before; the tenant is asked as they begin.
    opens_on: Mapped[date]
    asked_at: Mapped[datetime]
    asked_by: Mapped[dict[str, Any]]
    # So many days before it was last told: the levels of reminders fall.
    told_days: Mapped[int | None]
    consent_id: Mapped[UUID | None] = mapped_column(ForeignKey("consent.id"))
    decided_at: Mapped[datetime | None]
