"""The tables of what gateways say of our money: their books line by line, and where ours differ."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased

LINE_KINDS = ("payment", "refund", "dispute", "fee", "payout", "other")
DIFFERENCE_KINDS = (
    "missing_here",
    "missing_there",
    "other_amount",
    "other_day",
    "duplicate",
    "changed",
    "refunded_there",
    "disputed",
)
RESOLUTIONS = ("matched", "linked", "accepted", "taken_back", "written_off")


class ReconciliationDay(Keyed, Leased, Base):
    """A day of one merchant account that is to be held against our books; `done_at` when it was.

    Asked for again, it is done again: `asked_at` tells a later asking from the one being served.
    """

    __tablename__ = "reconciliation_day"
    __table_args__ = (
        UniqueConstraint("gateway", "day"),
        Index("ix_reconciliation_day_due", "day", postgresql_where="done_at IS NULL"),
    )

    gateway: Mapped[str]
    day: Mapped[date]
    asked_at: Mapped[datetime]
    done_at: Mapped[datetime | None]
    lines_count: Mapped[int] = mapped_column(default=0, server_default="0")


class ReconciliationDifference(Keyed, Base):
    """Where a gateway's books and ours differ: what it has more than we have, in `amount_minor`.

    `key` names the same difference whenever it is found again. While `is_booked` the amount stands
    on the ledger's account of differences, so that our cash there is what the gateway says.
    """

    __tablename__ = "reconciliation_difference"
    __table_args__ = (
        CheckConstraint(f"kind IN {DIFFERENCE_KINDS}", name="kind"),
        Index(None, "gateway", "day"),
        Index(None, "payment_id"),
    )

    key: Mapped[str] = mapped_column(unique=True)
    gateway: Mapped[str]
    kind: Mapped[str]
    cause: Mapped[str]  # the proposed one: `invoices.reconciliation` says which there are
    day: Mapped[date]
    currency: Mapped[str]
    amount_minor: Mapped[int]
    is_booked: Mapped[bool]
    tenant_id: Mapped[UUID | None] = mapped_column(ForeignKey("tenant.id"))
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"))
    refund_id: Mapped[UUID | None] = mapped_column(ForeignKey("refund.id"))
    found_at: Mapped[datetime]


class DifferenceSettlement(Keyed, Base):
    """How a difference ended: ours turned up, a person linked it, or accepted it with a reason.

    Of a lost dispute its payment was taken back, and is owed again or was written off.
    """

    __tablename__ = "difference_settlement"
    __table_args__ = (
        CheckConstraint(f"resolution IN {RESOLUTIONS}", name="resolution"),
        CheckConstraint("(resolution = 'matched') = (settled_by IS NULL)", name="who"),
    )

    difference_id: Mapped[UUID] = mapped_column(
        ForeignKey("reconciliation_difference.id"), unique=True
    )
    resolution: Mapped[str]
    reason: Mapped[str]
    settled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    settled_at: Mapped[datetime]


class SettlementLine(Keyed, Base):
    """One line of a gateway's books as it was read, and what of ours it stands for.

    What it says stays as it was first read; the day it is paid out may become known later.
    """

    __tablename__ = "settlement_line"
    __table_args__ = (
        UniqueConstraint("gateway", "line_id"),
        CheckConstraint(f"kind IN {LINE_KINDS}", name="kind"),
        CheckConstraint("gross_minor - fee_minor - fee_tax_minor = net_minor", name="adds_up"),
        Index(
            "uq_settlement_line_payment",
            "payment_id",
            unique=True,
            postgresql_where="kind = 'payment'",
        ),
        Index(
            "uq_settlement_line_refund",
            "refund_id",
            unique=True,
            postgresql_where="refund_id IS NOT NULL",
        ),
        Index(
            "uq_settlement_line_reversal",
            "reversal_id",
            unique=True,
            postgresql_where="reversal_id IS NOT NULL",
        ),
        Index(None, "gateway", "booked_on"),
        Index(
            "ix_settlement_line_paid_out_on",
            "paid_out_on",
            postgresql_where="paid_out_on IS NOT NULL",
        ),
        Index(
            "ix_settlement_line_difference_id",
            "difference_id",
            postgresql_where="difference_id IS NOT NULL",
        ),
    )

    gateway: Mapped[str]
    line_id: Mapped[str]
    kind: Mapped[str]
    currency: Mapped[str]
    gross_minor: Mapped[int]
    fee_minor: Mapped[int]
    fee_tax_minor: Mapped[int]
    net_minor: Mapped[int]
    booked_on: Mapped[date]
    paid_out_on: Mapped[date | None]
    gateway_payment_id: Mapped[str | None]
    order_id: Mapped[str | None]
    read_at: Mapped[datetime]
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"))
    refund_id: Mapped[UUID | None] = mapped_column(ForeignKey("refund.id"))
    reversal_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_reversal.id"))
    difference_id: Mapped[UUID | None] = mapped_column(ForeignKey("reconciliation_difference.id"))
