"""The tables of the ledger: bookings, their sides, and revenue that is earned day by day."""

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
    "reversal",
    "void",
    "recognition",
    "credit_note",
    "refund",
    "refund_kept",
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
        Index(None, "booked_on"),
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


class Deferral(Keyed, Base):
    """An amount billed ahead, earned evenly over the days `[starts_on, ends_on)`.

    `recognised_minor` is what was earned by the end of `recognised_on`. What a void or a credit
    note takes back is `stopped_minor`, which ends it. Amounts given back ahead are negative.
    """

    __tablename__ = "deferral"
    __table_args__ = (
        CheckConstraint("amount_minor <> 0", name="amount"),
        CheckConstraint("ends_on > starts_on", name="days"),
        CheckConstraint(
            "abs(recognised_minor) <= abs(amount_minor)"
            " AND recognised_minor::numeric * amount_minor >= 0",
            name="recognised",
        ),
        CheckConstraint(
            "stopped_minor = 0 OR recognised_minor + stopped_minor = amount_minor", name="stopped"
        ),
        Index(None, "invoice_id"),
        Index(
            "ix_deferral_open",
            "starts_on",
            postgresql_where="recognised_minor + stopped_minor <> amount_minor",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    currency: Mapped[str]
    amount_minor: Mapped[int]
    starts_on: Mapped[date]
    ends_on: Mapped[date]
    recognised_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    recognised_on: Mapped[date | None]
    stopped_minor: Mapped[int] = mapped_column(default=0, server_default="0")


class Recognition(Keyed, Base):
    """What was earned on one day in one currency, over how many deferrals."""

    __tablename__ = "recognition"

    day: Mapped[date]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    deferrals: Mapped[int]
    recognised_at: Mapped[datetime]


class CreditEnd(Keyed, Base):
    """What of a paid credit expired or was taken back, and how much of that lives on."""

    __tablename__ = "credit_end"
    __table_args__ = (
        CheckConstraint("kind IN ('lapsed', 'revoked')", name="kind"),
        CheckConstraint(
            "amount_minor > 0 AND carried_minor BETWEEN 0 AND amount_minor", name="sums"
        ),
        Index(None, "grant_id"),
    )

    grant_id: Mapped[UUID] = mapped_column(ForeignKey("credit_grant.id"))
    kind: Mapped[str]
    amount_minor: Mapped[int]
    carried_minor: Mapped[int]
    ended_at: Mapped[datetime]
