"""The tables of money that customers have with us: what it came from, and what used it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed


class CreditGrant(Keyed, Base):
    """Money that a tenant has with us: carried over from a bill, bought ahead, or given.

    `used_minor` is the sum of its uses and `lapsed_minor` what expired or was revoked; the database
    refuses to use more than there is. What is left at its expiry may roll over: `rollover_percent`
    of it, `rollover_max_minor` at most, into a grant of `rollover_days` (or without an end).
    """

    __tablename__ = "credit_grant"
    __table_args__ = (
        CheckConstraint(
            "used_minor >= 0 AND lapsed_minor >= 0 AND used_minor + lapsed_minor <= amount_minor",
            name="not_overdrawn",
        ),
        CheckConstraint(
            "source IN ('change', 'purchase', 'promotion', 'adjustment', 'rollover',"
            " 'overpayment', 'credit_note')",
            name="source",
        ),
        CheckConstraint("(source = 'overpayment') = (payment_id IS NOT NULL)", name="payment"),
        CheckConstraint(
            "(source = 'credit_note') = (credit_note_id IS NOT NULL)", name="credit_note"
        ),
        Index(None, "carried_by"),
        Index(
            "ix_credit_grant_open",
            "tenant_id",
            postgresql_where="used_minor + lapsed_minor < amount_minor AND revoked_at IS NULL",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    currency: Mapped[str]
    amount_minor: Mapped[int]
    used_minor: Mapped[int] = mapped_column(default=0)
    source: Mapped[str]
    priority: Mapped[int] = mapped_column(default=100)  # the lowest is used first
    granted_at: Mapped[datetime]
    expires_on: Mapped[date | None]
    note: Mapped[str] = mapped_column(default="")
    carried_by: Mapped[UUID | None] = mapped_column(ForeignKey("invoice.id"))
    lapsed_minor: Mapped[int] = mapped_column(default=0)
    granted_by: Mapped[str] = mapped_column(default="")
    rollover_percent: Mapped[Decimal | None]
    rollover_max_minor: Mapped[int | None]
    rollover_days: Mapped[int | None]
    rolled_from: Mapped[UUID | None] = mapped_column(ForeignKey("credit_grant.id"))
    # Money of the customer's own, which the ledger owes them; a gift is a smaller price.
    paid_for: Mapped[bool] = mapped_column(default=False, server_default="false")
    # What was paid beyond an invoice.
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"), unique=True)
    # What a credit note left with the customer: by its own sum, or by a refund that was not sent.
    credit_note_id: Mapped[UUID | None] = mapped_column(ForeignKey("credit_note.id"))
    revoked_at: Mapped[datetime | None]

    @property
    def left_minor(self) -> int:
        """What can still be used, whatever the day; nothing once it is revoked."""
        if self.revoked_at is not None:
            return 0
        return self.amount_minor - self.used_minor - self.lapsed_minor


class CreditUse(Keyed, Base):
    """So much of a grant, used by one line of one invoice, or by one payment of it."""

    __tablename__ = "credit_use"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="positive"),
        CheckConstraint("state IN ('used', 'void')", name="state"),
        CheckConstraint("(line_id IS NULL) <> (payment_id IS NULL)", name="line_or_payment"),
        Index(None, "grant_id"),
        Index(None, "invoice_id"),
        Index(None, "line_id"),
    )

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("credit_grant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    line_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoice_line.id"))
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"))
    amount_minor: Mapped[int]
    state: Mapped[str] = mapped_column(default="used")
    used_at: Mapped[datetime]
