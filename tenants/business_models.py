"""The table of what is known of business registration numbers."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased

KNOWN = ("active", "suspended", "closed", "unregistered")
STATUSES = ("unchecked", "unknown", *KNOWN)
# What a person has to see: a paper to such a buyer, or a contract with them, may not stand.
FLAGGED = ("suspended", "closed", "unregistered")


class BusinessStatus(Keyed, Leased, Base):
    """What is known of one Korean business registration number."""

    __tablename__ = "business_status"
    __table_args__ = (
        CheckConstraint(f"status IN {STATUSES}", name="status"),
        CheckConstraint(f"status NOT IN {KNOWN} OR checked_at IS NOT NULL", name="checked"),
        CheckConstraint("registration_number ~ '^[0-9]{10}$'", name="registration_number"),
        CheckConstraint("(genuine IS NULL) OR opened_on IS NOT NULL", name="genuine"),
        Index("ix_business_status_due", "ask_at", postgresql_where="ask_at IS NOT NULL"),
        Index(
            "ix_business_status_flagged",
            "status",
            postgresql_where="status IN ('suspended', 'closed', 'unregistered')",
        ),
    )

    registration_number: Mapped[str] = mapped_column(unique=True)
    status: Mapped[str] = mapped_column(default="unchecked", server_default="unchecked")
    tax_kind: Mapped[str | None]  # 01 general, 02 simplified, 03 exempt, 04 non-profit, 07
    ended_on: Mapped[date | None]
    ask_at: Mapped[datetime | None]  # empty: nobody wants to know
    asked_at: Mapped[datetime | None]
    checked_at: Mapped[datetime | None]  # when the tax service last answered
    changed_at: Mapped[datetime | None]
    # What a person typed off the registration certificate, to be held against the register.
    opened_on: Mapped[date | None]
    representative: Mapped[str | None]
    genuine: Mapped[bool | None]

    @property
    def is_flagged(self) -> bool:
        """Whether a person should look before anything is agreed with this business."""
        return self.status in FLAGGED
