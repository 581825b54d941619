"""The tables of VAT evidence: which one a supply has, tax invoices and cash receipts."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Boolean, CheckConstraint, ColumnElement, ForeignKey, Index, literal_column
from sqlalchemy.orm import Mapped, mapped_column

from app.base.db import Base, Keyed
from app.base.leases import Leased
from app.base.states import machine

TAX_INVOICE = machine(
    "tax_invoice",
    {
        "due": ("issued", "failed", "cancelled"),
        "issued": ("sent", "accepted", "failed", "amended", "cancelled"),
        "sent": ("accepted", "failed"),
        "accepted": ("amended",),
        "failed": ("due", "issued", "sent", "accepted", "cancelled"),
        "amended": (),
        "cancelled": (),
    },
    wakes={"due": "tax_papers"},
)
CASH_RECEIPT = machine(
    "cash_receipt",
    {
        "wanted": ("due", "withdrawn"),
        "due": ("issued", "confirmed", "failed"),
        "issued": ("confirmed", "failed", "cancelled"),
        "confirmed": ("cancelled",),
        "failed": ("due", "issued", "confirmed"),
        "withdrawn": (),
        "cancelled": (),
    },
    wakes={"due": "cash_receipts"},
)
EVIDENCE_KINDS = ("card_slip", "cash_receipt", "tax_invoice", "none_foreign", "by_hand")


class VatEvidence(Keyed, Base):
    """The one VAT evidence of a supply: a card slip, a cash receipt or a tax invoice, never two.

    Where we can make none, `reason` says why: `none_foreign` for a buyer abroad whom no Korean
    tax invoice can name, `by_hand` for one that a person has to issue elsewhere.
    """

    __tablename__ = "vat_evidence"
    __table_args__ = (
        CheckConstraint(f"kind IN {EVIDENCE_KINDS}", name="kind"),
        CheckConstraint(
            "(kind IN ('card_slip', 'cash_receipt')) = (payment_id IS NOT NULL)", name="payment"
        ),
        CheckConstraint(
            "(kind IN ('none_foreign', 'by_hand')) = (reason IS NOT NULL)", name="reason"
        ),
        Index("ix_vat_evidence_by_hand", "invoice_id", postgresql_where="kind = 'by_hand'"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"), unique=True)
    kind: Mapped[str]
    payment_id: Mapped[UUID | None] = mapped_column(ForeignKey("payment.id"), unique=True)
    reason: Mapped[str | None]
    chosen_at: Mapped[datetime]


class PaperByHand(Keyed, Base):
    """What a person says of a supply whose evidence is none that we can make.

    The paper that they issued elsewhere, by its number and day, or in `note` why there is none to
    issue. Notes stay; the newest one counts. With `credit_note_id` it is of the one paper that was
    to follow that credit note, whatever the supply's evidence is.
    """

    __tablename__ = "paper_by_hand"
    __table_args__ = (
        CheckConstraint("(number IS NULL) = (issued_on IS NULL)", name="issued"),
        Index(None, "evidence_id", "noted_at"),
        Index(None, "credit_note_id"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    evidence_id: Mapped[UUID] = mapped_column(ForeignKey("vat_evidence.id"))
    number: Mapped[str | None]
    issued_on: Mapped[date | None]
    note: Mapped[str]
    noted_at: Mapped[datetime]
    noted_by: Mapped[UUID] = mapped_column(ForeignKey("staff.id"))
    credit_note_id: Mapped[UUID | None] = mapped_column(ForeignKey("credit_note.id"))


# Somebody or something still has to do with it. What the offline issuer has issued is all there is.
TAX_INVOICE_IS_OPEN = (
    "tax_invoice.state IN ('due', 'sent', 'failed')"
    " OR (tax_invoice.state = 'issued' AND tax_invoice.issuer <> 'offline')"
)
tax_invoice_is_open: ColumnElement[bool] = literal_column(f"({TAX_INVOICE_IS_OPEN})", Boolean)


class TaxInvoice(Keyed, Leased, Base):
    """A Korean tax invoice from the day it is due; what it says is frozen then, its fate is not.

    `issue_id` is the number that the issuer gives it: 작성일 + registration no. + serial, or the
    agent's. An amending one (수정세금계산서) names the one that it `amends`. Only an issuer that
    transmits may ever bring one to `sent` or `accepted`; what the offline issuer made a person
    hands in, and says so: `handed_in_number` is the approval number that they were given.
    """

    __tablename__ = "tax_invoice"
    __table_args__ = (
        TAX_INVOICE.check(),
        CheckConstraint("purpose IN ('receipt', 'claim')", name="purpose"),  # 영수 | 청구
        CheckConstraint("direction IN ('forward', 'reverse', 'consigned')", name="direction"),
        CheckConstraint("supply_minor + tax_minor = total_minor", name="adds_up"),
        CheckConstraint("length(management_key) <= 24", name="management_key"),
        CheckConstraint("amendment IN ('01', '02', '03', '04', '05', '06')", name="amendment_code"),
        CheckConstraint("(amends_id IS NULL) = (amendment IS NULL)", name="amendment"),
        CheckConstraint(
            "(issue_id IS NULL) = (issued_at IS NULL)"
            " AND (issue_id IS NOT NULL OR state IN ('due', 'failed', 'cancelled'))",
            name="issued",
        ),
        CheckConstraint(
            "issuer <> 'offline' OR (sent_at IS NULL AND accepted_at IS NULL"
            " AND (issue_id IS NULL) = (xml_sha256 IS NULL))",
            name="offline",
        ),
        CheckConstraint(
            "num_nulls(handed_in_at, handed_in_on, handed_in_number, handed_in_by) IN (0, 4)"
            " AND (handed_in_at IS NULL OR issuer = 'offline')",
            name="handed_in",
        ),
        CheckConstraint("state <> 'accepted' OR accepted_at IS NOT NULL", name="accepted"),
        CheckConstraint("(state = 'cancelled') = (cancelled_at IS NOT NULL)", name="cancelled"),
        Index(
            "uq_tax_invoice_original",
            "invoice_id",
            unique=True,
            postgresql_where="amends_id IS NULL AND state <> 'cancelled'",
        ),
        Index(
            "uq_tax_invoice_cause",
            "cause_id",
            "sheet_number",
            unique=True,
            postgresql_where="cause_id IS NOT NULL AND state <> 'cancelled'",
        ),
        Index(None, "invoice_id"),
        Index(None, "amends_id"),
        Index("ix_tax_invoice_due", "written_on", postgresql_where="state = 'due'"),
        # The working lists read these: years of papers that nobody waits for are not in them.
        Index("ix_tax_invoice_open", "written_on", "id", postgresql_where=TAX_INVOICE_IS_OPEN),
        Index(
            "ix_tax_invoice_offline",
            "written_on",
            postgresql_where=(
                "issuer = 'offline' AND state IN ('issued', 'amended') AND handed_in_at IS NULL"
            ),
        ),
        Index(
            "ix_tax_invoice_look",
            "look_at",
            postgresql_where="look_at IS NOT NULL OR cancel_reason IS NOT NULL",
        ),
        Index(
            "ix_tax_invoice_less_by_hand",
            "invoice_id",
            postgresql_where="amendment IN ('03', '05')",
        ),
        Index("ix_tax_invoice_failed", "written_on", postgresql_where="state = 'failed'"),
    )

    evidence_id: Mapped[UUID] = mapped_column(ForeignKey("vat_evidence.id"), index=True)
    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    state: Mapped[str] = mapped_column(default="due")
    issuer: Mapped[str]
    direction: Mapped[str] = mapped_column(default="forward", server_default="forward")
    management_key: Mapped[str] = mapped_column(unique=True)
    serial: Mapped[int]
    purpose: Mapped[str]
    written_on: Mapped[date]
    supply_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    data: Mapped[dict[str, Any]]
    content_sha256: Mapped[str]
    created_at: Mapped[datetime]
    amends_id: Mapped[UUID | None] = mapped_column(ForeignKey("tax_invoice.id"))
    amendment: Mapped[str | None]
    # What it came from, a credit note or an act in the console, and which sheet of that.
    cause_id: Mapped[UUID | None]
    sheet_number: Mapped[int] = mapped_column(default=1, server_default="1")
    reason: Mapped[str | None]
    issue_id: Mapped[str | None] = mapped_column(unique=True)
    xml_sha256: Mapped[str | None]
    xml_size_bytes: Mapped[int | None]
    # Real clock: whatever was asked for once is looked up before it is asked for again.
    asked_at: Mapped[datetime | None]
    batch_key: Mapped[str | None]
    issued_at: Mapped[datetime | None]
    sent_at: Mapped[datetime | None]
    accepted_at: Mapped[datetime | None]
    handed_in_at: Mapped[datetime | None]
    handed_in_on: Mapped[date | None]
    handed_in_number: Mapped[str | None] = mapped_column(unique=True)
    handed_in_by: Mapped[UUID | None] = mapped_column(ForeignKey("staff.id"))
    cancelled_at: Mapped[datetime | None]
    look_at: Mapped[datetime | None]
    # Asked to be taken back: why, and by which credit note, which amends it if it's too late.
    cancel_reason: Mapped[str | None]
    cancel_cause_id: Mapped[UUID | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]


class CashReceipt(Keyed, Leased, Base):
    """A cash receipt (현금영수증), or the cancelling of one in whole or in part (`cancels_id`).

    `wanted` by a tenant's admin who pays by transfer, until the evidence is chosen. `identity` is
    a phone or registration number: encrypted, and shown masked.
    """

    __tablename__ = "cash_receipt"
    __table_args__ = (
        CASH_RECEIPT.check(),
        CheckConstraint("\"use\" IN ('income_deduction', 'expense_proof')", name="use"),
        CheckConstraint("supply_minor + tax_minor = total_minor", name="adds_up"),
        CheckConstraint("total_minor > 0", name="total"),
        CheckConstraint("length(key) <= 24", name="key"),
        CheckConstraint(
            "state IN ('wanted', 'withdrawn') OR evidence_id IS NOT NULL", name="evidence"
        ),
        CheckConstraint("state <> 'confirmed' OR number IS NOT NULL", name="number"),
        Index(
            "uq_cash_receipt_original",
            "invoice_id",
            unique=True,
            postgresql_where="cancels_id IS NULL AND state <> 'withdrawn'",
        ),
        Index(
            "uq_cash_receipt_cause",
            "cause_id",
            unique=True,
            postgresql_where="cause_id IS NOT NULL",
        ),
        Index(None, "invoice_id"),
        Index("ix_cash_receipt_due", "created_at", postgresql_where="state = 'due'"),
        Index("ix_cash_receipt_look", "look_at", postgresql_where="look_at IS NOT NULL"),
    )

    tenant_id: Mapped[UUID] = mapped_column(ForeignKey("tenant.id"))
    invoice_id: Mapped[UUID] = mapped_column(ForeignKey("invoice.id"))
    evidence_id: Mapped[UUID | None] = mapped_column(ForeignKey("vat_evidence.id"))
    state: Mapped[str] = mapped_column(default="wanted")
    use: Mapped[str]
    identity_sealed: Mapped[str]
    identity_masked: Mapped[str]
    issuer: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    issuer_reference: Mapped[str | None]
    number: Mapped[str | None]
    traded_on: Mapped[date | None]
    supply_minor: Mapped[int]
    tax_minor: Mapped[int]
    total_minor: Mapped[int]
    created_at: Mapped[datetime]
    cancels_id: Mapped[UUID | None] = mapped_column(ForeignKey("cash_receipt.id"))
    cause_id: Mapped[UUID | None]
    reason: Mapped[str | None]
    asked_at: Mapped[datetime | None]
    issued_at: Mapped[datetime | None]
    confirmed_at: Mapped[datetime | None]
    look_at: Mapped[datetime | None]
    error_code: Mapped[str | None]
    error: Mapped[str | None]
