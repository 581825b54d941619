"""Sheets: invoices and their lines as the rows they will be, without an object of the ORM."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.dialects.postgresql import Range

from app.base import ids
from invoices.bill_lines import BillLine
from invoices.numbering import INVOICE_SERIES


@dataclass(slots=True, kw_only=True)
class SheetLine:
    """One line as its row will be; `made` is what it came from."""

    id: UUID
    position: int
    kind: str
    charge: str
    name_ko: str
    name_en: str
    period: Range[date]
    quantity: Decimal
    unit_amount: Decimal
    amount_minor: int
    tax_minor: int
    price_id: UUID | None
    evidence: dict[str, Any]
    readings_sha256: str | None
    made: BillLine


@dataclass(slots=True, kw_only=True)
class Sheet:
    """One invoice as its row will be, with its lines: a draft until issuing numbers it."""

    id: UUID
    tenant_id: UUID
    subscription_id: UUID
    period: Range[date]
    currency: str
    subtotal_minor: int
    tax_minor: int
    total_minor: int
    seller: dict[str, Any]
    buyer: dict[str, Any]
    supplied_on: date
    created_at: datetime
    carried_minor: int
    grant_id: UUID = field(default_factory=ids.uuid7)  # of what it carries over
    lines: list[SheetLine] = field(default_factory=list)
    state: str = "draft"
    series: str = INVOICE_SERIES
    year: int | None = None
    number: int | None = None
    number_text: str | None = None
    issue_at: datetime | None = None
    held: dict[str, Any] | None = None
    released_minor: int | None = None
    gathers: bool = False
    run_release_id: UUID | None = None
    issued_at: datetime | None = None
    due_on: date | None = None
    content_sha256: str | None = None
    paid_at: datetime | None = None
    collect_at: datetime | None = None
