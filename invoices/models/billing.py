"""The tables of what is billed: subscriptions, invoices and their lines, and spans billed once."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, case, text
from sqlalchemy.dialects.postgresql import (
    DATERANGE,
    JSONB,
    TSTZRANGE,
    ExcludeConstraint,
    Range,
)
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import Mapped, mapped_column, relationship
from sqlalchemy.sql.expression import ColumnElement

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine
from invoices.models.catalogue import Price

SUBSCRIPTION = machine(
    "subscription",
    {
        "scheduled": ("active", "cancelled"),
        "active": ("paused", "cancelled"),
        "paused": ("active", "cancelled"),
        "cancelled": (),
    },
    wakes={"active": "invoicing"},
)
CURRENT = ("scheduled", "active", "paused")
SPAN_KINDS = ("charge", "credit")
LINE_KINDS = (
    "charge",
    "credit",
    "commitment",
    "discount",
    "prepaid",
    "carried",
    "adjustment",
)
INVOICE = machine(
    "invoice",
    {
        "draft": ("issued", "void"),
        "issued": ("paid", "credited", "written_off", "void"),
        # Owed again where the money that settled it is not there any more.
        "paid": ("issued",),
        "credited": (),
        "written_off": ("issued",),
        "void": (),
    },
    wakes={"issued": "collection", "paid": "evidence"},
)
_LISTED = ("state", "due_on", "currency", "subtotal_minor", "tax_minor", "total_minor")


class Subscription(Keyed, Leased, Base):
    """A tenant's contract; its items say what is charged, from when until when."""

    __tablename__ = "subscription"
    __table_args__ = (
        SUBSCRIPTION.check(),
        Index(
            "uq_subscription_tenant_current",
            "tenant_id",
            unique=True,
            postgresql_where="state <> 'cancelled'",
        ),
        # One that was cancelled before it began spans nothing.
        ExcludeConstraint(
            (text("uuidrange(tenant_id, tenant_id, '[]')"), "&&"),
            (
                text(
                    "daterange(starts_on,"
                    " CASE WHEN ends_on < starts_on THEN starts_on ELSE ends_on END)"
                ),
                "&&",
            ),
            using="gist",
            name="ex_subscription_one_at_a_time",
        ),
        Index(
            "ix_subscription_next_bill_on",
            "next_bill_on",
            postgresql_where="next_bill_on IS NOT NULL",
        ),
        Index(
            "ix_subscription_next_correction_on",
            "next_correction_on",
            postgresql_where="next_correction_on IS NOT NULL",
        ),
        Index(
            "ix_subscription_next_change_at",
            "next_change_at",
            postgresql_where="next_change_at IS NOT NULL",
        ),
        CheckConstraint(
            "(next_change_at IS NULL) = (next_plan_version_id IS NULL AND next_state IS NULL)",
            name="next_change",
        ),
    )

    state: Mapped[str] = mapped_column(default="active")
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    plan_version_id: Mapped[UUID] = mapped_column(ForeignKey("plan_version.id"))
    currency: Mapped[str]
    timezone: Mapped[str]
    starts_on: Mapped[date]
    ends_on: Mapped[date | None]
    # Grids of billing periods are counted from here; a changed billing day moves it.
    anchor_on: Mapped[date]
    # A hint for finding due work fast: a bill, a change or the end, empty when nothing is to come;
    # the spans already billed are the truth.
    next_bill_on: Mapped[date | None]
    # When late usage is looked for, while it may change what was billed and no bill comes by then.
    next_correction_on: Mapped[date | None]
    # Items change by their own dates; what else changes with them then waits here.
    next_change_at: Mapped[datetime | None]
    next_plan_version_id: Mapped[UUID | None] = mapped_column(ForeignKey("plan_version.id"))
    next_state: Mapped[str | None]
    paused_at: Mapped[datetime | None]  # what ended by the pause is what its end begins again
    blocked_reason: Mapped[str | None]
    consent_id: Mapped[UUID] = mapped_column(ForeignKey("consent.id"))
    created_at: Mapped[datetime]


class SubscriptionItem(Keyed, Base):
    """One charge in force for one subscription, `[starts_at, ends_at)`.

    A change ends items and begins others; nothing else of an item ever changes. One charge is in
    force once at a time: the database refuses a second item over the same moments.
    """

    __tablename__ = "subscription_item"
    __table_args__ = (
        CheckConstraint("ends_at IS NULL OR ends_at >= starts_at", name="life"),
        CheckConstraint("quantity >= 0", name="not_negative"),
        ExcludeConstraint(
            (text("uuidrange(subscription_id, subscription_id, '[]')"), "&&"),
            (text("chargerange(charge, charge, '[]')"), "&&"),
            (text("tstzrange(starts_at, ends_at)"), "&&"),
            using="gist",
            name="ex_subscription_item_once",
        ),
        Index(None, "subscription_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    price_id: Mapped[UUID] = mapped_column(ForeignKey("price.id"))
    charge: Mapped[str]
    quantity: Mapped[Decimal] = mapped_column(default=Decimal(1))  # bought; meters count their own
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    anchor_on: Mapped[date]
    # Whether what was paid ahead beyond the end is given back.
    credit_on_end: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]

    price: Mapped[Price] = relationship(lazy="joined")


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
        CheckConstraint(
            "paid_minor >= 0 AND credited_minor >= 0 AND written_off_minor >= 0"
            " AND paid_minor + credited_minor + written_off_minor <= total_minor",
            name="not_oversettled",
        ),
        CheckConstraint(
            "state NOT IN ('paid', 'credited', 'written_off')"
            " OR paid_minor + credited_minor + written_off_minor = total_minor",
            name="settled",
        ),
        # Only what is not issued yet waits for its moment, or for a person.
        CheckConstraint(
            "state IN ('draft', 'void') OR (issue_at IS NULL AND held IS NULL)", name="not_waiting"
        ),
        CheckConstraint("held IS NULL OR issue_at IS NULL", name="held"),
        CheckConstraint(
            "NOT gathers OR (state IN ('draft', 'void') AND issue_at IS NOT NULL)", name="gathers"
        ),
        Index(None, "tenant_id", "issued_at"),
        Index("ix_invoice_draft", "subscription_id", postgresql_where="state = 'draft'"),
        Index(
            "ix_invoice_draft_run",
            "supplied_on",
            "currency",
            postgresql_include=("total_minor", "issue_at"),
            postgresql_where="state = 'draft'",
        ),
        Index("ix_invoice_issue_at", "issue_at", postgresql_where="state = 'draft'"),
        Index(
            "ix_invoice_run",
            "supplied_on",
            "currency",
            postgresql_include=("total_minor",),
            postgresql_where="state NOT IN ('draft', 'void')",
        ),
        Index(
            "ix_invoice_run_release_id",
            "run_release_id",
            postgresql_where="run_release_id IS NOT NULL",
        ),
        # Finance's lists and their totals are read from these two without touching the rows.
        Index("ix_invoice_issued_at", "issued_at", "id", postgresql_include=_LISTED),
        Index("ix_invoice_state", "state", "issued_at", "id", postgresql_include=_LISTED[1:]),
        Index(None, "period", postgresql_using="gist"),
        Index("ix_invoice_collect_at", "collect_at", postgresql_where="collect_at IS NOT NULL"),
        Index(
            "ix_invoice_evidence_due",
            "supplied_on",
            "id",
            postgresql_where="evidence_at IS NULL AND state IN ('issued', 'paid', 'written_off')",
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
    # When a draft's grace is over; empty while it waits for a person or for the bill before it.
    issue_at: Mapped[datetime | None]
    # Why the brake stopped it, with the figures it compared.
    held: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    released_minor: Mapped[int | None]  # the total that a person let pass
    # It waits for the other bills of its day, until `issue_at` at the latest.
    gathers: Mapped[bool] = mapped_column(default=False, server_default="false")
    # The release of its run that somebody asked for while it stood as a draft.
    run_release_id: Mapped[UUID | None] = mapped_column(ForeignKey("run_release.id"))
    issued_at: Mapped[datetime | None]
    due_on: Mapped[date | None]
    content_sha256: Mapped[str | None]
    paid_at: Mapped[datetime | None]
    # What settled it so far: money that came in, credit notes over what was still owed, and what
    # was given up. The rest is open.
    paid_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    credited_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    written_off_minor: Mapped[int] = mapped_column(default=0, server_default="0")
    voided_at: Mapped[datetime | None]
    void_reason: Mapped[str | None]
    # When collection next tries the tenant's card; empty once paid, void or handed to dunning.
    collect_at: Mapped[datetime | None]
    # When its VAT evidence was chosen: finds what is due fast; `vat_evidence` is the truth.
    evidence_at: Mapped[datetime | None]
    set_apart_at: Mapped[datetime | None]

    lines: Mapped[list[InvoiceLine]] = relationship(order_by="InvoiceLine.position")

    @hybrid_property
    def open_minor(self) -> int:
        """What is still owed; nothing once it is settled in whatever way."""
        if self.state != "issued":
            return 0
        return self.total_minor - self.paid_minor - self.credited_minor - self.written_off_minor

    @open_minor.inplace.expression
    @classmethod
    def _open_minor(cls) -> ColumnElement[int]:
        rest = cls.total_minor - cls.paid_minor - cls.credited_minor - cls.written_off_minor
        return case((cls.state == "issued", rest), else_=0)


class InvoiceLine(Keyed, Base):
    """One line with the evidence that it came from: price, quantities, readings, rounding."""

    __tablename__ = "invoice_line"
    __table_args__ = (
        UniqueConstraint("invoice_id", "position"),
        CheckConstraint(f"kind IN {LINE_KINDS}", name="kind"),
        CheckConstraint(
            "kind NOT IN ('charge', 'credit', 'commitment') OR price_id IS NOT NULL", name="priced"
        ),
    )

    # Lines are written before the invoice that stands on them, which is frozen from the start.
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id", deferrable=True))
    position: Mapped[int]
    kind: Mapped[str] = mapped_column(default="charge")
    charge: Mapped[str]
    name_ko: Mapped[str]
    name_en: Mapped[str]
    period: Mapped[Range[date]] = mapped_column(DATERANGE)
    quantity: Mapped[Decimal]
    unit_amount: Mapped[Decimal]
    amount_minor: Mapped[int]
    tax_minor: Mapped[int]
    price_id: Mapped[UUID | None] = mapped_column(ForeignKey("price.id"))
    evidence: Mapped[dict[str, Any]]
    readings_sha256: Mapped[str | None]


class BilledSpan(Keyed, Base):
    """A stretch of one item's time, charged for or given back: two of a kind can't overlap."""

    __tablename__ = "billed_span"
    __table_args__ = (
        CheckConstraint("NOT isempty(span)", name="span"),
        CheckConstraint("state IN ('billed', 'void')", name="state"),
        CheckConstraint(f"kind IN {SPAN_KINDS}", name="kind"),
        ExcludeConstraint(
            (text("uuidrange(item_id, item_id, '[]')"), "&&"),
            (text("chargerange(kind, kind, '[]')"), "&&"),
            (text("span"), "&&"),
            where=text("state <> 'void'"),
            using="gist",
            name="ex_billed_span_once",
        ),
        Index(None, "invoice_id"),
        Index(None, "line_id"),
        Index(None, "subscription_id"),
    )

    subscription_id: Mapped[UUID] = mapped_column(ForeignKey("subscription.id"))
    item_id: Mapped[UUID] = mapped_column(ForeignKey("subscription_item.id"))
    kind: Mapped[str] = mapped_column(default="charge")
    span: Mapped[Range[datetime]] = mapped_column(TSTZRANGE)
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    line_id: Mapped[UUID] = mapped_column(ForeignKey("invoice_line.id"))
    state: Mapped[str] = mapped_column(default="billed")


class NumberSeries(Base):
    """The next number of a series in a year; taken under its row lock, so without gaps."""

    __tablename__ = "number_series"

    series: Mapped[str] = mapped_column(primary_key=True)
    year: Mapped[int] = mapped_column(primary_key=True)
    next_number: Mapped[int] = mapped_column(default=1)
