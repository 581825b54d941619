"""Correcting: what late usage changes of earlier bills, laid on the accounts of bills to come.

The billing run and whoever looks ahead of it do the same: what is shown is what is billed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from uuid import UUID

from sqlalchemy.orm import Session

from invoices import billed_commitments, discounted_bills, late_usage
from invoices.charges import Offered
from invoices.composing import Account
from invoices.models import Subscription
from invoices.schedule import DueBill, Item


def lay_on(
    *,
    control_session: Session,
    usage_session: Session | None,
    accounts: Mapping[UUID, Account],
    bill_days: Mapping[UUID, date],
    timezones: Mapping[UUID, str],
    items: Mapping[UUID, Sequence[Item]],
    prices: Mapping[UUID, Offered],
) -> dict[UUID, DueBill]:
    """This function will lay late usage on accounts, with its minimums and coupons.

    The first bill that is composed from an account has it. What it returns are the bills of it
    alone, by subscription, for those that have no other to be on.
    """
    changed = late_usage.adjustments(
        control_session=control_session,
        usage_session=usage_session,
        bill_days=bill_days,
        timezones=timezones,
        items=items,
        prices=prices,
        currencies={key: account.currency for key, account in accounts.items()},
    )
    histories = billed_commitments.read(
        control_session=control_session,
        timezones=timezones,
        items={item.item_id: item for each in items.values() for item in each},
        subscription_ids={key for key in changed if committed(items.get(key, ()))},
    )
    alone = {}
    for key, lines in changed.items():
        accounts[key].adjustments.extend(lines)
        accounts[key].topped.extend(histories[key].standing())
        bill = late_usage.bill_of(bill_on=bill_days[key], lines=lines)
        if bill is not None:
            alone[key] = bill
    discounted_bills.lay_on(
        control_session=control_session, accounts=[accounts[key] for key in changed]
    )
    return alone


def ahead(
    *,
    control_session: Session,
    usage_session: Session | None,
    subscription: Subscription,
    account: Account,
    items: Sequence[Item],
    bills: Sequence[DueBill],
    today: date,
) -> Sequence[DueBill]:
    """This function will lay the late usage known by now on the first of the bills to come.

    Where it is looked for before the first of them, what comes to money is a bill before it.
    """
    look = subscription.next_correction_on
    first = bills[0].bill_on if bills else None
    days = [day for day in (first, look) if day is not None]
    if not days or not by_event(items):
        return bills
    alone = lay_on(
        control_session=control_session,
        usage_session=usage_session,
        accounts={subscription.id: account},
        bill_days={subscription.id: min(days)},
        timezones={subscription.id: subscription.timezone},
        items={subscription.id: items},
        prices=account.prices,
    )
    before = first is None or (look is not None and today < first and look < first)
    if before and subscription.id in alone:
        return (alone[subscription.id], *bills)
    return bills


def by_event(items: Iterable[Item]) -> bool:
    """This function will tell whether any of these is priced by events that were pushed."""
    return any(item.charge.meter is not None and not item.charge.from_readings for item in items)


def committed(items: Iterable[Item]) -> bool:
    """This function will tell whether a minimum was agreed upon with any of these."""
    return any(item.charge.kind == "commitment" for item in items)
