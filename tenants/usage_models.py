"""The tables of pushed usage: who may push, which events are known, and the events themselves.

Every key contains the tenant and nothing refers to another table by a foreign key, so that the
events can be spread by tenant over several servers, or put on one of their own.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, Text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class ApiKey(Keyed, Base):
    """What a program of ours signs in with; the secret itself is shown once and never kept."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint("cardinality(scopes) > 0", name="scopes"),)

    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)  # what people tell keys apart by
    secret_sha256: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    rotated_from: Mapped[UUID | None] = mapped_column(ForeignKey("api_key.id"), unique=True)


class EventKey(Base):
    """An event's id, known for the tenant's life; what makes a repeated event count once.

    Apart from the events, because a unique key on a table that is partitioned by month would have
    to contain the month. Both hashes are 128 bits, in the type that PostgreSQL compares fastest.
    """

    __tablename__ = "event_key"
    __table_args__ = ({"postgresql_partition_by": "HASH (tenant_id)"},)

    tenant_id: Mapped[UUID] = mapped_column(primary_key=True)
    id_hash: Mapped[UUID] = mapped_column(primary_key=True)
    body_hash: Mapped[UUID]


class Event(Base):
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
