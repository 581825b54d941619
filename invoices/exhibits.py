"""Exhibits: what a chunk of issued invoices stands on, read in bulk to work the bills out again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.base import bulk
from invoices import (
    billed_commitments,
    coupon_uses,
    facts,
    late_usage,
    periods,
    schedule,
    vat_lines,
)
from invoices import items as subscription_items
from invoices.bill_lines import BillLine
from invoices.billed_commitments import History, Made
from invoices.charges import Offered
from invoices.commitments import Asked
from invoices.discounts import Redeemed
from invoices.late_usage import Adjusted
from invoices.models import (
    BilledSpan,
    CouponRedemption,
    CouponUse,
    CreditGrant,
    CreditUse,
    Invoice,
    InvoiceLine,
    LedgerEntry,
    LedgerLine,
    StatutoryPaper,
    Subscription,
)
from invoices.models import UsageTotal as StoredTotal
from invoices.rating import NO_FACTS, Facts, ReadingRow, UsageTotal
from invoices.schedule import Item, Span
from invoices.spending import Grant, Use

Sides = dict[str, tuple[int, int]]  # account: debit, credit


@dataclass(frozen=True, slots=True)
class Booked:
    """One booking of an invoice as it stands in the ledger."""

    tenant_id: UUID
    currency: str
    sides: Sides


@dataclass(slots=True)
class Exhibits:
    """Everything by the invoice it belongs to; nothing here was worked out yet."""

    invoices: list[Invoice]
    timezones: dict[UUID, str] = field(default_factory=dict)
    items: dict[UUID, Item] = field(default_factory=dict)
    prices: dict[UUID, Offered] = field(default_factory=dict)
    spans: dict[UUID, list[tuple[Span, UUID]]] = field(default_factory=lambda: defaultdict(list))
    history: dict[UUID, dict[datetime, datetime]] = field(default_factory=lambda: defaultdict(dict))
    totals: dict[UUID, UsageTotal] = field(default_factory=dict)
    adjusted: dict[UUID, list[Adjusted]] = field(default_factory=dict)
    known: facts.Known = field(default_factory=facts.Known)
    before: dict[UUID, list[tuple[Asked, Made]]] = field(default_factory=lambda: defaultdict(list))
    commitments: dict[UUID, History] = field(default_factory=dict)
    uses: dict[UUID, dict[UUID, Use]] = field(default_factory=lambda: defaultdict(dict))
    coupons: dict[UUID, dict[UUID, Redeemed]] = field(default_factory=lambda: defaultdict(dict))
    given: coupon_uses.GivenByEnd = field(default_factory=dict)
    booked: dict[UUID, dict[str, Booked]] = field(default_factory=lambda: defaultdict(dict))
    papers: dict[UUID, dict[str, Any]] = field(default_factory=dict)

    def facts_of(self, invoice: Invoice) -> Callable[[Span], Facts]:
        """This function will return how the spans of an invoice find what they were rated from.

        A day whose reading is gone keeps the quantity that the line states, so that the rest of
        the bill can be looked at; that it is gone is said apart.
        """
        lines = {line.id: line for line in invoice.lines}
        stated = {
            (span.item.item_id, span.start): lines.get(line_id)
            for span, line_id in self.spans[invoice.id]
        }
        rows = self.known.of(invoice.tenant_id)

        def find(span: Span) -> Facts:
            charge = span.item.charge
            if charge.meter is None:
                return NO_FACTS
            line = stated.get((span.item.item_id, span.start))
            if not charge.from_readings:
                stored = self.totals.get(line.id) if line else None
                return Facts(total=stored or _stated_total(span, line))
            return Facts(readings=[*rows(span).readings, *self._stood_in(span, line, rows)])

        return find

    def adjustments_of(self, invoice: Invoice) -> list[BillLine]:
        """This function will price again what an invoice corrects of earlier ones, line by line."""
        positions = {line.id: line.position for line in invoice.lines}
        found = []
        for each in sorted(
            self.adjusted.get(invoice.id, ()), key=lambda one: positions.get(one.line_id, 0)
        ):
            item = self.items.get(each.was.item_id)
            if item is None:
                continue  # its line is then found to stand for nothing
            span = schedule.span_of(
                item=item,
                kind="charge",
                start=each.was.total.start,
                end=each.was.total.end,
                timezone=self.timezones[invoice.subscription_id],
            )
            price = self.prices[item.price_id]
            line = late_usage.line_of(
                span=span, was=each.was, is_=each.is_, price=price, currency=invoice.currency
            )
            found.append(line)
        return found

    def _stood_in(
        self, span: Span, line: InvoiceLine | None, rows: Callable[[Span], Facts]
    ) -> list[ReadingRow]:
        days = self.unread(span, rows)
        if not days or span.stretch.days is None:
            return []
        stated = line.evidence.get("readings", []) if line else []
        first = span.stretch.days.start
        return [
            ReadingRow(
                meter=str(span.item.charge.meter),
                day=day,
                quantity=Decimal(_at(stated, (day - first).days)),
                evidence_sha256="",
            )
            for day in days
        ]

    def unread(self, span: Span, rows: Callable[[Span], Facts]) -> list[date]:
        """This function will list the days of a span whose readings are not there (any more)."""
        days = span.stretch.days
        if not span.item.charge.from_readings or days is None:
            return []
        read = {each.day for each in rows(span).readings}
        return [day for day in days.each_day() if day not in read]


def _at(stated: Sequence[str], place: int) -> str:
    return stated[place] if place < len(stated) else "0"


def _stated_total(span: Span, line: InvoiceLine | None) -> UsageTotal:
    evidence = line.evidence if line else {}
    return UsageTotal(
        meter=str(span.item.charge.meter),
        meter_version=int(evidence.get("meter_version", 0)),
        start=datetime.fromisoformat(evidence.get("from", span.start.isoformat())),
        end=datetime.fromisoformat(evidence.get("until", span.end.isoformat())),
        quantity=Decimal(evidence.get("measured", "0")),
        transactions=int(evidence.get("events", 0)),
        sha256=(line.readings_sha256 if line else None) or "",
    )


def gather(*, control_session: Session, invoice_ids: Sequence[UUID]) -> Exhibits:
    """This function will read all that these invoices stand on, by a query a table."""
    found = Exhibits(
        list(
            control_session.scalars(
                select(Invoice)
                .where(Invoice.id.in_(invoice_ids))
                .options(selectinload(Invoice.lines))
                .order_by(Invoice.id)
                .execution_options(populate_existing=True)
            )
        )
    )
    subscription_ids = {invoice.subscription_id for invoice in found.invoices}
    _read_items(control_session, subscription_ids, found)
    _read_spans(control_session, invoice_ids, found)
    found.known = facts.gather(
        control_session=control_session,
        spans=[
            (invoice.tenant_id, span)
            for invoice in found.invoices
            for span, _ in found.spans[invoice.id]
            if span.item.charge.from_readings
        ],
    )
    _read_totals(control_session, invoice_ids, found)
    found.adjusted = late_usage.made_on(control_session=control_session, invoice_ids=invoice_ids)
    _read_history(control_session, found)
    _read_before(control_session, found)
    _read_uses(control_session, invoice_ids, found)
    _read_coupons(control_session, invoice_ids, found)
    _read_ledger(control_session, invoice_ids, found)
    _read_papers(control_session, found)
    return found


def _read_items(
    control_session: Session, subscription_ids: Collection[UUID], found: Exhibits
) -> None:
    by_subscription, found.prices = subscription_items.of_subscriptions(
        control_session=control_session, subscription_ids=subscription_ids
    )
    found.items = {item.item_id: item for items in by_subscription.values() for item in items}
    rows = control_session.execute(
        select(Subscription.id, Subscription.timezone).where(
            bulk.among(Subscription.id, subscription_ids)
        )
    )
    found.timezones = {row.id: row.timezone for row in rows}


def _read_spans(control_session: Session, invoice_ids: Sequence[UUID], found: Exhibits) -> None:
    rows = control_session.execute(
        select(
            BilledSpan.invoice_id,
            BilledSpan.subscription_id,
            BilledSpan.item_id,
            BilledSpan.kind,
            BilledSpan.span,
            BilledSpan.line_id,
        ).where(BilledSpan.invoice_id.in_(invoice_ids))
    )
    for row in rows:
        item = found.items.get(row.item_id)
        if item is None:
            continue  # its line is then found to stand for nothing
        span = schedule.span_of(
            item=item,
            kind=row.kind,
            start=row.span.lower,
            end=row.span.upper,
            timezone=found.timezones[row.subscription_id],
        )
        found.spans[row.invoice_id].append((span, row.line_id))


def _read_totals(control_session: Session, invoice_ids: Sequence[UUID], found: Exhibits) -> None:
    rows = control_session.scalars(
        select(StoredTotal).where(
            StoredTotal.invoice_id.in_(invoice_ids), StoredTotal.revision == 0
        )
    )
    for row in rows:
        found.totals[row.line_id] = late_usage.closed(stored=row, invoice="").total


def part_of(span: Span, timezone: str) -> tuple[datetime, datetime]:
    """This function will return what of a span's grid period its item is in force, as it stands."""
    item = span.item
    begins, ends = periods.bounds(span.period, timezone)
    if item.charge.once or item.ends_at is None:
        return max(begins, item.starts_at), ends
    return max(begins, item.starts_at), min(ends, item.ends_at)


def _read_history(control_session: Session, found: Exhibits) -> None:
    """A part that was billed in two goes, or given back, can't be told from its own span alone."""
    cut = {
        span.item.item_id
        for invoice in found.invoices
        for span, _ in found.spans[invoice.id]
        if (span.start, span.end) != part_of(span, found.timezones[invoice.subscription_id])
    }
    if not cut:
        return
    rows = control_session.execute(
        select(BilledSpan.item_id, BilledSpan.span)
        .where(subscription_items.charged(cut))
        .order_by(BilledSpan.id)  # what took the place of a voided one comes later
    )
    for row in rows:
        found.history[row.item_id][row.span.lower] = row.span.upper


def _read_before(control_session: Session, found: Exhibits) -> None:
    """Only a minimum agreed upon looks at what was billed before it, or is looked at again."""
    committed = {
        invoice.subscription_id
        for invoice in found.invoices
        if any(line.kind in ("commitment", "adjustment") for line in invoice.lines)
    }
    found.commitments = billed_commitments.read(
        control_session=control_session,
        timezones=found.timezones,
        items=found.items,
        subscription_ids=committed,
    )
    if not committed:
        return
    rows = control_session.execute(
        select(
            BilledSpan.subscription_id,
            BilledSpan.item_id,
            BilledSpan.span,
            vat_lines.priced_minor().label("amount_minor"),
            Invoice.issued_at,
            Invoice.supplied_on,
            Invoice.voided_at,
        )
        .join(InvoiceLine, InvoiceLine.id == BilledSpan.line_id)
        .join(Invoice, Invoice.id == BilledSpan.invoice_id)
        .where(BilledSpan.subscription_id.in_(committed), InvoiceLine.kind != "commitment")
    )
    for row in rows:
        found.before[row.subscription_id].append(
            (
                Asked(row.item_id, row.span.lower, row.span.upper, row.amount_minor),
                Made(row.issued_at, row.supplied_on, row.voided_at),
            )
        )


def _read_uses(control_session: Session, invoice_ids: Sequence[UUID], found: Exhibits) -> None:
    rows = control_session.execute(
        select(
            CreditUse.invoice_id,
            CreditUse.line_id,
            CreditUse.amount_minor,
            CreditGrant.id,
            CreditGrant.source,
            CreditGrant.expires_on,
            CreditGrant.paid_for,
        )
        .join(CreditGrant, CreditGrant.id == CreditUse.grant_id)
        # Credit that paid an invoice after tax stands on no line.
        .where(CreditUse.invoice_id.in_(invoice_ids), CreditUse.line_id.is_not(None))
    )
    for row in rows:
        grant = Grant(row.id, row.amount_minor, row.source, row.expires_on, row.paid_for)
        found.uses[row.invoice_id][row.line_id] = Use(grant, row.amount_minor)


def _read_coupons(control_session: Session, invoice_ids: Sequence[UUID], found: Exhibits) -> None:
    """Each coupon as it stood before the bill: what starts with its first use had not begun yet."""
    rows = control_session.execute(
        select(CouponUse.invoice_id, CouponUse.line_id, CouponUse.used_from, CouponRedemption)
        .join(CouponRedemption, CouponRedemption.id == CouponUse.redemption_id)
        .where(CouponUse.invoice_id.in_(invoice_ids))
    )
    for invoice_id, line_id, used_from, redemption in rows:
        terms = coupon_uses.terms_of(redemption.coupon)
        found.coupons[invoice_id][line_id] = Redeemed(
            redemption_id=redemption.id,
            coupon=terms,
            starts_on=redemption.starts_on,
            ends_on=redemption.ends_on,
            used_from=used_from if terms.kind == "months_free" else None,
        )
    spans = [span for of_one in found.spans.values() for span, _ in of_one]
    found.given = coupon_uses.given(control_session=control_session, spans=spans)


def _read_ledger(control_session: Session, invoice_ids: Sequence[UUID], found: Exhibits) -> None:
    rows = control_session.execute(
        select(
            LedgerEntry.cause_id,
            LedgerEntry.kind,
            LedgerEntry.tenant_id,
            LedgerEntry.currency,
            LedgerLine.account,
            LedgerLine.debit_minor,
            LedgerLine.credit_minor,
        )
        .outerjoin(LedgerLine, LedgerLine.entry_id == LedgerEntry.id)
        .where(LedgerEntry.kind.in_(("issue", "void")), LedgerEntry.cause_id.in_(invoice_ids))
    )
    for row in rows:
        entries = found.booked[row.cause_id]
        booked = entries.setdefault(row.kind, Booked(row.tenant_id, row.currency, {}))
        if row.account is not None:
            debit, credit = booked.sides.get(row.account, (0, 0))
            booked.sides[row.account] = (debit + row.debit_minor, credit + row.credit_minor)


def _read_papers(control_session: Session, found: Exhibits) -> None:
    apart = [invoice.id for invoice in found.invoices if invoice.set_apart_at is not None]
    if not apart:
        return
    rows: Iterable[Any] = control_session.execute(
        select(StatutoryPaper.source_id, StatutoryPaper.data).where(
            StatutoryPaper.kind == "invoice", StatutoryPaper.source_id.in_(apart)
        )
    )
    found.papers = {row.source_id: row.data for row in rows}
