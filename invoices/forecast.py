"""Forecast: what will be billed when, and what a change would do to that, before it is made.

The same schedule, rating and composing as the billing run, looking ahead. Usage is not known
beforehand: charges that a meter counts are named and left open. What came late is known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock, ids
from invoices import composing, correcting, coupon_uses, credits, items, parties, periods, schedule
from invoices.bill_lines import BillLine, names_of
from invoices.charges import Offered
from invoices.models import Subscription
from invoices.periods import Period
from invoices.rating import NO_FACTS, Facts
from invoices.schedule import DueBill, Item, Span
from invoices.spending import carry
from tenants import rescue
from tenants.models import Tenant

# As far as people plan: a year and the bill that ends it.
MONTHS_AHEAD = 12
BILLS_MAX = 24


@dataclass(frozen=True, slots=True)
class OpenCharge:
    """A charge whose amount depends on usage to come."""

    names: tuple[str, str]
    period: Period


@dataclass(frozen=True, slots=True)
class ComingBill:
    """One bill to come: its known lines with tax, and what usage will add."""

    bill_on: date
    lines: tuple[BillLine, ...]
    by_usage: tuple[OpenCharge, ...]
    subtotal_minor: int
    tax_minor: int

    @property
    def total_minor(self) -> int:
        """The known lines with their tax."""
        return self.subtotal_minor + self.tax_minor


@dataclass(frozen=True, slots=True)
class Preview:
    """What a change does: the bill of today with it, and the first bills after, both ways."""

    today: ComingBill | None
    before: ComingBill | None
    after: ComingBill | None


def coming_bills(
    *, control_session: Session, subscription: Subscription, until: date, bills_max: int = BILLS_MAX
) -> list[ComingBill]:
    """This function will return the bills of a subscription that are not made yet, up to a day."""
    found, prices = items.of_subscriptions(
        control_session=control_session, subscription_ids=[subscription.id]
    )
    return bills_of_items(
        control_session=control_session,
        subscription=subscription,
        in_force=found[subscription.id],
        prices=prices,
        until=until,
        bills_max=bills_max,
    )


def bills_of_items(
    *,
    control_session: Session,
    subscription: Subscription,
    in_force: Sequence[Item],
    prices: Mapping[UUID, Offered],
    until: date,
    bills_max: int = BILLS_MAX,
    usage_session: Session | None = None,
    now: datetime | None = None,
) -> list[ComingBill]:
    """This function will do the same for who has read the subscription's items already.

    With a `usage_session` late usage that is known `now` is on the first bill, or is one before it.
    """
    left, billed = items.ahead(
        control_session=control_session, subscription=subscription, items=in_force
    )
    agenda = schedule.agenda(
        items=left,
        billed=billed,
        timezone=subscription.timezone,
        today=until,
    )
    account = account_ahead(
        control_session=control_session,
        subscription=subscription,
        prices=prices,
        bills=agenda.bills,
        facts=lambda _span: NO_FACTS,
    )
    bills: Sequence[DueBill] = agenda.bills
    if usage_session is not None and now is not None:
        bills = correcting.ahead(
            control_session=control_session,
            usage_session=usage_session,
            subscription=subscription,
            account=account,
            items=in_force,
            bills=bills,
            today=clock.today(now, subscription.timezone),
        )
    return [_coming(bill, account) for bill in bills[:bills_max]]


def account_ahead(
    *,
    control_session: Session,
    subscription: Subscription,
    prices: Mapping[UUID, Offered],
    bills: Sequence[DueBill],
    facts: Callable[[Span], Facts],
) -> composing.Account:
    """This function will read what bills to come are composed from, and lock nothing."""
    tenant_id = subscription.tenant_id
    grants = credits.open_grants(
        control_session=control_session, tenant_ids=[tenant_id], lock=False
    )
    coupons = coupon_uses.of_subscriptions(
        control_session=control_session, subscriptions=[(subscription.id, tenant_id)], lock=False
    )
    # Years of billed lines are read only where a commitment counts them.
    counted = [subscription.id] if composing.counts_billed(bills) else []
    amounts = items.billed_amounts(control_session=control_session, subscription_ids=counted)
    tenant = control_session.get_one(Tenant, tenant_id)
    return composing.Account(
        currency=subscription.currency,
        terms=parties.vat_terms(parties.buyer_snapshot(tenant=tenant, email="")),
        prices=prices,
        facts=facts,
        billed=amounts[subscription.id],
        given=coupon_uses.given(
            control_session=control_session,
            spans=[span for bill in bills for span in bill.spans],
        ),
        coupons=coupons[subscription.id],
        grants=grants[tenant_id, subscription.currency],
    )


def preview(
    *,
    control_session: Session,
    subscription: Subscription,
    change: Callable[[], object],
    now: datetime,
) -> Preview:
    """This function will make a change, look ahead, and undo it: nothing of it stays.

    Raises: whatever the change raises.
    """
    today = clock.today(now, subscription.timezone)
    until = periods.months_after(today, MONTHS_AHEAD + 1)

    def look() -> list[ComingBill]:
        return coming_bills(
            control_session=control_session, subscription=subscription, until=until, bills_max=3
        )

    before = look()
    savepoint = control_session.begin_nested()
    try:
        change()
        control_session.flush()
        after = look()
    finally:
        savepoint.rollback()
        control_session.expire_all()
    return Preview(
        today=next((bill for bill in after if bill.bill_on <= today), None),
        before=next((bill for bill in before if bill.bill_on > today), None),
        after=next((bill for bill in after if bill.bill_on > today), None),
    )


def of_beginning(
    *,
    control_session: Session,
    tenant_id: UUID,
    begin: Callable[[], Subscription],
    until: date,
    bills_max: int,
    now: datetime,
) -> list[ComingBill]:
    """This function will begin a tenant's subscription, return its first bills, and undo it again.

    Raises: whatever beginning it raises.
    """
    savepoint = control_session.begin_nested()
    try:
        rescue.suppose_called_off(control_session=control_session, tenant_id=tenant_id, now=now)
        subscription = begin()
        control_session.flush()
        return coming_bills(
            control_session=control_session,
            subscription=subscription,
            until=until,
            bills_max=bills_max,
        )
    finally:
        savepoint.rollback()
        control_session.expire_all()


def _coming(bill: DueBill, account: composing.Account) -> ComingBill:
    known = tuple(span for span in bill.spans if span.item.charge.meter is None)
    lines: Sequence[BillLine] = ()
    tax_minor = 0
    if known or account.adjustments:
        part = DueBill(bill.bill_on, bill.period, known)
        composed = composing.compose(bill=part, account=account)
        lines, tax_minor = composed.lines, composed.tax_minor
        carry(grants=account.grants, grant_id=ids.uuid7(), amount_minor=composed.carried_minor)
    return ComingBill(
        bill_on=bill.bill_on,
        lines=tuple(lines),
        by_usage=tuple(
            OpenCharge(names_of(span.item.charge), span.stretch.shown)
            for span in bill.spans
            if span.item.charge.meter is not None
        ),
        subtotal_minor=sum(line.amount_minor for line in lines),
        tax_minor=tax_minor,
    )
