"""The table of API keys, in control: who may push usage from outside."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Text
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
