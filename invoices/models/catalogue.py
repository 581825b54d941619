"""The tables of what is sold: plans, their versions and what each charge costs."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.base.db import Base, Keyed


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
    features: Mapped[dict[str, Any]] = mapped_column(default=dict)
    # Korean and English, by feature; those that have no name here have usual ones, or their code.
    feature_names: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
    quotas: Mapped[dict[str, Any]] = mapped_column(default=dict)  # by meter, bounds as texts
    published_at: Mapped[datetime]

    prices: Mapped[list[Price]] = relationship(order_by="Price.position", lazy="selectin")


class Price(Keyed, Base):
    """One charge of a plan version; amounts are in major units with up to 12 decimals.

    `invoices.charges.Charge` says what the columns mean; `parameters` is what its pricing needs
    beyond a unit amount, with numbers as texts.
    """

    __tablename__ = "price"
    __table_args__ = (
        UniqueConstraint("plan_version_id", "charge"),
        CheckConstraint("charge ~ '^[a-z][a-z0-9_]{0,39}$'", name="charge"),
        CheckConstraint("kind IN ('recurring', 'setup', 'one_off', 'commitment')", name="kind"),
        CheckConstraint("timing IN ('advance', 'arrears')", name="timing"),
        CheckConstraint("interval_unit IN ('week', 'month', 'year')", name="interval_unit"),
        CheckConstraint("interval_count > 0", name="interval_count"),
        CheckConstraint("aggregation IN ('peak', 'average', 'sum', 'last')", name="aggregation"),
        CheckConstraint(
            "model IN ('flat', 'per_unit', 'graduated', 'volume', 'package', 'stairstep',"
            " 'percentage')",
            name="model",
        ),
        CheckConstraint("proration IN ('none', 'day', 'second')", name="proration"),
        CheckConstraint("rounding IN ('down', 'up', 'half_up', 'half_even')", name="rounding"),
        CheckConstraint("unit_amount >= 0 AND included >= 0", name="not_negative"),
        CheckConstraint("vat IN ('taxable', 'zero_rated', 'exempt')", name="vat"),
        CheckConstraint("NOT vat_included OR vat = 'taxable'", name="vat_included"),
        CheckConstraint("meter IS NULL OR timing = 'arrears'", name="usage_in_arrears"),
    )

    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    position: Mapped[int]
    charge: Mapped[str]
    name_ko: Mapped[str]
    name_en: Mapped[str]
    unit_ko: Mapped[str] = mapped_column(default="")
    unit_en: Mapped[str] = mapped_column(default="")
    kind: Mapped[str] = mapped_column(default="recurring")
    timing: Mapped[str]
    interval_unit: Mapped[str] = mapped_column(default="month")
    interval_count: Mapped[int] = mapped_column(default=1)
    meter: Mapped[str | None]
    aggregation: Mapped[str | None]
    meter_group: Mapped[dict[str, Any]] = mapped_column(default=dict)
    model: Mapped[str]
    unit_amount: Mapped[Decimal]
    included: Mapped[Decimal] = mapped_column(default=Decimal(0))
    parameters: Mapped[dict[str, Any]] = mapped_column(default=dict)
    proration: Mapped[str] = mapped_column(default="day")
    rounding: Mapped[str] = mapped_column(default="down")
    optional: Mapped[bool] = mapped_column(default=False)
    vat: Mapped[str] = mapped_column(default="taxable", server_default="taxable")
    vat_included: Mapped[bool] = mapped_column(default=False, server_default="false")
