"""What if: the past of every subscriber, as real usage has it, under another price list.

Both sides go through the billing run's own schedule and rating, over the same days and the same
facts, at list prices: no coupons, no balances, no fees that are asked for once. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import bulk, clock, ids
from invoices import composing, facts, items, periods, rating, schedule
from invoices.charges import Charge, Offered
from invoices.models import Subscription
from invoices.plan_terms import PlanTerms
from invoices.schedule import DueBill, Item
from tenants.models import Tenant

MONTHS_MAX = 36
_CHUNK = 200
_RATED = frozenset({"charge", "credit", "commitment"})


@dataclass(frozen=True, slots=True)
class Compared:
    """One subscriber's past months, as they were priced and as they would have been."""

    tenant_id: UUID
    tenant_name: str
    plan_code: str
    start: datetime
    end: datetime
    before_minor: int
    after_minor: int

    @property
    def difference_minor(self) -> int:
        """What the other price list would have asked for beyond the present one."""
        return self.after_minor - self.before_minor


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A subscriber that cannot be compared, and why."""

    tenant_id: UUID
    tenant_name: str
    why: str


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of everybody: which charges instead, over how many months up to when."""

    prices: Mapping[UUID, Offered]
    months: int
    now: datetime


@dataclass(frozen=True, slots=True)
class _Past:
    subscription: Subscription
    tenant: Tenant
    start: datetime
    end: datetime
    before: list[Item]
    after: list[Item]


def compare(
    *,
    control_session: Session,
    usage_session: Session,
    terms: PlanTerms,
    months: int,
    now: datetime,
) -> Iterator[Compared | LeftOut]:
    """This function will rate each subscriber's last whole months under other terms.

    Subscribers of the terms' currency are compared, each over the months of its own billing day
    that lie behind it, and over less when it is younger than that.
    """
    if not 1 <= months <= MONTHS_MAX:
        raise ValueError(f"compare 1 to {MONTHS_MAX} months, not {months}")
    question = _Question(_offered(terms), months, now)
    every = control_session.scalars(
        select(Subscription.id)
        .where(Subscription.state != "cancelled", Subscription.currency == terms.currency)
        .order_by(Subscription.id)
    ).all()
    for place in range(0, len(every), _CHUNK):
        chunk = every[place : place + _CHUNK]
        yield from _compare(control_session, usage_session, chunk, question)


def _offered(terms: PlanTerms) -> dict[UUID, Offered]:
    """The charges that every subscriber would have; add-ons stay with those who have them."""
    prices = [
        Offered(
            price_id=ids.uuid7(),
            plan_code=terms.plan_code,
            plan_version=0,
            position=position,
            charge=charge,
        )
        for position, charge in enumerate(terms.charges, start=1)
        if not charge.once
    ]
    return {price.price_id: price for price in prices}


def _compare(
    control_session: Session,
    usage_session: Session,
    subscription_ids: Sequence[UUID],
    question: _Question,
) -> Iterator[Compared | LeftOut]:
    rows = control_session.execute(
        select(Subscription, Tenant)
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .where(bulk.among(Subscription.id, subscription_ids))
        .order_by(Tenant.name, Tenant.id)
    ).all()
    held, prices = items.of_subscriptions(
        control_session=control_session, subscription_ids=subscription_ids
    )
    pasts = [
        past
        for subscription, tenant in rows
        if (past := _past(subscription, tenant, held[subscription.id], question))
    ]
    bills = {
        (past.tenant.id, side): _bills(each, past.subscription.timezone, past.end)
        for past in pasts
        for side, each in (("before", past.before), ("after", past.after))
    }
    known = facts.gather(
        control_session=control_session,
        usage_session=usage_session,
        spans=[
            (tenant_id, span)
            for (tenant_id, _), found in bills.items()
            for bill in found
            for span in bill.spans
        ],
    )
    for past in pasts:
        try:
            before, after = (
                _total(
                    bills[past.tenant.id, side],
                    composing.Account(
                        currency=past.subscription.currency,
                        prices=known_prices,
                        facts=known.of(past.tenant.id),
                    ),
                )
                for side, known_prices in (("before", prices), ("after", question.prices))
            )
        except rating.ReadingsMissing as missing:
            yield LeftOut(past.tenant.id, past.tenant.name, missing.message)
            continue
        plan = next(iter(past.before)).price_id
        yield Compared(
            past.tenant.id,
            past.tenant.name,
            prices[plan].plan_code,
            past.start,
            past.end,
            before,
            after,
        )


def _past(
    subscription: Subscription, tenant: Tenant, held: Sequence[Item], question: _Question
) -> _Past | None:
    """The whole months behind a subscription, with what was in force in them and would have been.

    None for one that has no such month yet.
    """
    zone, anchor = subscription.timezone, subscription.anchor_on
    number = periods.number_on(anchor, clock.today(question.now, zone))
    end = periods.midnight(periods.start_of(anchor, number), zone)
    since = periods.midnight(periods.start_of(anchor, number - question.months), zone)
    start = max(since, periods.midnight(subscription.starts_on, zone))
    before = [cut for item in held if not item.charge.once and (cut := _cut(item, start, end))]
    if start >= end or not before:
        return None
    return _Past(subscription, tenant, start, end, before, _instead(before, question.prices))


def _cut(item: Item, start: datetime, end: datetime) -> Item | None:
    starts_at = max(item.starts_at, start)
    ends_at = end if item.ends_at is None else min(item.ends_at, end)
    if starts_at >= ends_at:
        return None
    return replace(item, starts_at=starts_at, ends_at=ends_at)


def _instead(before: Sequence[Item], prices: Mapping[UUID, Offered]) -> list[Item]:
    """The other plan over the same time, each charge with what was bought of it at the time."""
    return [
        Item(
            item_id=ids.uuid7(),
            price_id=price.price_id,
            charge=price.charge,
            position=price.position,
            quantity=held.quantity,
            starts_at=held.start,
            ends_at=held.end,
            anchor_on=held.anchor_on,
            credit_on_end=held.credit_on_end,
        )
        for price in prices.values()
        for held in _held(price.charge, before)
    ]


@dataclass(frozen=True, slots=True)
class _Held:
    """So much of a charge, from one moment to another; `anchor_on` is what periods count from."""

    start: datetime
    end: datetime
    quantity: Decimal
    anchor_on: date
    credit_on_end: bool


def _held(charge: Charge, before: Sequence[Item]) -> list[_Held]:
    """When a charge would have been in force, and how much of it.

    As the one of its code was. What everybody has is in force besides whenever anything was, once:
    a pause is a pause under any price list, and an add-on stays with who had it, while they did.
    What is never prorated tells of no pause: it is kept through one until its period is over.
    """
    found = [_of(item) for item in before if item.charge.code == charge.code]
    if not charge.optional:
        telling = [
            item for item in before if item.charge.proration != "none" and not item.charge.optional
        ]
        lives = _joined([replace(_of(item), quantity=Decimal(1)) for item in telling or before])
        found += [left for life in lives for left in _without(life, found)]
    return _joined(found)


def _of(item: Item) -> _Held:
    return _Held(
        item.starts_at,
        item.ends_at or item.starts_at,
        item.quantity,
        item.anchor_on,
        item.credit_on_end,
    )


def _without(life: _Held, taken: Sequence[_Held]) -> Iterator[_Held]:
    """What is left of a time where others have parts of it."""
    start = life.start
    within = [each for each in taken if each.start < life.end and each.end > life.start]
    for each in sorted(within, key=lambda one: one.start):
        if start < each.start:
            yield replace(life, start=start, end=each.start)
        start = max(start, each.end)
    if start < life.end:
        yield replace(life, start=start)


def _joined(found: Sequence[_Held]) -> list[_Held]:
    """One where two that are alike meet: the other price list did not change between them."""
    joined: list[_Held] = []
    for each in sorted(found, key=lambda one: (one.anchor_on, one.quantity, one.start)):
        last = joined[-1] if joined else None
        alike = last is not None and (last.anchor_on, last.quantity) == (
            each.anchor_on,
            each.quantity,
        )
        if last is not None and alike and each.start <= last.end:
            later = each if each.end >= last.end else last
            joined[-1] = replace(later, start=last.start)
        else:
            joined.append(each)
    return joined


def _bills(found: Sequence[Item], timezone: str, end: datetime) -> list[DueBill]:
    """Every bill of these items; the schedule gives so many a pass."""
    bills: list[DueBill] = []
    taken: dict[UUID, dict[tuple[str, datetime], datetime]] = {}
    today = periods.local_day(end, timezone)
    while agenda := schedule.agenda(
        items=found, billed=taken, timezone=timezone, today=today
    ).bills:
        bills += agenda
        for bill in agenda:
            for span in bill.spans:
                taken.setdefault(span.item.item_id, {})[span.kind, span.start] = span.end
    return bills


def _total(bills: Sequence[DueBill], account: composing.Account) -> int:
    return sum(
        line.amount_minor
        for bill in bills
        for line in composing.compose(bill=bill, account=account).lines
        if line.kind in _RATED
    )
