"""The ledger: balanced double entries, appended once for each cause and never changed.

| kind    | debit                | credit               | cause        |
| issue   | receivable           | revenue, vat_payable | the invoice  |
| payment | cash                 | receivable           | the payment  |
| void    | revenue, vat_payable | receivable           | the invoice  |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import bulk, clock, ids
from app.base.config import settings
from invoices.models import Invoice, LedgerEntry, LedgerLine, Payment
from invoices.sheets import Sheet

ACCOUNTS = ("receivable", "cash", "revenue", "vat_payable")


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """One entry to be: `sides` are (account, debit_minor, credit_minor); empty sides are left."""

    kind: str
    cause_id: UUID
    tenant_id: UUID
    currency: str
    sides: tuple[tuple[str, int, int], ...]


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
        sides=(("cash", payment.amount_minor, 0), ("receivable", 0, payment.amount_minor)),
    )
    post(control_session=control_session, bookings=[booking], now=now)


def book_void(*, control_session: Session, invoice: Invoice, now: datetime) -> None:
    """This function will book the opposite of an invoice's issue."""
    issued = issue_of(invoice)
    booking = Booking(
        kind="void",
        cause_id=invoice.id,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        sides=tuple((account, credit, debit) for account, debit, credit in issued.sides),
    )
    post(control_session=control_session, bookings=[booking], now=now)


def issue_of(invoice: Invoice | Sheet) -> Booking:
    """This function will return the entry that an invoice's issue makes."""
    return Booking(
        kind="issue",
        cause_id=invoice.id,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        sides=(
            ("receivable", invoice.total_minor, 0),
            ("revenue", 0, invoice.subtotal_minor),
            ("vat_payable", 0, invoice.tax_minor),
        ),
    )


def post(*, control_session: Session, bookings: Sequence[Booking], now: datetime) -> None:
    """This function will append entries; one whose kind and cause are booked already is left out.

    An entry of nothing (an invoice over zero) has no sides and is not written.
    """
    control_session.flush()
    wanted = {
        (each.kind, each.cause_id): each
        for each in bookings
        if any(debit or credit for _, debit, credit in each.sides)
    }
    if not wanted:
        return
    entries = [_entry(booking, now) for booking in wanted.values()]
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
            "account": account,
            "debit_minor": debit,
            "credit_minor": credit,
        }
        for entry_id, kind, cause_id in written
        for account, debit, credit in wanted[kind, cause_id].sides
        if debit or credit
    ]
    if lines:
        control_session.execute(insert(LedgerLine), lines)


def append(*, control_session: Session, bookings: Sequence[Booking], now: datetime) -> None:
    """This function will append entries of causes that are new, by COPY.

    The database refuses one whose kind and cause are booked already.
    """
    entries, lines = [], []
    for each in bookings:
        sides = [side for side in each.sides if side[1] or side[2]]
        if not sides:
            continue
        entry = _entry(each, now)
        entries.append(tuple(entry.values()))
        lines += [(ids.uuid7(), entry["id"], *side) for side in sides]
    if entries:
        bulk.copy(
            control_session=control_session, table="ledger_entry", columns=list(entry), rows=entries
        )
        bulk.copy(
            control_session=control_session,
            table="ledger_line",
            columns=("id", "entry_id", "account", "debit_minor", "credit_minor"),
            rows=lines,
        )


def _entry(booking: Booking, now: datetime) -> dict[str, Any]:
    return {
        "id": ids.uuid7(),
        "tenant_id": booking.tenant_id,
        "kind": booking.kind,
        "cause_id": booking.cause_id,
        "currency": booking.currency,
        "booked_on": clock.today(now, settings().contract_timezone),
        "booked_at": now,
    }


def trial_balance(*, control_session: Session, until: date | None = None) -> list[Balance]:
    """This function will add up every account by currency, up to and including a day."""
    debit = func.coalesce(func.sum(LedgerLine.debit_minor), 0)
    credit = func.coalesce(func.sum(LedgerLine.credit_minor), 0)
    query = (
        select(LedgerEntry.currency, LedgerLine.account, debit, credit)
        .join(LedgerEntry, LedgerEntry.id == LedgerLine.entry_id)
        .group_by(LedgerEntry.currency, LedgerLine.account)
        .order_by(LedgerEntry.currency, LedgerLine.account)
    )
    if until is not None:
        query = query.where(LedgerEntry.booked_on <= until)
    return [
        Balance(currency, account, int(debits), int(credits_))
        for currency, account, debits, credits_ in control_session.execute(query)
    ]
