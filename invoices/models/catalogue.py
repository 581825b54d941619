"""The tables of what is sold: plans, their versions and what each charge costs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.base.db import Base, Keyed

CHARGES = ("base", "seats", "storage")


class Plan(Base):
    """A plan by its code; what it costs and allows is in its versions."""

    __tablename__ = "plan"

    code: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    retired_at: Mapped[datetime | None]


class PlanVersion(Keyed, Base):
    """One immutable version of a plan in one currency; a trigger refuses any change."""

    __tablename__ = "plan_version"
    __table_args__ = (UniqueConstraint("plan_code", "version", "currency"),)

    plan_code: Mapped[str] = mapped_column(ForeignKey("plan.code"))
    version: Mapped[int]
    currency: Mapped[str]
    name_ko: Mapped[str]
    name_en: Mapped[str]
    limits: Mapped[dict[str, Any]]
    published_at: Mapped[datetime]

    prices: Mapped[list[Price]] = relationship(order_by="Price.position", lazy="selectin")


class Price(Keyed, Base):
    """One charge of a plan version; `unit_amount` is in major units with up to 12 decimals."""

    __tablename__ = "price"
    __table_args__ = (
        UniqueConstraint("plan_version_id", "charge"),
        CheckConstraint("charge IN ('base', 'seats', 'storage')", name="charge"),
        CheckConstraint("timing IN ('advance', 'arrears')", name="timing"),
        CheckConstraint("unit_amount >= 0 AND included >= 0", name="not_negative"),
    )

    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    position: Mapped[int]
    charge: Mapped[str]
    meter: Mapped[str | None]
    timing: Mapped[str]
    unit_amount: Mapped[Decimal]
    included: Mapped[Decimal] = mapped_column(default=Decimal(0))
