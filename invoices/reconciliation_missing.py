"""What a gateway should have told of by now and did not: payments, refunds, and what went back."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from invoices.models import (
    Payment,
    PaymentReversal,
    ReconciliationDay,
    ReconciliationDifference,
    Refund,
    SettlementLine,
)
from invoices.payment_standing import stands
from invoices.reconciliation_differences import Found, is_open, of_payment, raise_one

# How long a gateway may take to tell of a payment: so far back each day's report is read again,
# and what it has not told of by then is missing there.
DAYS_BACK = 7
Days = tuple[date, date]


def look(
    *, control_session: Session, gateway: str, day: date, now: datetime, settles: bool = True
) -> None:
    """This function will put on the work list what the gateway's books up to a day leave out.

    One that does not settle has no lines of what went back: its payments say it.
    """
    days = _time_is_up(control_session, gateway, day)
    _missing_payments(control_session, gateway, days, now)
    if settles:
        _missing_refunds(control_session, gateway, days, now)
        _missing_reversals(control_session, gateway, days, now)


def _time_is_up(control_session: Session, gateway: str, day: date) -> Days:
    """From the first day that was ever asked for to the last of which all should be told."""
    first = control_session.scalar(
        select(func.min(ReconciliationDay.day)).where(ReconciliationDay.gateway == gateway)
    )
    return first or day, day - timedelta(days=DAYS_BACK)


def _missing_payments(control_session: Session, gateway: str, days: Days, now: datetime) -> None:
    told = exists().where(SettlementLine.payment_id == Payment.id, SettlementLine.kind == "payment")
    found = control_session.scalars(
        select(Payment).where(
            Payment.gateway == gateway,
            Payment.received_on.between(*days),
            ~told,
            # A deposit that was taken back before it was settled is told of by nobody.
            stands(),
        )
    )
    for payment in found:
        raise_one(
            control_session=control_session,
            found=of_payment(
                payment,
                key=f"missing_there:{payment.id}",
                kind="missing_there",
                cause=_why_untold(control_session, payment),
                amount_minor=-payment.amount_minor,
                day=payment.received_on,
            ),
            now=now,
        )


def _why_untold(control_session: Session, payment: Payment) -> str:
    another_name = exists().where(
        ReconciliationDifference.gateway == payment.gateway,
        ReconciliationDifference.kind == "missing_here",
        ReconciliationDifference.amount_minor == payment.amount_minor,
        ReconciliationDifference.currency == payment.currency,
        is_open(),
    )
    return "another_name" if control_session.scalar(select(another_name)) else "never_told"


def _missing_refunds(control_session: Session, gateway: str, days: Days, now: datetime) -> None:
    told = exists().where(SettlementLine.refund_id == Refund.id)
    zone = settings().contract_timezone
    sent_on = func.date(func.timezone(zone, Refund.finished_at))
    found = control_session.scalars(
        select(Refund).where(
            Refund.state == "succeeded",
            Refund.sent_from == gateway,
            sent_on.between(*days),
            ~told,
        )
    )
    for refund in found:
        raise_one(
            control_session=control_session,
            found=Found(
                key=f"missing_there:refund:{refund.id}",
                kind="missing_there",
                cause="never_told",
                gateway=gateway,
                day=clock.today(refund.finished_at or now, zone),
                currency=refund.currency,
                amount_minor=refund.amount_minor,
                tenant_id=refund.tenant_id,
                payment_id=refund.payment_id,
                refund_id=refund.id,
            ),
            now=now,
        )


def _missing_reversals(control_session: Session, gateway: str, days: Days, now: datetime) -> None:
    """What the gateway says came, and not that it went, it goes on owing us by its own account."""
    came = exists().where(
        SettlementLine.payment_id == PaymentReversal.payment_id, SettlementLine.kind == "payment"
    )
    told = exists().where(SettlementLine.reversal_id == PaymentReversal.id)
    found = control_session.execute(
        select(PaymentReversal, Payment)
        .join(Payment, Payment.id == PaymentReversal.payment_id)
        .where(
            Payment.gateway == gateway,
            PaymentReversal.reversed_on.between(*days),
            PaymentReversal.source != "dispute",
            came,
            ~told,
        )
    )
    for row, payment in found:
        raise_one(
            control_session=control_session,
            found=of_payment(
                payment,
                key=f"missing_there:reversal:{row.id}",
                kind="missing_there",
                cause="never_told",
                amount_minor=row.amount_minor,
                day=row.reversed_on,
            ),
            now=now,
        )
