"""The tables of money by bank: virtual accounts, statements that were imported, their deposits."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

VIRTUAL_ACCOUNT = machine(
    "virtual_account",
    {
        "opening": ("waiting", "refused"),
        "waiting": ("deposited", "expired"),
        # A bank may take a deposit back until it is settled.
        "deposited": ("waiting",),
        "expired": ("deposited",),
        "refused": (),
    },
)
BANK_TRANSFER = machine(
    "bank_transfer",
    {
        # Matched by a job, or left to a person.
        "new": ("settled", "open", "ignored"),
        "open": ("settled", "ignored"),
        "ignored": ("open",),
        # Where it was settled with the wrong invoice.
        "settled": ("open",),
    },
    wakes={"new": "transfers"},
)


class VirtualAccount(Keyed, Leased, Base):
    """A bank account that a gateway opened for one invoice; its secret proves news of it."""

    __tablename__ = "virtual_account"
    __table_args__ = (
        VIRTUAL_ACCOUNT.check(),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("state IN ('opening', 'refused') OR number IS NOT NULL", name="opened"),
        Index(
            "uq_virtual_account_open",
            "invoice_id",
            unique=True,
            postgresql_where="state IN ('opening', 'waiting')",
        ),
        Index("ix_virtual_account_look_at", "look_at", postgresql_where="look_at IS NOT NULL"),
    )

    state: Mapped[str] = mapped_column(default="opening")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    gateway: Mapped[str]
    bank_asked: Mapped[str]  # the gateway's code of the bank
    order_id: Mapped[str] = mapped_column(unique=True)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    # Real clock: until then an opening without an answer is asked for again with the same key.
    key_expires_at: Mapped[datetime]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    expires_at: Mapped[datetime]
    asked_at: Mapped[datetime]
    gateway_payment_id: Mapped[str | None]
    bank: Mapped[str | None]
    number: Mapped[str | None]
    holder: Mapped[str | None]
    secret_sealed: Mapped[str | None]
    # When the gateway is next asked whether the money came; news of it make that now.
    look_at: Mapped[datetime | None]
    heard_at: Mapped[datetime | None]  # news that no look has borne out yet
    refusal: Mapped[str | None]


class StatementLayout(Keyed, Base):
    """How a bank writes its statements: which heading stands over which column."""

    __tablename__ = "statement_layout"

    name: Mapped[str] = mapped_column(unique=True)
    # {"day": ["거래일시"], "amount": ["입금액"], "payer": […], "memo": […], "balance": […]}
    columns: Mapped[dict[str, Any]]
    day_format: Mapped[str]  # "" reads the usual ones
    currency: Mapped[str]
    saved_at: Mapped[datetime]


class BankStatement(Keyed, Base):
    """A bank's statement as it was imported; the same file once, unless that was discarded."""

    __tablename__ = "bank_statement"
    __table_args__ = (
        Index(
            "uq_bank_statement_file",
            "file_sha256",
            unique=True,
            postgresql_where="discarded_at IS NULL",
        ),
        CheckConstraint("(discarded_at IS NULL) = (discarded_by IS NULL)", name="discarded"),
    )

    file_name: Mapped[str]
    file_sha256: Mapped[str]
    layout: Mapped[str]
    deposits_count: Mapped[int]
    new_count: Mapped[int]
    imported_at: Mapped[datetime]
    imported_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    # Read wrongly, as by another bank's layout: none of its deposits counts.
    discarded_at: Mapped[datetime | None]
    discarded_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class BankTransfer(Keyed, Leased, Base):
    """One deposit on a statement: settled with an invoice, or waiting for a person."""

    __tablename__ = "bank_transfer"
    __table_args__ = (
        BANK_TRANSFER.check(),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("(state = 'settled') = (invoice_id IS NOT NULL)", name="settled"),
        Index(
            "ix_bank_transfer_waiting",
            "state",
            "booked_on",
            postgresql_where="state IN ('new', 'open')",
        ),
        Index(None, "statement_id"),
        Index(None, "invoice_id"),
    )

    state: Mapped[str] = mapped_column(default="new")
    statement_id: Mapped[UUID] = mapped_column(ForeignKey("bank_statement.id"))
    line_number: Mapped[int]
    booked_on: Mapped[date]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    payer: Mapped[str]
    memo: Mapped[str]
    # The deposit itself, whichever file names it: a day twice on two statements is one deposit.
    fingerprint: Mapped[str] = mapped_column(unique=True)
    invoice_id: Mapped[UUID | None] = mapped_column(ForeignKey("invoice.id"))
    score: Mapped[int | None]
    settled_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    settled_at: Mapped[datetime | None]
