"""Reconciliation: each day, a gateway's books against ours, line by line.

`ask` writes down that a day of a merchant account is to be held against our books; `begin` reads
what is asked, `perform` reads the gateway's lines (in no transaction), `take` keeps one line with
what it stands for, its bookings and its difference, in a transaction of its own, and `finish` says
what the gateway should have told of by now and did not. A line is taken once, whoever dies where.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, select, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, TenantryError
from invoices import reconciliation_bookings as bookings
from invoices import reconciliation_lists
from invoices import reconciliation_matching as matching
from invoices import reconciliation_missing as missing
from invoices.gateways import registry
from invoices.gateways.port import Capability, Succeeded
from invoices.gateways.port import SettlementLine as Told
from invoices.models import (
    GatewayAccount,
    LedgerEntry,
    PaymentMethod,
    ReconciliationDay,
    ReconciliationDifference,
    SettlementLine,
)
from invoices.reconciliation_differences import is_open, of_line, raise_one

LATE_AT_ONCE = 500
# Before any gateway was: a slip of the keyboard, whose week before may not even exist.
FIRST_DAY = date(2000, 1, 1)


class TellsNothing(Conflict):
    """The gateway has no books that it shows."""


class TooLongAgo(Invalid):
    """No gateway was there that day."""


@dataclass(frozen=True, slots=True)
class Question:
    """A day of one account, as it was asked for."""

    day_id: UUID
    gateway: str
    day: date
    asked_at: datetime


def accounts(*, control_session: Session) -> list[str]:
    """This function will list the codes of the accounts whose gateways show their books."""
    return [code for code in _codes(control_session) if tells(code)]


def _codes(control_session: Session) -> list[str]:
    stored = control_session.scalars(select(GatewayAccount.code).order_by(GatewayAccount.code))
    used = exists().where(PaymentMethod.gateway == "sandbox")
    sandbox = settings().gateway == "sandbox" or control_session.scalar(select(used))
    return [*(["sandbox"] if sandbox else []), *stored]


def coverage(*, control_session: Session) -> dict[str, str]:
    """This function will say by which of its books each account is held against ours.

    "settlements", line by line; "payments", without fees and payouts; or "nothing".
    """
    return {
        code: "settlements" if _settles(code) else "payments" if tells(code) else "nothing"
        for code in _codes(control_session)
    }


def tells(code: str) -> bool:
    """This function will tell whether an account's gateway shows its books, or its payments.

    Raises: NoSuchGateway.
    """
    return _settles(code) or Capability.LIST_PAYMENTS in registry.gateway(code).capabilities


def _settles(code: str) -> bool:
    return Capability.SETTLEMENTS in registry.gateway(code).capabilities


def ask(*, control_session: Session, gateway: str, day: date, now: datetime) -> UUID:
    """This function will have a day of an account held against our books, again if need be.

    Raises: NoSuchGateway, TellsNothing, TooLongAgo.
    """
    if day < FIRST_DAY:
        raise TooLongAgo("No gateway's books go back that far.", field="day")
    if not tells(gateway):
        raise TellsNothing("This gateway does not show its books.")
    anew = {"asked_at": now, "done_at": None, "attempts": 0, "retry_at": None}
    day_id: UUID = control_session.execute(
        postgresql.insert(ReconciliationDay)
        .values(id=ids.uuid7(), gateway=gateway, day=day, asked_at=now)
        .on_conflict_do_update(index_elements=["gateway", "day"], set_=anew)
        .returning(ReconciliationDay.id)
    ).scalar_one()
    notify(control_session, "reconciliation")
    return day_id


def ask_all(*, control_session: Session, day: date, now: datetime) -> int:
    """This function will ask for a day of every account whose gateway shows its books."""
    codes = accounts(control_session=control_session)
    for code in codes:
        ask(control_session=control_session, gateway=code, day=day, now=now)
    return len(codes)


def due() -> ColumnElement[bool]:
    """This function will return the condition that a day waits to be held against our books."""
    return ReconciliationDay.done_at.is_(None)


def begin(*, control_session: Session, day_id: UUID) -> Question | None:
    """This function will read what is asked; None when it is done meanwhile."""
    row = control_session.get_one(ReconciliationDay, day_id, populate_existing=True)
    if row.done_at is not None:
        return None
    return Question(row.id, row.gateway, row.day, row.asked_at)


def perform(*, question: Question) -> Iterator[Told | Succeeded]:
    """This function will read the gateway's lines, of that day and the days before it.

    Where it shows no settlements, its payments.

    Call it in no transaction. Raises: GatewayUnavailable.
    """
    first = question.day - timedelta(days=missing.DAYS_BACK)
    at = registry.gateway(question.gateway)
    if Capability.SETTLEMENTS in at.capabilities:
        return at.settlements(start=first, end=question.day)
    return reconciliation_lists.paid(at=at, start=first, end=question.day)


def take(*, control_session: Session, gateway: str, told: Told | Succeeded, now: datetime) -> bool:
    """This function will keep one line, once: matched, booked and, where it differs, shown.

    True when the line is new. A payment of a list is such a line, and says what went back of it.
    """
    if isinstance(told, Succeeded):
        line = reconciliation_lists.as_line(told)
        new = _take(control_session, gateway, line, now)
        reconciliation_lists.compare_refunds(
            control_session=control_session, gateway=gateway, told=told, now=now
        )
        return new
    return _take(control_session, gateway, told, now)


def _take(control_session: Session, gateway: str, told: Told, now: datetime) -> bool:
    control_session.flush()
    line_id = control_session.scalar(
        postgresql.insert(SettlementLine)
        .values(id=ids.uuid7(), gateway=gateway, read_at=now, **_columns(told))
        .on_conflict_do_nothing(index_elements=["gateway", "line_id"])
        .returning(SettlementLine.id)
    )
    if line_id is None:
        _compare(control_session, gateway, told, now)
        return False
    line = control_session.get_one(SettlementLine, line_id)
    matching.match(control_session=control_session, line=line, now=now)
    bookings.book_line(control_session=control_session, line=line, now=now)
    return True


def _columns(told: Told) -> dict[str, object]:
    return {
        "line_id": told.line_id,
        "kind": told.kind.value,
        "currency": told.gross.currency,
        "gross_minor": told.gross.amount_minor,
        "fee_minor": told.fee.amount_minor,
        "fee_tax_minor": told.fee_tax.amount_minor,
        "net_minor": told.net.amount_minor,
        "booked_on": told.booked_on,
        "paid_out_on": told.paid_out_on,
        "gateway_payment_id": told.gateway_payment_id,
        "order_id": told.order_id,
    }


def _compare(control_session: Session, gateway: str, told: Told, now: datetime) -> None:
    """A line that is known says the same again, or a person looks; only its payout may be new."""
    line = control_session.scalars(
        select(SettlementLine)
        .where(SettlementLine.gateway == gateway, SettlementLine.line_id == told.line_id)
        .with_for_update()
    ).one()
    if line.paid_out_on is None and told.paid_out_on is not None:
        line.paid_out_on = told.paid_out_on
    said = {name: getattr(line, name) for name in _columns(told)}
    other = sorted(name for name, value in _columns(told).items() if value != said[name])
    if other:
        raise_one(
            control_session=control_session,
            found=of_line(
                line,
                key=f"changed:{line.id}:{','.join(other)}",
                kind="changed",
                cause="told_otherwise",
            ),
            now=now,
        )


def finish(*, control_session: Session, question: Question, lines: int, now: datetime) -> None:
    """This function will say what the gateway never told of, and that the day is done.

    A day asked for anew in between stays due.
    """
    _pay_out(control_session, question, now)
    _look_again(control_session, question.gateway, now)
    missing.look(
        control_session=control_session,
        gateway=question.gateway,
        day=question.day,
        settles=_settles(question.gateway),
        now=now,
    )
    control_session.execute(
        update(ReconciliationDay)
        .where(
            ReconciliationDay.id == question.day_id,
            ReconciliationDay.asked_at == question.asked_at,
        )
        .values(done_at=now, lines_count=lines)
        .execution_options(synchronize_session=False)
    )


def _pay_out(control_session: Session, question: Question, now: datetime) -> None:
    """Where there are no lines for payouts, each line says when its net is paid out."""
    booked = exists().where(LedgerEntry.kind == "payout", LedgerEntry.cause_id == SettlementLine.id)
    lines = control_session.scalars(
        select(SettlementLine).where(
            SettlementLine.gateway == question.gateway,
            SettlementLine.kind != "payout",
            SettlementLine.paid_out_on <= question.day,
            SettlementLine.net_minor != 0,
            ~booked,
        )
    )
    for line in lines:
        bookings.book_paid_out(control_session=control_session, line=line, now=now)


def _look_again(control_session: Session, gateway: str, now: datetime) -> None:
    """A line may have come before our own news of the payment did."""
    waiting = control_session.scalars(
        select(SettlementLine)
        .join(
            ReconciliationDifference,
            and_(
                ReconciliationDifference.id == SettlementLine.difference_id,
                ReconciliationDifference.kind == "missing_here",
            ),
        )
        .where(SettlementLine.gateway == gateway, is_open())
        .order_by(ReconciliationDifference.found_at)
        .limit(LATE_AT_ONCE)
        .with_for_update(of=SettlementLine)
    ).all()
    for line in waiting:
        matching.match_late(control_session=control_session, line=line, now=now)


def heard_of(*, control_session: Session, gateway: str, now: datetime) -> UUID | None:
    """This function will ask for today's lines, since the gateway says that something moved."""
    try:
        day = clock.today(now, settings().contract_timezone)
        return ask(control_session=control_session, gateway=gateway, day=day, now=now)
    except TenantryError:
        # An account that shows no books, or is gone, has nothing to be read.
        return None


def work_list(
    *, control_session: Session, gateway: str | None = None, limit: int
) -> list[ReconciliationDifference]:
    """This function will list the differences that nobody settled, oldest first."""
    query = select(ReconciliationDifference).where(is_open())
    if gateway is not None:
        query = query.where(ReconciliationDifference.gateway == gateway)
    oldest_first = (ReconciliationDifference.day, ReconciliationDifference.id)
    return list(control_session.scalars(query.order_by(*oldest_first).limit(limit)))
