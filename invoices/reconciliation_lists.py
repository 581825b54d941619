"""Accounts whose gateway shows no settlements, only its payments: those are held against ours.

Each payment is a line of the gateway's books without fees, and what went back of it is held
against our refunds. Fees and payouts stay unknown: our cash there is what was paid, before both.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.money import Money
from invoices import reconciliation_matching as matching
from invoices import reconciliation_money_back as money_back
from invoices.gateways.port import Gateway, SettlementKind, SettlementLine, Succeeded
from invoices.models import Payment, ReconciliationDifference, Refund
from invoices.reconciliation_differences import of_payment, raise_one, turn_up, was_given_up


def paid(*, at: Gateway, start: date, end: date) -> Iterator[Succeeded]:
    """This function will read every payment of the days [start, end], as the contract counts days.

    Call it in no transaction. Raises: GatewayUnavailable.
    """
    zone = ZoneInfo(settings().contract_timezone)
    first = datetime.combine(start, time(), zone)
    after = datetime.combine(end + timedelta(days=1), time(), zone)
    return at.list_payments(start=first, end=after)


def as_line(told: Succeeded) -> SettlementLine:
    """This function will make a line of the gateway's books of a payment that it lists."""
    nothing = Money(0, told.amount.currency)
    return SettlementLine(
        line_id=f"payment:{told.gateway_payment_id}",
        kind=SettlementKind.PAYMENT,
        gross=told.amount,
        fee=nothing,
        fee_tax=nothing,
        net=told.amount,
        booked_on=clock.today(told.approved_at, settings().contract_timezone),
        gateway_payment_id=told.gateway_payment_id,
        order_id=told.order_id,
    )


def compare_refunds(
    *, control_session: Session, gateway: str, told: Succeeded, now: datetime
) -> None:
    """This function will hold what went back of a payment against our own refunds of it."""
    known = matching.payment_named(
        control_session=control_session,
        gateway=gateway,
        payment_id=told.gateway_payment_id,
        order_id=told.order_id,
    )
    if known is None:
        return
    money_back.went_back(
        control_session=control_session, payment=known, in_all=told.refunded, now=now
    )
    untold = _refunded_minor(control_session, known, now) - told.refunded.amount_minor
    _never_told(control_session, known, untold, now)


def _never_told(control_session: Session, payment: Payment, untold: int, now: datetime) -> None:
    """One difference over all that is missing now: one over another sum has turned up in part."""
    prefix = f"missing_there:refunds:{payment.id}:"
    known = control_session.scalars(
        select(ReconciliationDifference).where(
            ReconciliationDifference.payment_id == payment.id,
            ReconciliationDifference.key.startswith(prefix),
        )
    ).all()
    given_up = [
        each.amount_minor
        for each in known
        if was_given_up(control_session=control_session, key=each.key)
    ]
    missing = untold - sum(given_up)
    for each in known:
        if each.amount_minor != missing:
            turn_up(control_session=control_session, key=each.key, now=now)
    if missing > 0:
        raise_one(
            control_session=control_session,
            found=of_payment(
                payment,
                key=f"{prefix}{untold}",
                kind="missing_there",
                cause="never_told",
                amount_minor=missing,
                day=clock.today(now, settings().contract_timezone),
            ),
            now=now,
        )


def _refunded_minor(control_session: Session, payment: Payment, now: datetime) -> int:
    """What we sent back a day ago or longer: what left since may be read before it is there."""
    sent = control_session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id == payment.id,
            Refund.state == "succeeded",
            Refund.sent_from == payment.gateway,
            Refund.finished_at < now - timedelta(days=1),
        )
    )
    return int(sent or 0)
