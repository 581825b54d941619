"""The tables of the ledger: bookings and their two sides."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class LedgerEntry(Keyed, Base):
    """One booking and its cause; append-only, its lines balance (checked at commit)."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("kind", "cause_id"),
        CheckConstraint("kind IN ('issue', 'payment', 'void')", name="kind"),
        Index(None, "tenant_id", "booked_on"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]
    cause_id: Mapped[UUID]  # the invoice or payment behind it
    currency: Mapped[str]
    booked_on: Mapped[date]
    booked_at: Mapped[datetime]


class LedgerLine(Keyed, Base):
    """One side of a booking: a debit or a credit, never both."""

    __tablename__ = "ledger_line"
    __table_args__ = (
        CheckConstraint(
            "(debit_minor > 0 AND credit_minor = 0) OR (credit_minor > 0 AND debit_minor = 0)",
            name="one_side",
        ),
        CheckConstraint(
            "account IN ('receivable', 'cash', 'revenue', 'vat_payable')", name="account"
        ),
        Index(None, "entry_id"),
    )

    entry_id: Mapped[UUID] = mapped_column(ForeignKey("ledger_entry.id"))
    account: Mapped[str]
    debit_minor: Mapped[int] = mapped_column(default=0)
    credit_minor: Mapped[int] = mapped_column(default=0)
