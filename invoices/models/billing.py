"""The tables of what is billed: subscriptions, invoices and their lines, and spans billed once."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import DATERANGE, ExcludeConstraint, Range
from sqlalchemy.orm import Mapped, mapped_column, relationship

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
_LISTED = ("state", "due_on", "currency", "subtotal_minor", "tax_minor", "total_minor")


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
