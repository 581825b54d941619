"""Upcoming: the next bill as it would be from what is known now, by the billing run's own code.

What is paid ahead is known. What was used is taken as far as it was read: of daily readings the
days from the period's first up to the first that nobody read, of pushed events all up to now. Days
that are left out are named; they never count as zero, and the period keeps its whole price. What
late usage changes of bills that were made is on it, as it will be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock
from invoices import composing, correcting, facts, forecast, items, rating, schedule, subscriptions
from invoices.bill_lines import BillLine
from invoices.models import Subscription
from invoices.periods import Period
from invoices.rating import Facts, UsageTotal
from invoices.schedule import Agenda, DueBill, Item, Span
from invoices.subscriptions import NoSubscription


@dataclass(frozen=True, slots=True)
class Unread:
    """Days of a meter that the bill will count and that are not read yet."""

    meter: str
    days: Period


@dataclass(frozen=True, slots=True)
class Upcoming:
    """The next bill so far; its lines are what the bill's would be if nothing more were used."""

    bill_on: date
    period: Period
    currency: str
    lines: tuple[BillLine, ...]
    subtotal_minor: int
    tax_minor: int
    unread: tuple[Unread, ...]
    as_of: datetime

    @property
    def total_minor(self) -> int:
        """The lines with their tax."""
        return self.subtotal_minor + self.tax_minor


def upcoming(
    *,
    control_session: Session,
    subscription: Subscription,
    now: datetime,
    usage_session: Session | None = None,
) -> Upcoming | None:
    """This function will work out the next bill so far; None when no bill is to come."""
    found, prices = items.of_subscriptions(
        control_session=control_session, subscription_ids=[subscription.id]
    )
    bill = _next_bill(control_session, subscription, found[subscription.id], now)
    spans = [_ended(span, now) for span in bill.spans] if bill else []
    known = facts.gather(
        control_session=control_session,
        usage_session=usage_session,
        spans=[(subscription.tenant_id, span) for span in spans if span.start < now],
    )
    find = _finder(known.of(subscription.tenant_id), now)
    account = forecast.account_ahead(
        control_session=control_session,
        subscription=subscription,
        prices=prices,
        bills=[bill] if bill else [],
        facts=find,
    )
    bills = correcting.ahead(
        control_session=control_session,
        usage_session=usage_session,
        subscription=subscription,
        account=account,
        items=found[subscription.id],
        bills=[bill] if bill else [],
        today=clock.today(now, subscription.timezone),
    )
    if not bills:
        return None
    return _so_far(subscription, bills[0], spans if bills[0] is bill else [], account, now)


def _so_far(
    subscription: Subscription,
    bill: DueBill,
    spans: Sequence[Span],
    account: composing.Account,
    now: datetime,
) -> Upcoming:
    cut = [_read(span, account.facts) for span in spans]
    composed = composing.compose(
        bill=DueBill(bill.bill_on, bill.period, tuple(cut)), account=account
    )
    return Upcoming(
        bill_on=bill.bill_on,
        period=bill.period,
        currency=subscription.currency,
        lines=composed.lines,
        subtotal_minor=composed.subtotal_minor,
        tax_minor=composed.tax_minor,
        unread=tuple(_unread(zip(spans, cut, strict=True))),
        as_of=now,
    )


def of_tenant(
    *,
    control_session: Session,
    tenant_id: UUID,
    now: datetime,
    usage_session: Session | None = None,
) -> Upcoming | None:
    """This function will work out the next bill so far of a tenant's current subscription.

    Raises: subscriptions.NoSubscription.
    """
    subscription = subscriptions.active(control_session=control_session, tenant_id=tenant_id)
    if subscription is None:
        raise NoSubscription("This tenant has no subscription: no bill is to come.")
    return upcoming(
        control_session=control_session,
        subscription=subscription,
        now=now,
        usage_session=usage_session,
    )


def _next_bill(
    control_session: Session, subscription: Subscription, found: Sequence[Item], now: datetime
) -> DueBill | None:
    """This function will return the first bill that is not made yet, due already or to come."""
    billed = items.billed(control_session=control_session, subscription_ids=[subscription.id])

    def look(day: date) -> Agenda:
        return schedule.agenda(
            items=found, billed=billed, timezone=subscription.timezone, today=day
        )

    agenda = look(clock.today(now, subscription.timezone))
    if not agenda.bills and agenda.next_bill_on is not None:
        agenda = look(agenda.next_bill_on)
    return agenda.bills[0] if agenda.bills else None


def _counts_events(span: Span) -> bool:
    charge = span.item.charge
    return span.kind == "charge" and charge.meter is not None and not charge.from_readings


def _ended(span: Span, now: datetime) -> Span:
    """This function will end a span of pushed events now; its price stays the whole period's."""
    begun = _counts_events(span) and span.start < now < span.end
    return replace(span, end=now) if begun else span


def _finder(known: Callable[[Span], Facts], now: datetime) -> Callable[[Span], Facts]:
    def find(span: Span) -> Facts:
        if _counts_events(span) and span.start >= now:
            nothing = UsageTotal(
                meter=str(span.item.charge.meter),
                meter_version=0,
                start=span.start,
                end=span.end,
                quantity=Decimal(0),
                transactions=0,
                sha256="",
            )
            return Facts(total=nothing)
        return known(span)

    return find


def _read(span: Span, find: Callable[[Span], Facts]) -> Span:
    """This function will keep the days of a span up to the first that is not read."""
    days = span.stretch.days
    if span.kind != "charge" or not span.item.charge.from_readings or days is None:
        return span
    missing = rating.missing_days(
        charge=span.item.charge, stretch=span.stretch, readings=find(span).readings
    )
    if not missing:
        return span
    so_far = Period(days.start, missing[0]) if days.start < missing[0] else None
    return replace(span, stretch=replace(span.stretch, days=so_far))


def _unread(spans: Iterable[tuple[Span, Span]]) -> Iterator[Unread]:
    for whole, read in spans:
        days, so_far = whole.stretch.days, read.stretch.days
        if days is not None and days != so_far:
            first = so_far.end if so_far else days.start
            yield Unread(str(whole.item.charge.meter), Period(first, days.end))
