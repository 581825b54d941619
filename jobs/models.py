"""The timetable's memory: every slot that has come due, and whether it is done."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Index, UniqueConstraint
from sqlalchemy.orm import Mapped

from app.base.db import Base, Keyed
from app.base.leases import Leased


class Slot(Keyed, Leased, Base):
    """One moment at which a timed task is due, by the application clock; unique, so done once."""

    __tablename__ = "slot"
    __table_args__ = (
        UniqueConstraint("task", "due_at"),
        Index("ix_slot_open", "due_at", postgresql_where="done_at IS NULL"),
    )

    task: Mapped[str]
    due_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
