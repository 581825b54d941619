"""The ledger: balanced double entries, appended once for each cause and never changed.

| kind        | debit                             | credit                          | cause       |
| issue       | receivable, credits (used)        | revenue, deferred_revenue,      | invoice     |
|             |                                   | vat_payable, credits (carried)  |             |
| void        | what the issue credits, as it is earned by then | receivable        | invoice     |
| recognition | deferred_revenue                  | revenue                         | recognition |
| payment     | cash, or credits where those paid | receivable, credits (too much)  | payment     |
| reversal    | what its payment credits          | what its payment debits, or     | reversal    |
|             |                                   | differences for a lost dispute  |             |
| credit_note | revenue, deferred_revenue,        | receivable, refunds, credits    | credit_note |
|             | vat_payable                       |                                 |             |
| refund      | refunds                           | cash                            | refund      |
| refund_kept | refunds                           | credits                         | refund      |
| write_off   | write_offs                        | receivable                      | write_off   |
| grant       | cash                              | credits                         | credit_grant|
| grant_end   | credits                           | revenue, or cash if taken back  | credit_end  |
| fee         | fees, vat_receivable              | cash                            | settlement  |
| payout      | cash (the bank)                   | cash (the gateway)              | settlement  |
| dispute     | differences                       | cash                            | settlement  |
| difference  | differences, or the opposite      | what it was booked on           | settlement  |

`cash` has a place: the merchant account's code, or "manual" for our own bank. `credits` is what we
owe customers: paid ahead, paid too much, or carried over; what was given for nothing is not in it
and makes revenue smaller where it is used. `refunds` is what we have still to send back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import bulk, clock, ids
from app.base.config import settings
from invoices import closing_lock
from invoices.models import LedgerEntry, LedgerLine, Payment


class Side(NamedTuple):
    """A debit or a credit of one account; cash also says where it lies."""

    account: str
    debit_minor: int
    credit_minor: int
    place: str | None = None


def debit(account: str, amount_minor: int, place: str | None = None) -> Side:
    """This function will debit an account; a negative amount is a credit."""
    if amount_minor < 0:
        return Side(account, 0, -amount_minor, place)
    return Side(account, amount_minor, 0, place)


def credit(account: str, amount_minor: int, place: str | None = None) -> Side:
    """This function will credit an account; a negative amount is a debit."""
    return debit(account, -amount_minor, place)


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One entry to be; sides of nothing are left out.

    `tenant_id` is None for what is nobody's alone, `booked_on` for what is booked on the day it is
    written. One for a day in a closed month is booked on the first open day after it.
    """

    kind: str
    cause_id: UUID
    tenant_id: UUID | None
    currency: str
    sides: tuple[Side, ...]
    booked_on: date | None = None


@dataclass(frozen=True, slots=True)
class Balance:
    """What stands on one account in one currency."""

    currency: str
    account: str
    debit_minor: int
    credit_minor: int


def book_payment(*, control_session: Session, payment: Payment, now: datetime) -> None:
    """This function will book money that came in for an invoice."""
    booking = Booking(
        kind="payment",
        cause_id=payment.id,
        tenant_id=payment.tenant_id,
        currency=payment.currency,
        sides=(
            (
                debit("credits", payment.amount_minor)
                if payment.kind == "credit"
                else debit("cash", payment.amount_minor, payment.gateway)
            ),
            credit("receivable", payment.settled_minor),
            credit("credits", payment.amount_minor - payment.settled_minor),
        ),
    )
    post(control_session=control_session, bookings=[booking], now=now)


def book_reversal(
    *,
    control_session: Session,
    payment: Payment,
    reversal_id: UUID,
    amount_minor: int,
    day: date,
    now: datetime,
    disputed: bool = False,
) -> None:
    """This function will book that a payment's money is not there any more.

    Of a dispute the gateway's own line takes the cash, against the differences: they are made even.
    `amount_minor`: what went; the rest of the payment was refunded, out of what it settled.
    """
    refunded = payment.amount_minor - amount_minor
    gone = credit("cash", amount_minor, payment.gateway)
    if payment.kind == "credit":
        gone = credit("credits", amount_minor)
    elif disputed:
        gone = credit("differences", amount_minor)
    booking = Booking(
        kind="reversal",
        cause_id=reversal_id,
        tenant_id=payment.tenant_id,
        currency=payment.currency,
        sides=(
            debit("receivable", payment.settled_minor - refunded),
            debit("credits", payment.amount_minor - payment.settled_minor),
            gone,
        ),
        booked_on=day,
    )
    post(control_session=control_session, bookings=[booking], now=now)


def post(*, control_session: Session, bookings: Sequence[Booking], now: datetime) -> None:
    """This function will append entries; one whose kind and cause are booked already is left out.

    An entry of nothing (an invoice over zero) has no sides and is not written.
    """
    control_session.flush()
    wanted = {
        (each.kind, each.cause_id): each
        for each in bookings
        if any(side.debit_minor or side.credit_minor for side in each.sides)
    }
    if not wanted:
        return
    days = _days(control_session, wanted.values(), now)
    entries = [_entry(booking, days, now) for booking in wanted.values()]
    statement = postgresql.insert(LedgerEntry).on_conflict_do_nothing(
        index_elements=["kind", "cause_id"]
    )
    written = control_session.execute(
        statement.returning(LedgerEntry.id, LedgerEntry.kind, LedgerEntry.cause_id), entries
    )
    lines = [
        {
            "id": ids.uuid7(),
            "entry_id": entry_id,
            "account": side.account,
            "place": side.place,
            "debit_minor": side.debit_minor,
            "credit_minor": side.credit_minor,
        }
        for entry_id, kind, cause_id in written
        for side in wanted[kind, cause_id].sides
        if side.debit_minor or side.credit_minor
    ]
    if lines:
        control_session.execute(insert(LedgerLine), lines)


def append(*, control_session: Session, bookings: Sequence[Booking], now: datetime) -> None:
    """This function will append entries of causes that are new, by COPY.

    The database refuses one whose kind and cause are booked already.
    """
    entries, lines = [], []
    days = _days(control_session, bookings, now)
    for each in bookings:
        sides = [side for side in each.sides if side.debit_minor or side.credit_minor]
        if not sides:
            continue
        entry = _entry(each, days, now)
        entries.append(tuple(entry.values()))
        lines += [(ids.uuid7(), entry["id"], *side) for side in sides]
    if entries:
        bulk.copy(
            control_session=control_session, table="ledger_entry", columns=list(entry), rows=entries
        )
        bulk.copy(
            control_session=control_session,
            table="ledger_line",
            columns=("id", "entry_id", "account", "debit_minor", "credit_minor", "place"),
            rows=lines,
        )


def _days(
    control_session: Session, bookings: Iterable[Booking], now: datetime
) -> dict[date | None, date]:
    """The day that each wished-for day becomes; only days of months gone by can be closed."""
    today = clock.today(now, settings().contract_timezone)
    wanted = {each.booked_on for each in bookings}
    return {None: today} | {
        day: closing_lock.first_open_day(control_session=control_session, day=day)
        if (day.year, day.month) < (today.year, today.month)
        else day
        for day in wanted
        if day is not None
    }


def _entry(booking: Booking, days: dict[date | None, date], now: datetime) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "tenant_id": booking.tenant_id,
        "kind": booking.kind,
        "cause_id": booking.cause_id,
        "currency": booking.currency,
        "booked_on": days[booking.booked_on],
        "booked_at": now,
    }


def trial_balance(*, control_session: Session, until: date | None = None) -> list[Balance]:
    """This function will add up every account by currency, up to and including a day."""
    debits_ = func.coalesce(func.sum(LedgerLine.debit_minor), 0)
    credits_ = func.coalesce(func.sum(LedgerLine.credit_minor), 0)
    query = (
        select(LedgerEntry.currency, LedgerLine.account, debits_, credits_)
        .join(LedgerEntry, LedgerEntry.id == LedgerLine.entry_id)
        .group_by(LedgerEntry.currency, LedgerLine.account)
        .order_by(LedgerEntry.currency, LedgerLine.account)
    )
    if until is not None:
        query = query.where(LedgerEntry.booked_on <= until)
    return [
        Balance(currency, account, int(debited), int(credited))
        for currency, account, debited, credited in control_session.execute(query)
    ]
