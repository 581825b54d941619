"""Drafts: rated bills written as rows, each with its lines and the spans that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.base import ids
from app.base.config import settings
from invoices import parties, rating
from invoices.fingerprints import plain_decimal
from invoices.models import BilledSpan, Invoice, InvoiceLine, PlanVersion, Price, Subscription
from invoices.numbering import INVOICE_SERIES
from invoices.periods import Period
from invoices.rating import PriceTerm, RatedLine, ReadingRow
from invoices.schedule import DueBill
from tenants.models import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One bill of one subscription, priced but not written yet."""

    invoice_id: UUID
    subscription: Subscription
    version: PlanVersion
    bill: DueBill
    lines: tuple[RatedLine, ...]
    buyer: dict[str, Any]


def terms_of(version: PlanVersion) -> list[PriceTerm]:
    """This function will return a plan version's prices as rating takes them."""
    return [
        PriceTerm(
            price_id=price.id,
            charge=price.charge,
            timing=price.timing,
            meter=price.meter,
            unit_amount=price.unit_amount,
            included=price.included,
        )
        for price in version.prices
    ]


def price_bill(
    *,
    subscription: Subscription,
    version: PlanVersion,
    tenant: Tenant,
    email: str,
    bill: DueBill,
    readings: Sequence[ReadingRow],
) -> Draft:
    """This function will price every span of a bill.

    Raises: rating.ReadingsMissing.
    """
    lines = tuple(
        rating.rate(
            term=span.term,
            currency=subscription.currency,
            period=span.period,
            readings=readings,
        )
        for span in bill.spans
    )
    return Draft(
        invoice_id=ids.uuid7(),
        subscription=subscription,
        version=version,
        bill=bill,
        lines=lines,
        buyer=parties.buyer_snapshot(tenant=tenant, email=email),
    )


def write(*, control_session: Session, drafts: Sequence[Draft], now: datetime) -> list[UUID]:
    """This function will write drafts with their lines and spans, and return the invoices' ids.

    A span that somebody billed meanwhile makes the database refuse the whole statement
    (sqlalchemy.exc.IntegrityError by `ex_billed_span_once`): nothing is ever billed twice.
    """
    if not drafts:
        return []
    seller = parties.seller_snapshot()
    invoices, lines, spans = [], [], []
    for draft in drafts:
        taxes = rating.taxes(
            amounts_minor=[line.amount_minor for line in draft.lines],
            rate_percent=parties.vat_percent(draft.buyer),
            rounding=settings().vat_rounding,
        )
        invoices.append(_invoice_row(draft, taxes.total_minor, seller, now))
        shares = zip(draft.lines, taxes.lines_minor, strict=True)
        for position, (line, tax_minor) in enumerate(shares, start=1):
            lines.append(_line_row(draft, line, position, tax_minor))
            spans.append(_span_row(draft, line))
    control_session.execute(insert(Invoice), invoices)
    control_session.execute(insert(BilledSpan), spans)
    control_session.execute(insert(InvoiceLine), lines)
    return [draft.invoice_id for draft in drafts]


def _invoice_row(
    draft: Draft, tax_minor: int, seller: dict[str, Any], now: datetime
) -> dict[str, Any]:
    subtotal_minor = sum(line.amount_minor for line in draft.lines)
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


def _line_row(draft: Draft, line: RatedLine, position: int, tax_minor: int) -> dict[str, Any]:
    name_ko, name_en = _names(draft.version, line)
    return {
        "id": ids.uuid7(),
        "invoice_id": draft.invoice_id,
        "position": position,
        "charge": line.charge,
        "name_ko": name_ko,
        "name_en": name_en,
        "period": _range(line.period),
        "quantity": line.quantity,
        "unit_amount": line.unit_amount,
        "amount_minor": line.amount_minor,
        "tax_minor": tax_minor,
        "price_id": line.price_id,
        "evidence": {
            "plan": draft.version.plan_code,
            "plan_version": draft.version.version,
            **line.evidence,
        },
        "readings_sha256": line.readings_sha256,
    }


def _span_row(draft: Draft, line: RatedLine) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "subscription_id": draft.subscription.id,
        "charge": line.charge,
        "period": _range(line.period),
        "invoice_id": draft.invoice_id,
        "state": "billed",
    }


def _names(version: PlanVersion, line: RatedLine) -> tuple[str, str]:
    included = plain_decimal(_price_of(version, line).included)
    return {
        "base": (f"{version.name_ko} 요금제 기본료", f"{version.name_en} plan, base fee"),
        "seats": (
            f"추가 사용자 (포함 {included}명 초과)",
            f"Additional seats (above {included} included)",
        ),
        "storage": (
            f"추가 저장공간 (포함 {included} GB 초과)",
            f"Additional storage (above {included} GB included)",
        ),
    }[line.charge]


def _price_of(version: PlanVersion, line: RatedLine) -> Price:
    return next(price for price in version.prices if price.id == line.price_id)


def _range(period: Period) -> Range[Any]:
    return Range(period.start, period.end, bounds="[)")
