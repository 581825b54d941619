"""What if: the past of every subscriber, as real usage has it, under another price list.

Both sides go through the billing run's own schedule and rating, over the same days and the same
facts, at list prices: no coupons, no balances, no fees that are asked for once. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import bulk, clock, ids
from invoices import composing, facts, items, periods, rating, schedule
from invoices.charges import Offered
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
    """The other plan over the same time: with each charge's bought quantity, where it has one."""
    bought = {item.charge.code: item for item in before}
    lives = _lives(before)
    return [
        Item(
            item_id=ids.uuid7(),
            price_id=price.price_id,
            charge=price.charge,
            position=price.position,
            quantity=bought[code].quantity if code in bought else Decimal(1),
            starts_at=start,
            ends_at=end,
            anchor_on=before[0].anchor_on,
        )
        for price in prices.values()
        for code in (price.charge.code,)
        if not price.charge.optional or code in bought
        for start, end in lives
    ]


def _lives(before: Sequence[Item]) -> list[tuple[datetime, datetime]]:
    """When anything was in force at all: a pause is a pause under any price list."""
    lives: list[tuple[datetime, datetime]] = []
    for item in sorted(before, key=lambda each: each.starts_at):
        ends_at = item.ends_at or item.starts_at
        if lives and item.starts_at <= lives[-1][1]:
            lives[-1] = (lives[-1][0], max(lives[-1][1], ends_at))
        else:
            lives.append((item.starts_at, ends_at))
    return lives


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
