"""The table of declared meters."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base


class Meter(Base):
    """One version of a meter, never changed: `definition` is what was declared, in one form."""

    __tablename__ = "meter"
    __table_args__ = (
        CheckConstraint("version > 0", name="version"),
        CheckConstraint("source IN ('events', 'sql', 'readings')", name="source"),
    )

    code: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    definition: Mapped[dict[str, Any]]
    sha256: Mapped[str]
    declared_by: Mapped[str]
    declared_at: Mapped[datetime]
