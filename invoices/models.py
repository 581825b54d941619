"""The tables of the invoices' room: catalogue, subscriptions, invoices, payments, papers."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import DATERANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column, relationship

# Foreign keys name the floor's tables and the tenants', so whoever loads these needs those.
import app.base.models  # noqa: F401
import tenants.models  # noqa: F401
from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

SUBSCRIPTION = machine(
    "subscription",
    {"active": ("cancelled",), "cancelled": ()},
    wakes={"active": "invoicing"},
)
INVOICE = machine(
    "invoice",
    {"draft": ("issued", "void"), "issued": ("paid", "void"), "paid": (), "void": ()},
    wakes={"issued": "collection", "paid": "evidence"},
)
ATTEMPT = machine(
    "payment_attempt",
    {
        "open": ("succeeded", "declined", "unknown"),
        "unknown": ("succeeded", "declined", "needs_person"),
        "needs_person": ("succeeded", "declined"),
        "succeeded": (),
        "declined": (),
    },
    wakes={"unknown": "payment"},
)
DOCUMENT = machine("document", {"due": ("ready",), "ready": ()}, wakes={"due": "documents"})
CHARGES = ("base", "seats", "storage")
_LISTED = ("state", "due_on", "currency", "subtotal_minor", "tax_minor", "total_minor")


class Plan(Base):
    """A plan by its code; what it costs and allows is in its versions."""

    __tablename__ = "plan"

    code: Mapped[str] = mapped_column(primary_key=True)
    position: Mapped[int]
    retired_at: Mapped[datetime | None]


class PlanVersion(Keyed, Base):
    """One immutable version of a plan in one currency; a trigger refuses any change."""

    __tablename__ = "plan_version"
    __table_args__ = (UniqueConstraint("plan_code", "version", "currency"),)

    plan_code: Mapped[str] = mapped_column(ForeignKey("plan.code"))
    version: Mapped[int]
    currency: Mapped[str]
    name_ko: Mapped[str]
    name_en: Mapped[str]
    limits: Mapped[dict[str, Any]]
    published_at: Mapped[datetime]

    prices: Mapped[list[Price]] = relationship(order_by="Price.position", lazy="selectin")


class Price(Keyed, Base):
    """One charge of a plan version; `unit_amount` is in major units with up to 12 decimals."""

    __tablename__ = "price"
    __table_args__ = (
        UniqueConstraint("plan_version_id", "charge"),
        CheckConstraint("charge IN ('base', 'seats', 'storage')", name="charge"),
        CheckConstraint("timing IN ('advance', 'arrears')", name="timing"),
        CheckConstraint("unit_amount >= 0 AND included >= 0", name="not_negative"),
    )

    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    position: Mapped[int]
    charge: Mapped[str]
    meter: Mapped[str | None]
    timing: Mapped[str]
    unit_amount: Mapped[Decimal]
    included: Mapped[Decimal] = mapped_column(default=Decimal(0))


class Subscription(Keyed, Leased, Base):
    """A tenant's paid plan. Period n is [starts_on + n months, starts_on + n+1 months)."""

    __tablename__ = "subscription"
    __table_args__ = (
        SUBSCRIPTION.check(),
        Index(
            "uq_subscription_tenant_active",
            "tenant_id",
            unique=True,
            postgresql_where="state = 'active'",
        ),
        Index("ix_subscription_next_bill_on", "next_bill_on", postgresql_where="state = 'active'"),
    )

    state: Mapped[str] = mapped_column(default="active")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    currency: Mapped[str]
    timezone: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    # A hint for finding due work fast; the spans already billed are the truth.
    next_bill_on: Mapped[date]
    blocked_reason: Mapped[str | None]
    consent_id: Mapped[UUID] = mapped_column(ForeignKey("consent.id"))
    created_at: Mapped[datetime]


class Invoice(Keyed, Leased, Base):
    """A bill. Once issued, a trigger refuses any change to what stands on it."""

    __tablename__ = "invoice"
    __table_args__ = (
        INVOICE.check(),
        UniqueConstraint("series", "year", "number"),
        # A draft gets its number in the statement before it is issued; one thrown away has none.
        CheckConstraint("state IN ('draft', 'void') OR number IS NOT NULL", name="numbered"),
        CheckConstraint("state <> 'paid' OR paid_at IS NOT NULL", name="paid"),
        CheckConstraint("subtotal_minor + tax_minor = total_minor", name="adds_up"),
        Index(None, "tenant_id", "issued_at"),
        # Finance's lists and their totals are read from these two without touching the rows.
        Index("ix_invoice_issued_at", "issued_at", "id", postgresql_include=_LISTED),
        Index("ix_invoice_state", "state", "issued_at", "id", postgresql_include=_LISTED[1:]),
        Index(None, "period", postgresql_using="gist"),
        Index("ix_invoice_collect_at", "collect_at", postgresql_where="collect_at IS NOT NULL"),
        Index(
            "ix_invoice_evidence_due",
            "supplied_on",
            postgresql_where="evidence_at IS NULL AND state IN ('issued', 'paid')",
        ),
    )

    state: Mapped[str] = mapped_column(default="draft")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    series: Mapped[str] = mapped_column(default="INV")
    year: Mapped[int | None]
    number: Mapped[int | None]
    number_text: Mapped[str | None] = mapped_column(unique=True)  # INV-2026-000123
    period: Mapped[Range[date]] = mapped_column(DATERANGE)  # what the run billed, half-open
    currency: Mapped[str]
    subtotal_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    seller: Mapped[dict[str, Any]]
    buyer: Mapped[dict[str, Any]]
    supplied_on: Mapped[date]
    created_at: Mapped[datetime]
    issued_at: Mapped[datetime | None]
    due_on: Mapped[date | None]
    content_sha256: Mapped[str | None]
    paid_at: Mapped[datetime | None]
    voided_at: Mapped[datetime | None]
    void_reason: Mapped[str | None]
    # When collection next tries the tenant's card; empty once paid, void or handed to dunning.
    collect_at: Mapped[datetime | None]
    # When its VAT evidence was chosen: finds what is due fast; `vat_evidence` is the truth.
    evidence_at: Mapped[datetime | None]
    set_apart_at: Mapped[datetime | None]

    lines: Mapped[list[InvoiceLine]] = relationship(order_by="InvoiceLine.position")


class InvoiceLine(Keyed, Base):
    """One line with the evidence that it came from: price, quantities, readings, rounding."""

    __tablename__ = "invoice_line"
    __table_args__ = (UniqueConstraint("invoice_id", "position"),)

    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    position: Mapped[int]
    charge: Mapped[str]
    name_ko: Mapped[str]
    name_en: Mapped[str]
    period: Mapped[Range[date]] = mapped_column(DATERANGE)
    quantity: Mapped[Decimal]
    unit_amount: Mapped[Decimal]
    amount_minor: Mapped[int]
    tax_minor: Mapped[int]
    price_id: Mapped[UUID] = mapped_column(ForeignKey("price.id"))
    evidence: Mapped[dict[str, Any]]
    readings_sha256: Mapped[str | None]


class BilledSpan(Keyed, Base):
    """One charge of one subscription over one period, billed: two such can't overlap."""

    __tablename__ = "billed_span"
    __table_args__ = (
        CheckConstraint("NOT isempty(period)", name="period"),
        CheckConstraint("state IN ('billed', 'void')", name="state"),
        ExcludeConstraint(
            (text("uuidrange(subscription_id, subscription_id, '[]')"), "&&"),
            (text("chargerange(charge, charge, '[]')"), "&&"),
            (text("period"), "&&"),
            where=text("state <> 'void'"),
            using="gist",
            name="ex_billed_span_once",
        ),
        Index(None, "invoice_id"),
        Index(None, "subscription_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    charge: Mapped[str]
    period: Mapped[Range[date]] = mapped_column(DATERANGE)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    state: Mapped[str] = mapped_column(default="billed")


class NumberSeries(Base):
    """The next number of a series in a year; taken under its row lock, so without gaps."""

    __tablename__ = "number_series"

    series: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True)
    next_number: Mapped[int] = mapped_column(default=1)


class CardRegistration(Keyed, Base):
    """A card registration that a tenant's admin has begun at the gateway's page."""

    __tablename__ = "card_registration"

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    gateway: Mapped[str]
    customer_key: Mapped[str]
    gateway_reference: Mapped[str | None]
    begun_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]


class PaymentMethod(Keyed, Base):
    """A registered way to pay; the gateway's token is encrypted, card data never comes here."""

    __tablename__ = "payment_method"
    __table_args__ = (
        Index(
            "uq_payment_method_default",
            "tenant_id",
            unique=True,
            postgresql_where="revoked_at IS NULL AND is_default",
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    gateway: Mapped[str]
    customer_key: Mapped[str]
    token_sealed: Mapped[str]
    masked: Mapped[str]
    brand: Mapped[str]
    is_default: Mapped[bool] = mapped_column(default=True)
    registered_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]


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


class Payment(Keyed, Base):
    """Money that arrived for an invoice: by a gateway (with its attempt) or by bank transfer."""

    __tablename__ = "payment"
    __table_args__ = (
        UniqueConstraint("gateway", "gateway_payment_id"),
        CheckConstraint("(gateway = 'manual') = (attempt_id IS NULL)", name="attempt"),
        CheckConstraint("amount_minor > 0", name="amount"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    # The spine settles an invoice by one payment in full.
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), unique=True)
    attempt_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment_attempt.id"), unique=True)
    gateway: Mapped[str]
    gateway_payment_id: Mapped[str]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    paid_at: Mapped[datetime]
    received_on: Mapped[date]  # the day on the bank's statement; a card's is the day of the charge
    payer: Mapped[str | None]  # as the bank statement names them
    recorded_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))


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
    received_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]


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


class VatEvidence(Keyed, Base):
    """The one VAT evidence of a supply: a card slip or a tax invoice, never both.

    Where we can make neither, `reason` says why: `none_foreign` for a buyer abroad whom no Korean
    tax invoice can name, `by_hand` for one that a person has to issue elsewhere.
    """

    __tablename__ = "vat_evidence"
    __table_args__ = (
        CheckConstraint(
            "kind IN ('card_slip', 'tax_invoice', 'none_foreign', 'by_hand')", name="kind"
        ),
        CheckConstraint("(kind = 'card_slip') = (payment_id IS NOT NULL)", name="card_slip"),
        CheckConstraint(
            "(kind IN ('none_foreign', 'by_hand')) = (reason IS NOT NULL)", name="reason"
        ),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), unique=True)
    kind: Mapped[str]
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"))
    reason: Mapped[str | None]
    chosen_at: Mapped[datetime]


class TaxInvoice(Keyed, Base):
    """A Korean tax invoice, issued; `issue_id` is 작성일 + registration no. + serial."""

    __tablename__ = "tax_invoice"
    __table_args__ = (
        CheckConstraint("purpose IN ('receipt', 'claim')", name="purpose"),  # 영수 | 청구
        CheckConstraint("supply_minor + tax_minor = total_minor", name="adds_up"),
        CheckConstraint("state IN ('issued')", name="state"),
    )

    evidence_id: Mapped[UUID] = mapped_column(ForeignKey("vat_evidence.id"), unique=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), unique=True)
    state: Mapped[str] = mapped_column(default="issued")
    issue_id: Mapped[str] = mapped_column(unique=True)
    purpose: Mapped[str]
    written_on: Mapped[date]
    issued_at: Mapped[datetime]
    supply_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    data: Mapped[dict[str, Any]]
    content_sha256: Mapped[str]


class Document(Keyed, Leased, Base):
    """A paper to render once: its data is frozen here, its bytes are kept by digest."""

    __tablename__ = "document"
    __table_args__ = (
        DOCUMENT.check(),
        UniqueConstraint("kind", "subject_id", "language"),
        Index(None, "tenant_id"),
        Index("ix_document_due", "created_at", postgresql_where="state = 'due'"),
    )

    state: Mapped[str] = mapped_column(default="due")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]  # invoice | tax_invoice_supplier | tax_invoice_buyer | receipt
    subject_id: Mapped[UUID]
    language: Mapped[str]
    file_name: Mapped[str]
    data: Mapped[dict[str, Any]]
    data_sha256: Mapped[str]
    created_at: Mapped[datetime]
    template_version: Mapped[str | None]
    rendered_at: Mapped[datetime | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]


class DocumentBundle(Keyed, Leased, Base):
    """Many papers as one ZIP, made by a job while finance goes on working."""

    __tablename__ = "document_bundle"
    __table_args__ = (CheckConstraint("state IN ('due', 'ready', 'expired')", name="state"),)

    state: Mapped[str] = mapped_column(default="due")
    requested_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    requested_at: Mapped[datetime]
    filters: Mapped[dict[str, Any]]
    done_count: Mapped[int] = mapped_column(default=0)
    total_count: Mapped[int | None]
    ready_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    sha256: Mapped[str | None]
    size_bytes: Mapped[int | None]


class StatutoryPaper(Keyed, Base):
    """What the law makes us keep of a destroyed tenant, in a schema of its own."""

    __tablename__ = "paper"
    __table_args__ = (
        UniqueConstraint("kind", "source_id"),
        Index(None, "tenant_id"),
        {"schema": "statutory"},
    )

    tenant_id: Mapped[UUID]
    kind: Mapped[str]  # invoice | tax_invoice | document
    source_id: Mapped[UUID]
    number_text: Mapped[str]
    issued_on: Mapped[date]
    keep_until: Mapped[date]
    data: Mapped[dict[str, Any]]
    data_sha256: Mapped[str]
    file_sha256: Mapped[str | None]
    set_apart_at: Mapped[datetime] = mapped_column(server_default=func.now())
