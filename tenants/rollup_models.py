"""The tables of rolled-up usage, beside the events that they are made from.

Every key of a tenant's rows contains the tenant, as with the events.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import Index, Numeric
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import UsageBase


class UsageMark(UsageBase):
    """An hour of a tenant in which events arrived since it was rolled up.

    Only ever added to by those who write events, in their transaction and once a statement: with
    a unique key they would wait for each other. The database knows no primary key here.
    """

    __tablename__ = "usage_mark"
    __mapper_args__ = {"primary_key": ["tenant_id", "hour"]}  # noqa: RUF012 - SQLAlchemy's way

    tenant_id: Mapped[UUID]
    hour: Mapped[datetime]


class UsageCover(UsageBase):
    """From which hour on a version of a meter is rolled up; earlier hours are read from events."""

    __tablename__ = "usage_cover"

    meter: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class UsageRollup(UsageBase):
    """What a version of a meter counted in one group of one tenant's hour.

    For `unique`, `total` is how many values differ and `lowest` a checksum of them all.
    `integral` is level times seconds, from `first_at` to the end of the hour. An hour in which
    nothing was counted has no row.
    """

    __tablename__ = "usage_rollup"
    __table_args__ = (
        # Where a level stood at a moment: its group's last hour before that, and no other.
        Index(
            "ix_usage_rollup_level",
            "tenant_id",
            "meter",
            "version",
            "group_key",
            "hour",
            postgresql_where="first_at IS NOT NULL",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    group_key: Mapped[str] = mapped_column(primary_key=True)
    events: Mapped[int]
    total: Mapped[Decimal | None] = mapped_column(Numeric)
    lowest: Mapped[Decimal | None] = mapped_column(Numeric)
    highest: Mapped[Decimal | None] = mapped_column(Numeric)
    latest: Mapped[Decimal | None] = mapped_column(Numeric)
    latest_at: Mapped[datetime | None]
    latest_id: Mapped[str | None]
    first_at: Mapped[datetime | None]
    integral: Mapped[Decimal | None] = mapped_column(Numeric)
    digest: Mapped[int]


class UsageValue(UsageBase):
    """One of the values that a `unique` meter found in an hour, as 128 bits of its SHA-256."""

    __tablename__ = "usage_value"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    meter: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    hour: Mapped[datetime] = mapped_column(primary_key=True)
    group_key: Mapped[str] = mapped_column(primary_key=True)
    value_hash: Mapped[UUID] = mapped_column(primary_key=True)
