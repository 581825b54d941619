"""The tables of money that goes back: credit notes, refunds, write-offs, and who agreed to them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

REFUND = machine(
    "refund",
    {
        "due": ("open", "by_hand"),
        "open": ("succeeded", "by_hand", "unknown"),
        "unknown": ("succeeded", "by_hand", "needs_person"),
        "needs_person": ("succeeded", "by_hand"),
        "by_hand": ("succeeded", "closed"),
        "succeeded": (),
        "closed": (),
    },
    wakes={"due": "refunds", "unknown": "refunds"},
)
REFUND_UNDER_WAY = ("open", "unknown", "needs_person")


class CreditNote(Keyed, Base):
    """What is taken back of an issued invoice, in part or in whole, under a number of its own.

    `open_minor` of it was still owed, `refund_minor` goes back as money, and `kept_minor` stays as
    the customer's credit. While `evidence_at` is empty the tax paper that follows it is due;
    `evidence_error` says why none can be made, until a person has seen to it. `covered_by` is the
    amendment by hand that had taken it off the papers before.
    """

    __tablename__ = "credit_note"
    __table_args__ = (
        UniqueConstraint("series", "year", "number"),
        CheckConstraint("subtotal_minor + tax_minor = total_minor", name="adds_up"),
        CheckConstraint(
            "total_minor > 0 AND open_minor >= 0 AND refund_minor >= 0 AND kept_minor >= 0"
            " AND open_minor + refund_minor + kept_minor = total_minor",
            name="settled",
        ),
        Index(None, "invoice_id"),
        Index(None, "tenant_id"),
        Index("ix_credit_note_evidence_due", "issued_at", postgresql_where="evidence_at IS NULL"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    series: Mapped[str]
    year: Mapped[int]
    number: Mapped[int]
    number_text: Mapped[str] = mapped_column(unique=True)  # CRN-2026-000001
    currency: Mapped[str]
    subtotal_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    open_minor: Mapped[int]
    refund_minor: Mapped[int]
    kept_minor: Mapped[int]
    is_whole: Mapped[bool]  # with it, nothing of the invoice stands any more
    reason: Mapped[str]
    issued_at: Mapped[datetime]
    issued_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    content_sha256: Mapped[str]
    evidence_at: Mapped[datetime | None]
    evidence_error: Mapped[str | None]
    covered_by: Mapped[UUID | None]


class Refund(Keyed, Leased, Base):
    """Money of one payment on its way back; `by_hand` waits for a person to send or keep it."""

    __tablename__ = "refund"
    __table_args__ = (
        REFUND.check(),
        CheckConstraint("amount_minor > 0", name="amount"),
        Index(
            "uq_refund_under_way",
            "payment_id",
            unique=True,
            postgresql_where=f"state IN {REFUND_UNDER_WAY}",
        ),
        Index(None, "payment_id"),
        Index(None, "credit_note_id"),
        Index("ix_refund_due", "asked_at", postgresql_where="state IN ('due', 'open', 'unknown')"),
        Index(
            "ix_refund_person", "asked_at", postgresql_where="state IN ('needs_person', 'by_hand')"
        ),
    )

    state: Mapped[str] = mapped_column(default="due")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    credit_note_id: Mapped[UUID] = mapped_column(ForeignKey("credit_note.id"))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payment.id"))
    gateway: Mapped[str]
    gateway_payment_id: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    # Real clock, from the first call on: inside the window the same key is resent.
    key_expires_at: Mapped[datetime | None]
    # What had gone back of the payment before: what a look at the gateway is held against.
    refunded_before_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    asked_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    gateway_refund_id: Mapped[str | None]
    decline_code: Mapped[str | None]
    decline_message: Mapped[str | None]
    sent_from: Mapped[str | None]  # where the money left: the gateway, or "manual" for our bank


class WriteOff(Keyed, Base):
    """What was still owed of an invoice and is given up. It stays a supply: only the debt goes.

    What is owed again afterwards, since a payment of it was taken back, is given up by another.
    """

    __tablename__ = "write_off"
    __table_args__ = (
        CheckConstraint("amount_minor > 0", name="amount"),
        Index(None, "tenant_id"),
        Index(None, "invoice_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reason: Mapped[str]
    written_at: Mapped[datetime]
    written_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    approved_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class CorrectionRequest(Keyed, Base):
    """A credit note or a write-off above the limit, which waits for a second person."""

    __tablename__ = "correction_request"
    __table_args__ = (
        CheckConstraint("kind IN ('credit_note', 'write_off')", name="kind"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("decided_by <> asked_by OR NOT agreed", name="second_person"),
        CheckConstraint(
            "(decided_by IS NULL) = (decided_at IS NULL)"
            " AND (decided_by IS NULL) = (agreed IS NULL)",
            name="decided",
        ),
        Index(
            "uq_correction_request_waiting",
            "invoice_id",
            unique=True,
            postgresql_where="decided_at IS NULL",
        ),
    )

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    kind: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    keep: Mapped[bool]  # what was paid stays as credit, and is not sent back
    reason: Mapped[str]
    asked_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    asked_at: Mapped[datetime]
    decided_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    decided_at: Mapped[datetime | None]
    agreed: Mapped[bool | None]
