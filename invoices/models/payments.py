"""The tables of how money comes in: cards, attempts, payments and what gateways report."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

ATTEMPT = machine(
    "payment_attempt",
    {
        "open": ("succeeded", "declined", "unknown"),
        "unknown": ("succeeded", "declined", "needs_person"),
        "needs_person": ("succeeded", "declined"),
        # Its money went again: the payer disputed it, and the dispute was lost.
        "succeeded": ("taken_back",),
        "taken_back": (),
        "declined": (),
    },
    wakes={"unknown": "payment"},
)


class CardRegistration(Keyed, Base):
    """A card registration that a tenant's admin has begun at the gateway's page."""

    __tablename__ = "card_registration"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    gateway: Mapped[str]
    customer_key: Mapped[str]
    gateway_reference: Mapped[str | None]
    begun_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]


class PaymentMethod(Keyed, Leased, Base):
    """A registered way to pay; the gateway's token is encrypted, card data never comes here.

    One that is revoked here is due until its gateway has forgotten it too. `named_digest` is the
    hash of what the gateway's messages call it.
    """

    __tablename__ = "payment_method"
    __table_args__ = (
        Index(
            "uq_payment_method_default",
            "tenant_id",
            unique=True,
            postgresql_where="revoked_at IS NULL AND is_default",
        ),
        Index(
            "uq_payment_method_fallback",
            "tenant_id",
            unique=True,
            postgresql_where="revoked_at IS NULL AND is_fallback",
        ),
        CheckConstraint("NOT (is_default AND is_fallback)", name="one_place"),
        Index("ix_payment_method_named", "gateway", "named_digest"),
        Index(
            "ix_payment_method_to_forget",
            "revoked_at",
            postgresql_where="revoked_at IS NOT NULL AND forgotten_at IS NULL",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    gateway: Mapped[str]
    customer_key: Mapped[str]
    token_sealed: Mapped[str]
    masked: Mapped[str]
    brand: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=True)
    # The customer said that it may be charged where the default one is declined.
    is_fallback: Mapped[bool] = mapped_column(default=False, server_default="false")
    registered_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    named_digest: Mapped[str | None]
    forgotten_at: Mapped[datetime | None]


class PaymentAttempt(Keyed, Leased, Base):
    """One try to charge one invoice; at most one is under way, at most one ever succeeds."""

    __tablename__ = "payment_attempt"
    __table_args__ = (
        ATTEMPT.check(),
        UniqueConstraint("invoice_id", "attempt_number"),
        Index(
            "uq_payment_attempt_under_way",
            "invoice_id",
            unique=True,
            postgresql_where="state IN ('open', 'unknown', 'needs_person')",
        ),
        Index(
            "uq_payment_attempt_succeeded",
            "invoice_id",
            unique=True,
            postgresql_where="state = 'succeeded'",
        ),
        Index("ix_payment_attempt_due", "state", postgresql_where="state IN ('open', 'unknown')"),
        Index("ix_payment_attempt_person", "begun_at", postgresql_where="state = 'needs_person'"),
    )

    state: Mapped[str] = mapped_column(default="open")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    attempt_number: Mapped[int]
    method_id: Mapped[UUID] = mapped_column(ForeignKey("payment_method.id"))
    gateway: Mapped[str]
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    order_id: Mapped[str] = mapped_column(unique=True)
    amount_minor: Mapped[int]
    currency: Mapped[str]
    # Real clock: inside the vendor's window the same key is resent, after it only looked up.
    key_expires_at: Mapped[datetime]
    begun_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    decline_class: Mapped[str | None]
    decline_code: Mapped[str | None]
    decline_message: Mapped[str | None]
    gateway_payment_id: Mapped[str | None]


PAYMENT_KINDS = ("card", "transfer", "virtual_account", "credit")


class Payment(Keyed, Base):
    """Money that arrived for an invoice, or credit of the customer's that was used for it.

    `settled_minor` of it closed the invoice, in whole or in part; the rest is the customer's
    credit. A card's has its attempt; a transfer was read on a bank statement.
    """

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("gateway", "gateway_payment_id", "arrival"),
        CheckConstraint(f"kind IN {PAYMENT_KINDS}", name="kind"),
        CheckConstraint("(kind = 'card') = (attempt_id IS NOT NULL)", name="attempt"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint("settled_minor BETWEEN 0 AND amount_minor", name="settled"),
        CheckConstraint("kind <> 'credit' OR settled_minor = amount_minor", name="credit"),
        Index(None, "invoice_id"),
        Index(None, "gateway", "received_on"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    kind: Mapped[str]
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_attempt.id"), unique=True)
    gateway: Mapped[str]
    gateway_payment_id: Mapped[str]
    # The second time that the same deposit came, after the bank had taken it back, it is 2.
    arrival: Mapped[int] = mapped_column(default=1, server_default="1")
    amount_minor: Mapped[int]
    settled_minor: Mapped[int]
    currency: Mapped[str]
    paid_at: Mapped[datetime]
    received_on: Mapped[date]  # the day on the bank's statement; a card's is the day of the charge
    payer: Mapped[str | None]  # as the bank statement names them
    recorded_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


REVERSAL_SOURCES = ("gateway", "staff", "credit", "dispute")
BY_A_PERSON = ("staff", "dispute")


class PaymentReversal(Keyed, Base):
    """The whole of a payment that is not there any more; what it settled is owed again.

    Less of it, `amount_minor`, where a part had gone back as refunds before the rest was disputed.

    `source` tells by whose word: the gateway's, of a deposit that the bank took back; a person's,
    of one written down by mistake, or of a dispute that is lost; or none but the credit's, whose
    own payment was reversed.
    """

    __tablename__ = "payment_reversal"
    __table_args__ = (
        CheckConstraint(f"source IN {REVERSAL_SOURCES}", name="source"),
        CheckConstraint("amount_minor > 0", name="amount"),
        CheckConstraint(f"(source IN {BY_A_PERSON}) = (reversed_by IS NOT NULL)", name="who"),
        Index(None, "reversed_at"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("payment.id"), unique=True)
    source: Mapped[str]
    reason: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reversed_at: Mapped[datetime]
    reversed_on: Mapped[date]
    reversed_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


class GatewayEvent(Keyed, Leased, Base):
    """A webhook as it came in: stored before it is answered, applied once by a job."""

    __tablename__ = "gateway_event"
    __table_args__ = (
        UniqueConstraint("gateway", "event_id"),
        Index("ix_gateway_event_due", "received_at", postgresql_where="applied_at IS NULL"),
    )

    gateway: Mapped[str]
    event_id: Mapped[str]
    kind: Mapped[str]
    trust: Mapped[str]  # signed | secret | unsigned
    order_id: Mapped[str | None]
    gateway_payment_id: Mapped[str | None]
    method_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_method.id"))
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
