"""Writing: laid-out bills as rows, with the spans, credits, coupons and totals that they take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.base import bulk, ids
from invoices import coupon_uses, credits, fingerprints
from invoices.sheets import Sheet, SheetLine
from invoices.spending import CARRIED, CARRIED_PRIORITY

_INVOICE = (
    *("id", "attempts", "state", "tenant_id", "subscription_id", "series", "year", "number"),
    *("number_text", "period", "currency", "subtotal_minor", "tax_minor", "total_minor"),
    *("seller", "buyer", "supplied_on", "created_at", "issue_at", "held", "released_minor"),
    *("gathers", "run_release_id"),
    *("issued_at", "due_on", "content_sha256", "paid_at", "collect_at"),
)
_LINE = (
    *("id", "invoice_id", "position", "kind", "charge", "name_ko", "name_en", "period"),
    *("quantity", "unit_amount", "amount_minor", "tax_minor", "price_id", "evidence"),
    "readings_sha256",
)
_SPAN = ("id", "subscription_id", "item_id", "kind", "span", "invoice_id", "line_id", "state")
_GRANT = (
    *("id", "tenant_id", "currency", "amount_minor", "used_minor", "lapsed_minor"),
    *("source", "priority", "granted_at", "note", "granted_by", "carried_by", "paid_for"),
)
_TOTAL = (
    *("id", "subscription_id", "tenant_id", "item_id", "invoice_id", "line_id", "revision"),
    *("meter", "meter_version", "meter_group", "starts_at", "ends_at", "quantity"),
    *("transactions", "sha256", "closed_at"),
)
Row = tuple[Any, ...]


def write(*, control_session: Session, sheets: Sequence[Sheet], now: datetime) -> None:
    """This function will write bills as they are laid out, drafts and issued ones, by COPY.

    Raises: sqlalchemy.exc.IntegrityError by `ex_billed_span_once` for a span that is billed.
    """
    _write_invoices(control_session, sheets)
    _carry_over(control_session, sheets, now)
    _record_uses(control_session, sheets, now)
    _close_totals(control_session, sheets, now)


def _write_invoices(control_session: Session, sheets: Sequence[Sheet]) -> None:
    """This function will write lines, the invoices over them, and the spans that they take.

    An invoice is frozen once it is there, so its lines come first and are checked after it.
    """
    control_session.execute(text("SET CONSTRAINTS fk_invoice_line_invoice_id DEFERRED"))
    bulk.copy(
        control_session=control_session,
        table="invoice_line",
        columns=_LINE,
        rows=(_line_row(sheet, line) for sheet in sheets for line in sheet.lines),
    )
    sellers = {id(sheet.seller): fingerprints.canonical_json(sheet.seller) for sheet in sheets}
    bulk.copy(
        control_session=control_session,
        table="invoice",
        columns=_INVOICE,
        rows=(_invoice_row(sheet, sellers[id(sheet.seller)]) for sheet in sheets),
    )
    control_session.execute(text("SET CONSTRAINTS fk_invoice_line_invoice_id IMMEDIATE"))
    bulk.copy(
        control_session=control_session,
        table="billed_span",
        columns=_SPAN,
        rows=(
            (
                ids.uuid7(),
                sheet.subscription_id,
                span.item.item_id,
                span.kind,
                f"[{span.start.isoformat()},{span.end.isoformat()})",
                sheet.id,
                line.id,
                "billed",
            )
            for sheet in sheets
            for line in sheet.lines
            if (span := line.made.span) is not None
        ),
    )


def _invoice_row(sheet: Sheet, seller: str) -> Row:
    return (
        sheet.id,
        0,
        sheet.state,
        sheet.tenant_id,
        sheet.subscription_id,
        sheet.series,
        sheet.year,
        sheet.number,
        sheet.number_text,
        _days(sheet.period),
        sheet.currency,
        sheet.subtotal_minor,
        sheet.tax_minor,
        sheet.total_minor,
        seller,
        fingerprints.canonical_json(sheet.buyer),
        sheet.supplied_on,
        sheet.created_at,
        sheet.issue_at,
        sheet.held and fingerprints.canonical_json(sheet.held),
        sheet.released_minor,
        sheet.gathers,
        sheet.run_release_id,
        sheet.issued_at,
        sheet.due_on,
        sheet.content_sha256,
        sheet.paid_at,
        sheet.collect_at,
    )


def _line_row(sheet: Sheet, line: SheetLine) -> Row:
    return (
        line.id,
        sheet.id,
        line.position,
        line.kind,
        line.charge,
        line.name_ko,
        line.name_en,
        _days(line.period),
        line.quantity,
        line.unit_amount,
        line.amount_minor,
        line.tax_minor,
        line.price_id,
        fingerprints.canonical_json(line.evidence),
        line.readings_sha256,
    )


def _days(period: Range[Any]) -> str:
    return f"[{period.lower},{period.upper})"


def _carry_over(control_session: Session, sheets: Sequence[Sheet], now: datetime) -> None:
    """This function will write what bills gave back beyond what they asked, as credit."""
    rows = [
        (
            *(sheet.grant_id, sheet.tenant_id, sheet.currency, sheet.carried_minor, 0, 0),
            *(CARRIED, CARRIED_PRIORITY, now, "", "", sheet.id, True),
        )
        for sheet in sheets
        if sheet.carried_minor
    ]
    if rows:
        bulk.copy(control_session=control_session, table="credit_grant", columns=_GRANT, rows=rows)


def _record_uses(control_session: Session, sheets: Sequence[Sheet], now: datetime) -> None:
    """This function will note what the bills used of credits and coupons."""
    lines = [(sheet, line) for sheet in sheets for line in sheet.lines]
    credits.record(
        control_session=control_session,
        uses=[(sheet.id, line.id, line.made.use) for sheet, line in lines if line.made.use],
        now=now,
    )
    coupon_uses.record(
        control_session=control_session,
        uses=[
            (sheet.subscription_id, sheet.id, line.id, line.made.discount)
            for sheet, line in lines
            if line.made.discount
        ],
        now=now,
    )


def _close_totals(control_session: Session, sheets: Sequence[Sheet], now: datetime) -> None:
    """This function will keep the totals of pushed usage that the bills were made from."""
    rows = [
        row for sheet in sheets for line in sheet.lines if (row := _total_row(sheet, line, now))
    ]
    if rows:
        bulk.copy(control_session=control_session, table="usage_total", columns=_TOTAL, rows=rows)


def _total_row(sheet: Sheet, line: SheetLine, now: datetime) -> Row | None:
    made = line.made
    key = (ids.uuid7(), sheet.subscription_id, sheet.tenant_id)
    if made.adjustment is not None:
        item_id, revision, total = (
            made.adjustment.item_id,
            made.adjustment.revision,
            made.adjustment.total,
        )
        group = fingerprints.canonical_json(dict(made.adjustment.group))
        start, end, quantity = total.start, total.end, total.quantity
        counted = (total.meter, total.meter_version, group, start, end, quantity)
        return (*key, item_id, sheet.id, line.id, revision, *counted, total.transactions,
                total.sha256, now)  # fmt: skip
    span = made.span
    if line.kind != "charge" or span is None:
        return None
    charge = span.item.charge
    if charge.meter is None or charge.from_readings:
        return None
    told = line.evidence
    group = fingerprints.canonical_json(dict(charge.group))
    counted = (charge.meter, told["meter_version"], group, span.start, span.end, told["measured"])
    return (*key, span.item.item_id, sheet.id, line.id, 0, *counted, told["events"],
            line.readings_sha256, now)  # fmt: skip
