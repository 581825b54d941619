"""The tables of pushed usage: which events are known, the events themselves, and who is gone.

Every key contains the tenant and nothing refers to another table by a foreign key, so that the
events can be spread by tenant over several servers, or put on one of their own.

Source: docs/decisions/usage-storage.md
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import UsageBase


class EventKey(UsageBase):
    """An event's id, known for the tenant's life; what makes a repeated event count once.

    Apart from the events, because a unique key on a table that is partitioned by month would have
    to contain the month. Both hashes are 128 bits, in the type that PostgreSQL compares fastest.
    """

    __tablename__ = "event_key"
    __table_args__ = ({"postgresql_partition_by": "HASH (tenant_id)"},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id_hash: Mapped[UUID] = mapped_column(primary_key=True)
    body_hash: Mapped[UUID]


class Event(UsageBase):
    """One use of something by a tenant, as it was pushed; partitioned by month of `at`.

    The database knows no primary key here: `event_key` is what keeps it single.
    """

    __tablename__ = "event"
    __table_args__ = (
        Index(None, "tenant_id", "type", "at"),
        Index("ix_event_at", "at", postgresql_using="brin"),
        {"postgresql_partition_by": "RANGE (at)"},
    )
    __mapper_args__ = {"primary_key": ["tenant_id", "at", "id"]}  # noqa: RUF012 - SQLAlchemy's way

    tenant_id: Mapped[UUID]
    id: Mapped[str]
    type: Mapped[str]
    at: Mapped[datetime]
    quantity: Mapped[Decimal]
    properties: Mapped[dict[str, Any]]
    received_at: Mapped[datetime]


class EventCorrection(UsageBase):
    """What was put right about one event: what it said before, what after it, why and by whom.

    Corrections of an event are numbered from 1. `at` is when the event lay before this one; `after`
    is nothing for an event that was voided. Written by `correct_event` in the database alone.
    """

    __tablename__ = "event_correction"
    __table_args__ = (
        CheckConstraint("kind IN ('amend', 'void')", name="kind"),
        CheckConstraint("(kind = 'void') = (after IS NULL)", name="after"),
        Index(None, "tenant_id", "at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    at: Mapped[datetime]
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any] | None]
    reason: Mapped[str]
    actor: Mapped[str]
    corrected_at: Mapped[datetime]


class ErasedTenant(UsageBase):
    """A tenant that is gone: no event of it is taken any more, whatever a cache still believes."""

    __tablename__ = "erased_tenant"

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    erased_at: Mapped[datetime]
