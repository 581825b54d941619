"""The tables inside a tenant's own database.

Their metadata is apart from control's: nothing here may refer to a table over there. Rights and the
history live in migrations/tenant. Both event tables only ever grow: metering replays them, and the
tenant's role has neither UPDATE nor DELETE on them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, MetaData, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from app.base.db import Base, Keyed


class TenantBase(DeclarativeBase):
    """The base of every table in a tenant's database."""

    metadata = MetaData(naming_convention=Base.metadata.naming_convention)
    type_annotation_map: ClassVar[dict[Any, Any]] = Base.type_annotation_map


class Member(Keyed, TenantBase):
    """A person of the tenant's; holds a seat from invitation until deactivation."""

    __tablename__ = "member"
    __table_args__ = (
        CheckConstraint("role IN ('admin', 'member')", name="role"),
        Index("uq_member_email", text("lower(email)"), unique=True),
    )

    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[str]
    password_hash: Mapped[str | None]
    invited_at: Mapped[datetime]
    activated_at: Mapped[datetime | None]
    deactivated_at: Mapped[datetime | None]


class SeatEvent(TenantBase):
    """One seat taken or given back, and how many were taken after it."""

    __tablename__ = "seat_event"
    __table_args__ = (
        CheckConstraint("delta IN (1, -1)", name="delta"),
        CheckConstraint("seats_after >= 0", name="seats_after"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    member_id: Mapped[UUID] = mapped_column(ForeignKey("member.id"))
    delta: Mapped[int]
    seats_after: Mapped[int]
    actor: Mapped[str]


class MemberActivity(TenantBase):
    """That a member did something in a quarter of an hour: days of every time zone begin with one.

    At most one row a quarter, whatever happens in it.
    """

    __tablename__ = "member_activity"
    __table_args__ = (Index(None, "quarter"),)

    member_id: Mapped[UUID] = mapped_column(ForeignKey("member.id"), primary_key=True)
    quarter: Mapped[datetime] = mapped_column(primary_key=True)


class Drawing(Keyed, TenantBase):
    """A file of the tenant's, stored by the digest of its bytes under the tenant's prefix."""

    __tablename__ = "drawing"
    __table_args__ = (
        CheckConstraint("sha256 ~ '^[0-9a-f]{64}$'", name="sha256"),
        CheckConstraint("size_bytes > 0", name="size_bytes"),
        Index(None, "uploaded_at"),
        Index(None, "sha256"),
    )

    name: Mapped[str]
    sha256: Mapped[str]
    size_bytes: Mapped[int]
    media_type: Mapped[str]
    uploaded_by: Mapped[UUID] = mapped_column(ForeignKey("member.id"))
    uploaded_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class StorageEvent(TenantBase):
    """One change of the bytes stored, and how many were stored after it."""

    __tablename__ = "storage_event"
    __table_args__ = (
        CheckConstraint(
            "(kind = 'upload' AND delta_bytes >= 0) OR (kind = 'delete' AND delta_bytes <= 0)",
            name="kind",
        ),
        CheckConstraint("bytes_after >= 0", name="bytes_after"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    at: Mapped[datetime]
    drawing_id: Mapped[UUID] = mapped_column(ForeignKey("drawing.id"))
    delta_bytes: Mapped[int]
    bytes_after: Mapped[int]
    kind: Mapped[str]
    actor: Mapped[str]


class PlanLimit(TenantBase):
    """What the plan allows, written down from control; no value means no limit."""

    __tablename__ = "plan_limit"
    __table_args__ = (CheckConstraint("value >= 0", name="value"),)

    key: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[int | None]
