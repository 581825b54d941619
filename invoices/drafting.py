"""Drafts: composed bills written as rows, each with its lines and the spans that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.base import ids
from app.base.config import settings
from invoices import coupon_uses, credits, parties, rating
from invoices.composing import BillLine, Composed
from invoices.discounts import Discount
from invoices.models import BilledSpan, CreditGrant, Invoice, InvoiceLine, Subscription
from invoices.numbering import INVOICE_SERIES
from invoices.periods import Period
from invoices.schedule import DueBill
from invoices.spending import CARRIED, Use


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One bill of one subscription, composed but not written yet."""

    invoice_id: UUID = field(default_factory=ids.uuid7)
    grant_id: UUID = field(default_factory=ids.uuid7)  # of what it carries over
    subscription: Subscription
    bill: DueBill
    composed: Composed
    buyer: dict[str, Any]


@dataclass(slots=True)
class _Rows:
    invoices: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    spans: list[dict[str, Any]] = field(default_factory=list)
    grants: list[dict[str, Any]] = field(default_factory=list)
    uses: list[tuple[UUID, UUID, Use]] = field(default_factory=list)
    discounts: list[tuple[UUID, UUID, UUID, Discount]] = field(default_factory=list)


def write(*, control_session: Session, drafts: Sequence[Draft], now: datetime) -> list[UUID]:
    """This function will write drafts with their lines and spans, and return the invoices' ids.

    A span that somebody billed meanwhile makes the database refuse the whole statement
    (sqlalchemy.exc.IntegrityError by `ex_billed_span_once`): nothing is ever billed twice.
    """
    if not drafts:
        return []
    seller = parties.seller_snapshot()
    rows = _Rows()
    for draft in drafts:
        _lay_out(draft, seller, now, rows)
    control_session.execute(insert(Invoice), rows.invoices)
    control_session.execute(insert(InvoiceLine), rows.lines)
    if rows.spans:
        control_session.execute(insert(BilledSpan), rows.spans)
    if rows.grants:
        control_session.execute(insert(CreditGrant), rows.grants)
    credits.record(control_session=control_session, uses=rows.uses, now=now)
    coupon_uses.record(control_session=control_session, uses=rows.discounts, now=now)
    return [draft.invoice_id for draft in drafts]


def _lay_out(draft: Draft, seller: dict[str, Any], now: datetime, rows: _Rows) -> None:
    lines = draft.composed.lines
    taxes = rating.taxes(
        amounts_minor=[line.amount_minor for line in lines],
        rate_percent=parties.vat_percent(draft.buyer),
        rounding=settings().vat_rounding,
    )
    rows.invoices.append(_invoice_row(draft, taxes.total_minor, seller, now))
    shares = zip(lines, taxes.lines_minor, strict=True)
    for position, (line, tax_minor) in enumerate(shares, start=1):
        row = _line_row(draft, line, position, tax_minor)
        rows.lines.append(row)
        if line.span is not None:
            rows.spans.append(_span_row(draft, line, row["id"]))
        if line.use is not None:
            rows.uses.append((draft.invoice_id, row["id"], line.use))
        if line.discount is not None:
            key = (draft.subscription.id, draft.invoice_id, row["id"])
            rows.discounts.append((*key, line.discount))
    if draft.composed.carried_minor:
        rows.grants.append(_grant_row(draft, now))


def _invoice_row(
    draft: Draft, tax_minor: int, seller: dict[str, Any], now: datetime
) -> dict[str, Any]:
    subtotal_minor = draft.composed.subtotal_minor
    return {
        "id": draft.invoice_id,
        "state": "draft",
        "tenant_id": draft.subscription.tenant_id,
        "subscription_id": draft.subscription.id,
        "series": INVOICE_SERIES,
        "period": _range(draft.bill.period),
        "currency": draft.subscription.currency,
        "subtotal_minor": subtotal_minor,
        "tax_minor": tax_minor,
        "total_minor": subtotal_minor + tax_minor,
        "seller": seller,
        "buyer": draft.buyer,
        # A service supplied month by month is supplied when its price falls due by contract,
        # whenever the run gets to it. Source: VAT Act Enforcement Decree §29 (1).
        "supplied_on": draft.bill.bill_on,
        "created_at": now,
    }


def _line_row(draft: Draft, line: BillLine, position: int, tax_minor: int) -> dict[str, Any]:
    name_ko, name_en = line.names
    return {
        "id": ids.uuid7(),
        "invoice_id": draft.invoice_id,
        "position": position,
        "kind": line.kind,
        "charge": line.charge,
        "name_ko": name_ko,
        "name_en": name_en,
        "period": _range(line.period),
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "amount_minor": line.amount_minor,
        "tax_minor": tax_minor,
        "price_id": line.price_id,
        "evidence": line.evidence,
        "readings_sha256": line.readings_sha256,
    }


def _span_row(draft: Draft, line: BillLine, line_id: UUID) -> dict[str, Any]:
    span = line.span
    if span is None:
        raise ValueError("only a line of an item's time takes a span")
    return {
        "id": ids.uuid7(),
        "subscription_id": draft.subscription.id,
        "item_id": span.item.item_id,
        "kind": span.kind,
        "span": Range(span.start, span.end, bounds="[)"),
        "invoice_id": draft.invoice_id,
        "line_id": line_id,
        "state": "billed",
    }


def _grant_row(draft: Draft, now: datetime) -> dict[str, Any]:
    return {
        "id": draft.grant_id,
        "tenant_id": draft.subscription.tenant_id,
        "currency": draft.subscription.currency,
        "amount_minor": draft.composed.carried_minor,
        "used_minor": 0,
        "source": CARRIED,
        "priority": 0,
        "granted_at": now,
        "carried_by": draft.invoice_id,
    }


def _range(period: Period) -> Range[Any]:
    return Range(period.start, period.end, bounds="[)")
