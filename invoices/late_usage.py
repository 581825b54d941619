"""Late usage: events that came, or were corrected, after their span was billed.

Each total that a bill was made from is kept. Before the next bill it is compared with what the same
meter comes to now; the difference of the two amounts is a line of that bill, and the new total is
kept as the next revision. By the same version of the meter: declaring it anew corrects nothing.

Where no bill comes while usage may still change (the contract ended, is paused, or bills once a
year) it is looked for every month, and what is found is a bill of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, or_, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.orm import Session, aliased

from app.base import bulk, clock
from app.base.config import settings
from invoices import facts, periods, rating, schedule
from invoices.bill_lines import CORRECTED, Adjustment, BillLine, Corrects, names_of
from invoices.charges import Offered
from invoices.facts import WindowKey
from invoices.fingerprints import plain_decimal
from invoices.models import Invoice
from invoices.models import UsageTotal as StoredTotal
from invoices.rating import Facts, UsageTotal
from invoices.schedule import DueBill, Item, Span
from tenants import meters


@dataclass(frozen=True, slots=True)
class Closed:
    """A total as it was billed last, with the span and the invoice that it stands for."""

    subscription_id: UUID
    tenant_id: UUID
    item_id: UUID
    group: tuple[tuple[str, str], ...]
    revision: int
    total: UsageTotal
    invoice: str

    @property
    def key(self) -> WindowKey:
        """What the same total is read by now."""
        total = self.total
        return self.tenant_id, total.meter, self.group, total.start, total.end


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A line that corrects a billed total: what it was billed as, and what it was by then."""

    line_id: UUID
    was: Closed
    is_: UsageTotal


def adjustments(
    *,
    control_session: Session,
    usage_session: Session | None,
    bill_days: Mapping[UUID, date],
    timezones: Mapping[UUID, str],
    items: Mapping[UUID, Sequence[Item]],
    prices: Mapping[UUID, Offered],
    currencies: Mapping[UUID, str],
) -> dict[UUID, list[BillLine]]:
    """This function will return, by subscription, a line for each billed total that has changed.

    `bill_days` says when they were to be looked for: how long usage may change what was billed is
    counted to that day, so that a run which comes late corrects no less.
    """
    found: dict[UUID, list[BillLine]] = defaultdict(list)
    billed = _billed(
        control_session,
        {key: opened_at(bill_on=day, timezone=timezones[key]) for key, day in bill_days.items()},
    )
    if not billed:
        return found
    present = _present(control_session, usage_session or control_session, billed)
    by_id = {item.item_id: item for each in items.values() for item in each}
    for was in billed:
        is_ = present[was.key, was.total.meter_version]
        same = (is_.quantity, is_.transactions) == (was.total.quantity, was.total.transactions)
        if same or was.item_id not in by_id:
            continue
        span = schedule.span_of(
            item=by_id[was.item_id],
            kind="charge",
            start=was.total.start,
            end=was.total.end,
            timezone=timezones[was.subscription_id],
        )
        found[was.subscription_id].append(
            line_of(
                span=span,
                was=was,
                is_=is_,
                price=prices[span.item.price_id],
                currency=currencies[was.subscription_id],
            )
        )
    return found


def opened_at(*, bill_on: date, timezone: str) -> datetime:
    """This function will return after when a total ended that a bill may still correct."""
    return periods.midnight(bill_on, timezone) - timedelta(days=settings().late_usage_days)


def look_on(
    *, ended_at: datetime, next_bill_on: date | None, after: date, timezone: str
) -> date | None:
    """This function will return the first day after `after` to look for late usage on, if any.

    `ended_at` is the end of the last usage that was billed; each month from then on is looked at,
    as long as that may change. Whoever is billed before it is over needs no look. Pure.
    """
    if next_bill_on is not None and opened_at(bill_on=next_bill_on, timezone=timezone) < ended_at:
        return None
    ended_on = periods.local_day(ended_at, timezone)
    for months in count(1):
        day = periods.months_after(ended_on, months)
        if opened_at(bill_on=day, timezone=timezone) >= ended_at:
            return None
        if day > after:
            return day
    raise AssertionError("the months go on for ever")


def bill_of(*, bill_on: date, lines: Iterable[BillLine]) -> DueBill | None:
    """This function will make a bill of corrections alone, unless each comes to nothing. Pure.

    What they come to together is not asked: what a coupon pays of them, or one takes off another,
    stands on the bill, as does that it is settled.
    """
    shown = [line.period for line in lines if line.amount_minor]
    return DueBill(bill_on, max(shown), ()) if shown else None


def looks(
    *,
    control_session: Session,
    timezones: Mapping[UUID, str],
    next_bills: Mapping[UUID, date | None],
    now: datetime,
) -> dict[UUID, date | None]:
    """This function will say when late usage of subscriptions is looked for next.

    `next_bills` leaves out those that wait for something: they are asked about again after that.
    """
    rows = control_session.execute(
        select(StoredTotal.subscription_id, func.max(StoredTotal.ends_at))
        .where(
            bulk.among(
                StoredTotal.subscription_id, [key for key in timezones if key in next_bills]
            ),
            StoredTotal.ends_at > now - timedelta(days=settings().late_usage_days),
            StoredTotal.state != "void",
        )
        .group_by(StoredTotal.subscription_id)
    )
    return {
        key: look_on(
            ended_at=ended_at,
            next_bill_on=next_bills[key],
            after=clock.today(now, timezones[key]),
            timezone=timezones[key],
        )
        for key, ended_at in rows
    }


def corrected_by(*, control_session: Session, invoice_id: UUID) -> str | None:
    """This function will name an invoice, not voided, that corrects usage billed on this one."""
    mine, later = aliased(StoredTotal), aliased(StoredTotal)
    return control_session.scalar(
        select(func.coalesce(Invoice.number_text, "-"))
        .select_from(mine)
        .join(
            later,
            and_(
                later.item_id == mine.item_id,
                later.subscription_id == mine.subscription_id,
                later.starts_at == mine.starts_at,
                later.revision > mine.revision,
            ),
        )
        .join(Invoice, Invoice.id == later.invoice_id)
        .where(mine.invoice_id == invoice_id, Invoice.state != "void")
        .limit(1)
    )


def made_on(*, control_session: Session, invoice_ids: Sequence[UUID]) -> dict[UUID, list[Adjusted]]:
    """This function will return what invoices correct, from the totals that were kept alone.

    The one before is the last that stood when the correction was made, on a bill not voided then.
    """
    before, after, billed = aliased(StoredTotal), aliased(StoredTotal), aliased(Invoice)
    rows = control_session.execute(
        select(after, before, billed.number_text)
        .join(
            before,
            and_(
                before.subscription_id == after.subscription_id,
                before.item_id == after.item_id,
                before.starts_at == after.starts_at,
                before.revision == after.revision - 1,
                before.closed_at <= after.closed_at,
            ),
        )
        .join(billed, billed.id == before.invoice_id)
        .where(
            after.invoice_id.in_(invoice_ids),
            after.revision > 0,
            or_(billed.voided_at.is_(None), billed.voided_at > after.closed_at),
        )
        .ext(distinct_on(after.id))
        .order_by(after.id, before.closed_at.desc())
    )
    found: dict[UUID, list[Adjusted]] = defaultdict(list)
    for is_, was, number_text in rows:
        found[is_.invoice_id].append(
            Adjusted(
                is_.line_id,
                closed(stored=was, invoice=number_text or ""),
                closed(stored=is_, invoice="").total,
            )
        )
    return found


def closed(*, stored: StoredTotal, invoice: str) -> Closed:
    """This function will return a total as it was kept, with the number of its invoice."""
    return Closed(
        subscription_id=stored.subscription_id,
        tenant_id=stored.tenant_id,
        item_id=stored.item_id,
        group=tuple(sorted(stored.meter_group.items())),
        revision=stored.revision,
        total=UsageTotal(
            meter=stored.meter,
            meter_version=stored.meter_version,
            start=stored.starts_at,
            end=stored.ends_at,
            quantity=Decimal(stored.quantity),
            transactions=stored.transactions,
            sha256=stored.sha256,
        ),
        invoice=invoice,
    )


def line_of(*, span: Span, was: Closed, is_: UsageTotal, price: Offered, currency: str) -> BillLine:
    """This function will price the difference between what was counted and what is. Pure."""
    item = span.item
    before, after = (
        rating.rate(
            price_id=item.price_id,
            charge=item.charge,
            currency=currency,
            stretch=span.stretch,
            quantity=item.quantity,
            facts=Facts(total=total),
        )
        for total in (was.total, is_)
    )
    ko, en = (
        pattern.format(name=name)
        for pattern, name in zip(CORRECTED, names_of(item.charge), strict=True)
    )
    return BillLine(
        kind="adjustment",
        charge=item.charge.code,
        names=(ko, en),
        period=span.stretch.shown,
        quantity=after.quantity - before.quantity,
        unit_amount=after.unit_amount,
        amount_minor=after.amount_minor - before.amount_minor,
        evidence={
            "rule": "adjustment",
            "plan": price.plan_code,
            "plan_version": price.plan_version,
            "units": [item.charge.unit_ko, item.charge.unit_en],
            "invoice": was.invoice,
            "was": _told(before.evidence, before.amount_minor, was.total),
            "is": _told(after.evidence, after.amount_minor, is_),
        },
        price_id=item.price_id,
        readings_sha256=is_.sha256,
        adjustment=Adjustment(item.item_id, was.group, was.revision + 1, is_),
        corrects=Corrects(span, before.amount_minor, after.amount_minor, is_),
    )


def _told(evidence: Mapping[str, Any], amount_minor: int, total: UsageTotal) -> dict[str, Any]:
    return {
        "measured": plain_decimal(total.quantity),
        "events": total.transactions,
        "sha256": total.sha256,
        "amount_minor": amount_minor,
        "exact_minor": evidence["exact_minor"],
        "steps": evidence["steps"],
    }


def _billed(control_session: Session, opened: Mapping[UUID, datetime]) -> list[Closed]:
    """This function will return the last revision of each total that may still change.

    `opened` says of each subscription after when it must have ended for that. What stands on a
    draft changes with the draft, which is composed anew: nothing corrects it.
    """
    if not opened:
        return []
    rows = control_session.execute(
        select(StoredTotal, Invoice.number_text, Invoice.state)
        .join(Invoice, Invoice.id == StoredTotal.invoice_id)
        .where(
            bulk.among(StoredTotal.subscription_id, list(opened)),
            StoredTotal.ends_at > min(opened.values()),
            StoredTotal.state != "void",
        )
        .ext(distinct_on(StoredTotal.item_id, StoredTotal.starts_at))
        .order_by(StoredTotal.item_id, StoredTotal.starts_at, StoredTotal.revision.desc())
    )
    return [
        closed(stored=row, invoice=number_text or "")
        for row, number_text, state in rows
        if row.ends_at > opened[row.subscription_id] and state != "draft"
    ]


def _present(
    control_session: Session, usage_session: Session, billed: Sequence[Closed]
) -> dict[tuple[WindowKey, int], UsageTotal]:
    """This function will read what the totals come to now, by the versions they were billed by."""
    found: dict[tuple[WindowKey, int], UsageTotal] = {}
    versions = {(each.total.meter, each.total.meter_version) for each in billed}
    for code, version in sorted(versions):
        definition = meters.definition(control_session=control_session, code=code, version=version)
        keys = [
            each.key
            for each in billed
            if (each.total.meter, each.total.meter_version) == (code, version)
        ]
        totals = facts.totals(
            usage_session=usage_session, definitions={code: definition}, windows=keys
        )
        found |= {(key, version): total for key, total in zip(keys, totals, strict=True)}
    return found
