"""Subscribers: what the next bills of many subscriptions are made from, locked and read in bulk.

One statement for each table, whatever the number of subscriptions, and no object of the ORM.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    Row,
    and_,
    bindparam,
    cast,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.dialects.postgresql import TIMESTAMP
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from app.base import bulk, clock
from app.base.config import settings
from app.base.db import planned_once
from invoices import (
    composing,
    correcting,
    coupon_uses,
    credits,
    drafts,
    facts,
    parties,
    periods,
    rating,
    schedule,
)
from invoices import items as subscription_items
from invoices.charges import Offered
from invoices.drafts import StandingDraft
from invoices.models import Invoice, Subscription
from invoices.schedule import Agenda, DueBill, Item, Span
from tenants.models import LIVE_STATES, Tenant, TenantAdmin

_FURTHEST_AHEAD = timedelta(hours=15)  # no time zone's day begins earlier before UTC's
# Made once: an alias works its columns out anew each time that it is made.
_LIVE, _OTHER = aliased(Tenant), aliased(Subscription)
_CONTRACT = (
    Subscription.id,
    Subscription.tenant_id,
    Subscription.state,
    Subscription.currency,
    Subscription.timezone,
    Subscription.ends_on,
    Subscription.next_bill_on,
    Subscription.next_correction_on,
    Subscription.next_change_at,
    Tenant.name,
    Tenant.country,
    Tenant.language,
    Tenant.billing_profile,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriber:
    """A subscription with all that its bills are made from.

    `drafts` are those that were taken back to be composed anew, by the day of their bill;
    `by_event` tells whether anything of it is priced by pushed events, which may come late.
    """

    subscription_id: UUID
    tenant_id: UUID
    state: str
    currency: str
    timezone: str
    ends_on: date | None
    next_change_at: datetime | None
    buyer: dict[str, Any]
    agenda: Agenda
    account: composing.Account
    drafts: Mapping[date, StandingDraft]
    by_event: bool

    def ends_later(self, now: datetime) -> bool:
        """This function will tell whether the contract has an end that is still to come."""
        if self.ends_on is None or self.state == "cancelled":
            return False
        return self.ends_on > clock.today(now, self.timezone)

    def wakes_on(self, next_bill_on: date | None, now: datetime) -> date | None:
        """This function will return the next day with a bill, a change or the end, if any comes."""
        days = [next_bill_on, self.ends_on if self.ends_later(now) else None]
        if self.next_change_at is not None and self.next_change_at > now:
            days.append(periods.local_day(self.next_change_at, self.timezone))
        return min((day for day in days if day is not None), default=None)

    def missing(self, bill: DueBill) -> str:
        """This function will name the readings that a bill waits for, or nothing."""
        waits = []
        for span in bill.spans:
            if not span.item.charge.from_readings:
                continue
            days = rating.missing_days(
                charge=span.item.charge,
                stretch=span.stretch,
                readings=self.account.facts(span).readings,
            )
            if days:
                waits.append(f"{span.item.charge.meter}: {', '.join(map(str, days))}")
        return "; ".join(waits)


@dataclass(frozen=True, slots=True)
class _Contracts:
    """The rows that were found, with their items, what is due of them, and their old drafts."""

    rows: Sequence[Row[Any]]
    items: Mapping[UUID, Sequence[Item]]
    prices: Mapping[UUID, Offered]
    agendas: dict[UUID, Agenda]
    drafts: Mapping[UUID, Mapping[date, StandingDraft]]

    def by_event(self, subscription_id: UUID) -> bool:
        """Whether anything of a subscription is priced by events that were pushed."""
        return correcting.by_event(self.items.get(subscription_id, ()))

    def spans(self) -> list[tuple[UUID, Span]]:
        """Every span that is due, with its tenant."""
        return [
            (row.tenant_id, span)
            for row in self.rows
            for bill in self.agendas[row.id].bills
            for span in bill.spans
        ]

    def committed(self) -> set[UUID]:
        """The subscriptions that agreed upon a minimum."""
        return {
            subscription_id
            for subscription_id, each in self.items.items()
            if correcting.committed(each)
        }


def bill_due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a subscription has a bill to come by `now`.

    A tenant whose database is being destroyed, or is gone, is not billed any more.
    """
    return _come(Subscription, Subscription.next_bill_on, now, _furthest(now))


def correction_due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that late usage is to be looked for by `now`.

    That goes on after a subscription's end, as long as the usage billed last may change.
    """
    return _come(Subscription, Subscription.next_correction_on, now, _furthest(now))


def _furthest(now: datetime) -> date:
    return (now + _FURTHEST_AHEAD).date()


def _come(
    of: type[Subscription], day: InstrumentedAttribute[date | None], now: Any, furthest: Any
) -> ColumnElement[bool]:
    return and_(
        day <= furthest,
        day <= cast(func.timezone(of.timezone, now), Date),
        exists().where(_LIVE.id == of.tenant_id, _LIVE.state.in_(LIVE_STATES)),
    )


_DUE_BY = planned_once(
    select(Subscription.id)
    .where(
        or_(
            *(
                _come(
                    Subscription,
                    day,
                    bindparam("now", type_=TIMESTAMP(timezone=True)),
                    bindparam("furthest", type_=Date),
                )
                for day in (Subscription.next_bill_on, Subscription.next_correction_on)
            )
        )
    )
    .order_by(Subscription.next_bill_on, Subscription.id)
)


def due_by(*, control_session: Session, now: datetime) -> list[UUID]:
    """This function will list the subscriptions that have a bill or a correction to come by `now`,
    those whose bill is the oldest first.
    """
    return list(control_session.scalars(_DUE_BY, {"now": now, "furthest": _furthest(now)}))


def draft_due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a subscription's draft is to be issued.

    One that waits for the others of its day is as soon as none of them is to come any more.
    """
    due = Invoice.issue_at <= now
    if settings().run_release_limit:
        standing = (Invoice.supplied_on, Invoice.currency)
        gathering = select(*standing).where(Invoice.state == "draft", Invoice.gathers)
        day = gathering.distinct().subquery()
        whole = select(day).where(
            ~to_compose(bill_on=day.c.supplied_on, currency=day.c.currency, now=now)
        )
        due = or_(due, and_(Invoice.gathers, tuple_(*standing).in_(whole)))
    return Subscription.id.in_(select(Invoice.subscription_id).where(Invoice.state == "draft", due))


def to_compose(
    *,
    bill_on: ColumnElement[date],
    currency: ColumnElement[str],
    now: datetime,
    but: Collection[UUID] = (),
) -> ColumnElement[bool]:
    """This function will return the condition that bills of a day and currency are still to come.

    Of those who lack readings or failed only who is due on that very day counts: nobody waits day
    after day for the same one.
    """
    stuck = or_(
        func.coalesce(_OTHER.blocked_reason, "") != "",
        _OTHER.last_error.is_not(None),
        _OTHER.attempts >= settings().work_attempts_max,
    )
    return exists().where(
        _OTHER.currency == currency,
        _come(_OTHER, _OTHER.next_bill_on, now, _furthest(now)),
        or_(_OTHER.next_bill_on == bill_on, and_(_OTHER.next_bill_on < bill_on, ~stuck)),
        ~bulk.among(_OTHER.id, but),
    )


def read(
    *,
    control_session: Session,
    subscription_ids: Sequence[UUID],
    now: datetime,
    usage_session: Session | None = None,
    lock: bool = True,
) -> list[Subscriber]:
    """This function will read subscribers with a bill or a draft due, those due longest first.

    Their rows are locked, and those that another transaction has are skipped. Drafts are taken
    back, so that what they billed is due again. Without `lock` it only looks: nothing is locked,
    and what drafts billed stays billed.
    """
    found = _contracts(control_session, subscription_ids, now, lock)
    # Read after the locks are held: whoever held them before has committed what was billed.
    ids = [row.id for row in found]
    if not ids:
        return []
    standing = drafts.take_back(control_session=control_session, subscription_ids=ids, lock=lock)
    items, prices = subscription_items.of_subscriptions(
        control_session=control_session, subscription_ids=ids
    )
    billed = subscription_items.billed(control_session=control_session, subscription_ids=ids)
    agendas = {
        row.id: schedule.agenda(
            items=items.get(row.id, []),
            billed=billed,
            timezone=row.timezone,
            today=clock.today(now, row.timezone),
        )
        for row in found
    }
    contracts = _Contracts(found, items, prices, agendas, standing)
    emails = _admin_emails(
        control_session, [row.tenant_id for row in found if not row.billing_profile.get("email")]
    )
    buyers = {
        row.id: parties.buyer_snapshot(
            tenant=row,
            email=str(row.billing_profile.get("email") or emails.get(row.tenant_id, "")),
        )
        for row in found
    }
    accounts = _accounts(control_session, usage_session, contracts, buyers, lock)
    bill_days = _bill_days(contracts, now)
    _correct(control_session, usage_session, contracts, accounts, bill_days)
    return [
        Subscriber(
            subscription_id=row.id,
            tenant_id=row.tenant_id,
            state=row.state,
            currency=row.currency,
            timezone=row.timezone,
            ends_on=row.ends_on,
            next_change_at=row.next_change_at,
            buyer=buyers[row.id],
            agenda=agendas[row.id],
            account=accounts[row.id],
            drafts=standing.get(row.id, {}),
            by_event=contracts.by_event(row.id),
        )
        for row in found
    ]


def _bill_days(contracts: _Contracts, now: datetime) -> dict[UUID, date]:
    """This function will say of each subscription what day's bill would correct late usage.

    That is its first bill, or a draft of corrections that was taken back; the day to look at them,
    where it comes before: a run that was away at that day corrects no less on the bill after.
    """
    found: dict[UUID, date] = {}
    for row in contracts.rows:
        days = [bill.bill_on for bill in contracts.agendas[row.id].bills]
        days += contracts.drafts.get(row.id, ())
        look = row.next_correction_on
        if look is not None and look <= clock.today(now, row.timezone):
            days.append(look)
        if days:
            found[row.id] = min(days)
    return found


def _correct(
    control_session: Session,
    usage_session: Session | None,
    contracts: _Contracts,
    accounts: Mapping[UUID, composing.Account],
    bill_days: Mapping[UUID, date],
) -> None:
    """This function will lay late usage onto the bills that are due, or make one of it alone.

    One of it alone that stood as a draft stays one, and comes before the bills of later days.
    """
    alone = correcting.lay_on(
        control_session=control_session,
        usage_session=usage_session,
        accounts=accounts,
        bill_days=bill_days,
        timezones={row.id: row.timezone for row in contracts.rows},
        items=contracts.items,
        prices=contracts.prices,
    )
    for subscription_id, bill in alone.items():
        agenda = contracts.agendas[subscription_id]
        stood = bill.bill_on in contracts.drafts.get(subscription_id, ())
        if not agenda.bills or (stood and bill.bill_on < agenda.bills[0].bill_on):
            contracts.agendas[subscription_id] = replace(agenda, bills=(bill, *agenda.bills))


def _contracts(
    control_session: Session, subscription_ids: Sequence[UUID], now: datetime, lock: bool
) -> Sequence[Row[Any]]:
    query = (
        select(*_CONTRACT)
        .join(Tenant, Tenant.id == Subscription.tenant_id)
        .where(
            bulk.among(Subscription.id, subscription_ids),
            or_(bill_due(now), draft_due(now), correction_due(now)),
        )
        .order_by(Subscription.next_bill_on, Subscription.id)
    )
    if lock:
        query = query.with_for_update(of=Subscription, skip_locked=True)
    return control_session.execute(query).all()


def _accounts(
    control_session: Session,
    usage_session: Session | None,
    contracts: _Contracts,
    buyers: Mapping[UUID, dict[str, Any]],
    lock: bool,
) -> dict[UUID, composing.Account]:
    """This function will read what each subscription's bills are composed from, table by table."""
    spans = contracts.spans()
    known = facts.gather(control_session=control_session, usage_session=usage_session, spans=spans)
    amounts = subscription_items.billed_amounts(
        control_session=control_session, subscription_ids=contracts.committed()
    )
    grants = credits.open_grants(
        control_session=control_session,
        tenant_ids=[row.tenant_id for row in contracts.rows],
        lock=lock,
    )
    coupons = coupon_uses.of_subscriptions(
        control_session=control_session,
        subscriptions=[(row.id, row.tenant_id) for row in contracts.rows],
        lock=lock,
    )
    given = coupon_uses.given(control_session=control_session, spans=[span for _, span in spans])
    return {
        row.id: composing.Account(
            currency=row.currency,
            terms=parties.vat_terms(buyers[row.id]),
            prices=contracts.prices,
            facts=known.of(row.tenant_id),
            billed=amounts[row.id],
            given=given,
            coupons=coupons[row.id],
            grants=grants[row.tenant_id, row.currency],
        )
        for row in contracts.rows
    }


def _admin_emails(control_session: Session, tenant_ids: Collection[UUID]) -> dict[UUID, str]:
    """This function will return each tenant's first admin, for want of a billing address."""
    if not tenant_ids:
        return {}
    rows = control_session.execute(
        select(TenantAdmin.tenant_id, TenantAdmin.email)
        .where(TenantAdmin.tenant_id.in_(tenant_ids), TenantAdmin.disabled_at.is_(None))
        .order_by(TenantAdmin.created_at.desc(), TenantAdmin.id.desc())
    )
    # The earliest comes last, and the last one stays.
    return dict(rows.all())
