"""The tables of the ledger: bookings and their two sides."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed

ACCOUNTS = (
    "receivable",
    "cash",
    "fees",
    "revenue",
    "deferred_revenue",
    "vat_payable",
    "vat_receivable",
    "credits",
    "refunds",
    "write_offs",
    "differences",
)
ENTRY_KINDS = (
    "issue",
    "payment",
    "void",
    "recognition",
    "credit_note",
    "refund",
    "refund_to_credit",
    "write_off",
    "grant",
    "grant_end",
    "fee",
    "payout",
    "dispute",
    "difference",
)


class LedgerEntry(Keyed, Base):
    """One booking and its cause; append-only, its lines balance (checked at commit)."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("kind", "cause_id"),
        CheckConstraint(f"kind IN {ENTRY_KINDS}", name="kind"),
        Index(None, "tenant_id", "booked_on"),
    )

    # Empty where it is nobody's alone: a day's recognised revenue, a gateway's fees and payouts.
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]
    cause_id: Mapped[UUID]  # the row behind it: `invoices.ledger` says of which table
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
        CheckConstraint(f"account IN {ACCOUNTS}", name="account"),
        CheckConstraint("(account = 'cash') = (place IS NOT NULL)", name="place"),
        Index(None, "entry_id"),
    )

    entry_id: Mapped[UUID] = mapped_column(ForeignKey("ledger_entry.id"))
    account: Mapped[str]
    place: Mapped[str | None]  # of cash: the merchant account's code, or "manual" for the bank
    debit_minor: Mapped[int] = mapped_column(default=0)
    credit_minor: Mapped[int] = mapped_column(default=0)
