"""What of ours a line of a gateway's books stands for, and the proposed cause where none does."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import exists, or_, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from invoices import reconciliation_money_back as money_back
from invoices.models import (
    Payment,
    PaymentAttempt,
    PaymentReversal,
    SettlementLine,
    VirtualAccount,
)
from invoices.reconciliation_differences import (
    line_differs,
    of_line,
    of_payment,
    raise_one,
    stands_for_nothing,
    turn_up,
    was_given_up,
)


def match(*, control_session: Session, line: SettlementLine, now: datetime) -> None:
    """This function will find what a new line stands for, or raise a difference about it."""
    if line.kind == "payment":
        _match_payment(control_session, line, now)
    elif line.kind == "refund":
        _match_refund(control_session, line, now)
    elif line.kind == "dispute":
        _match_dispute(control_session, line, now)
    elif line.kind == "other":
        stands_for_nothing(control_session=control_session, line=line, cause="unclear", now=now)


def match_late(*, control_session: Session, line: SettlementLine, now: datetime) -> None:
    """This function will look once more for what an open difference's line stands for."""
    key = f"missing_here:{line.id}"
    if line.kind == "payment":
        payment = _untold(control_session, _payment_of(control_session, line))
        if payment is None or _has_line(control_session, payment):
            return
        if (payment.amount_minor, payment.currency) != (line.gross_minor, line.currency):
            return
        line.payment_id = payment.id
        control_session.flush()
        turn_up(control_session=control_session, key=key, now=now)
        _day_differs(control_session, line, payment, now)
    elif line.kind == "refund":
        payment = _payment_of(control_session, line)
        if payment is not None:
            money_back.match_refund(
                control_session=control_session, line=line, payment=payment, now=now
            )


def payment_named(
    *, control_session: Session, gateway: str, payment_id: str | None, order_id: str | None
) -> Payment | None:
    """This function will find, and lock, the payment of ours that a gateway names."""
    named = []
    if payment_id:
        named.append(Payment.gateway_payment_id == payment_id)
    if order_id:
        attempt = select(PaymentAttempt.id).where(PaymentAttempt.order_id == order_id)
        named.append(Payment.attempt_id.in_(attempt))
    if not named:
        return None
    return control_session.scalars(
        select(Payment)
        .where(Payment.gateway == gateway, or_(*named))
        .order_by(Payment.gateway_payment_id != (payment_id or ""), Payment.arrival.desc())
        .limit(1)
        .with_for_update()
    ).one_or_none()


def _payment_of(control_session: Session, line: SettlementLine) -> Payment | None:
    return payment_named(
        control_session=control_session,
        gateway=line.gateway,
        payment_id=line.gateway_payment_id,
        order_id=line.order_id,
    )


def _has_line(control_session: Session, payment: Payment) -> bool:
    told = exists().where(SettlementLine.payment_id == payment.id, SettlementLine.kind == "payment")
    return bool(control_session.scalar(select(told)))


def _untold(control_session: Session, payment: Payment | None) -> Payment | None:
    """Of a deposit that came, went and came again, each has a line: the first untold is this."""
    if payment is None or payment.arrival == 1:
        return payment
    told = exists().where(SettlementLine.payment_id == Payment.id, SettlementLine.kind == "payment")
    first = control_session.scalar(
        select(Payment)
        .where(
            Payment.gateway == payment.gateway,
            Payment.gateway_payment_id == payment.gateway_payment_id,
            ~told,
        )
        .order_by(Payment.arrival)
        .limit(1)
    )
    return first or payment


def _match_payment(control_session: Session, line: SettlementLine, now: datetime) -> None:
    payment = _untold(control_session, _payment_of(control_session, line))
    if payment is None:
        cause = _why_unknown(control_session, line)
        stands_for_nothing(control_session=control_session, line=line, cause=cause, now=now)
        return
    missing = f"missing_there:{payment.id}"
    if was_given_up(control_session=control_session, key=missing):
        stands_for_nothing(
            control_session=control_session, line=line, cause="given_up_before", now=now
        )
    elif _has_line(control_session, payment):
        same = line.gateway_payment_id == payment.gateway_payment_id
        cause = "told_twice" if same else "charged_twice"
        _differs(control_session, line, ("duplicate", cause, line.gross_minor), payment, now)
    else:
        line.payment_id = payment.id
        control_session.flush()
        turn_up(control_session=control_session, key=missing, now=now)
        _amount_differs(control_session, line, payment, now)
        _day_differs(control_session, line, payment, now)


def _why_unknown(control_session: Session, line: SettlementLine) -> str:
    if not line.order_id:
        return "not_ours"
    state = control_session.scalar(
        select(PaymentAttempt.state).where(
            PaymentAttempt.gateway == line.gateway, PaymentAttempt.order_id == line.order_id
        )
    )
    if state is not None:
        return "charged_though_declined" if state == "declined" else "outcome_unknown"
    ours = exists().where(
        VirtualAccount.gateway == line.gateway, VirtualAccount.order_id == line.order_id
    )
    return "deposit_not_learned" if control_session.scalar(select(ours)) else "not_ours"


def _amount_differs(
    control_session: Session, line: SettlementLine, payment: Payment, now: datetime
) -> None:
    if line.currency != payment.currency:
        _differs(
            control_session, line, ("other_amount", "exchanged", line.gross_minor), payment, now
        )
        raise_one(
            control_session=control_session,
            found=of_payment(
                payment,
                key=f"exchanged:{line.id}",
                kind="other_amount",
                cause="exchanged",
                amount_minor=-payment.amount_minor,
                day=line.booked_on,
            ),
            now=now,
        )
    elif line.gross_minor != payment.amount_minor:
        more = line.gross_minor - payment.amount_minor
        _differs(control_session, line, ("other_amount", "other_sum", more), payment, now)


def _day_differs(
    control_session: Session, line: SettlementLine, payment: Payment, now: datetime
) -> None:
    """Between the day on which a charge was begun and that of its outcome, any day is its day."""
    first = payment.received_on
    if payment.attempt_id is not None:
        begun_at = control_session.get_one(PaymentAttempt, payment.attempt_id).begun_at
        first = min(first, _day(begun_at))
    if line.difference_id is None and not first <= line.booked_on <= payment.received_on:
        _differs(control_session, line, ("other_day", "told_another_day", 0), payment, now)


def _match_refund(control_session: Session, line: SettlementLine, now: datetime) -> None:
    payment = _payment_of(control_session, line)
    if payment is None:
        stands_for_nothing(control_session=control_session, line=line, cause="not_ours", now=now)
    else:
        money_back.match(control_session=control_session, line=line, payment=payment, now=now)


def _match_dispute(control_session: Session, line: SettlementLine, now: datetime) -> None:
    payment = _payment_of(control_session, line)
    if payment is None:
        raise_one(
            control_session=control_session,
            found=of_line(line, kind="disputed", cause="not_ours"),
            now=now,
        )
        return
    line.payment_id = payment.id
    if line.gross_minor > 0 and _was_lost(control_session, payment):
        raise_one(
            control_session=control_session,
            found=of_line(line, kind="disputed", cause="came_back", payment=payment),
            now=now,
        )
    disputed(control_session=control_session, payment=payment, now=now)


def _was_lost(control_session: Session, payment: Payment) -> bool:
    lost = exists().where(
        PaymentReversal.payment_id == payment.id, PaymentReversal.source == "dispute"
    )
    return bool(control_session.scalar(select(lost)))


def disputed(*, control_session: Session, payment: Payment, now: datetime) -> None:
    """This function will put a disputed payment on the work list, once."""
    raise_one(
        control_session=control_session,
        found=of_payment(
            payment,
            key=f"disputed:{payment.id}",
            kind="disputed",
            cause="disputed",
            day=payment.received_on,
        ),
        now=now,
    )


def _differs(
    control_session: Session,
    line: SettlementLine,
    said: tuple[str, str, int],
    payment: Payment,
    now: datetime,
) -> None:
    """`said`: the kind of difference, its proposed cause, and the amount."""
    kind, cause, amount = said
    found = of_line(line, kind=kind, cause=cause, amount_minor=amount, payment=payment)
    line_differs(control_session=control_session, line=line, found=found, now=now)


def _day(moment: datetime) -> date:
    return clock.today(moment, settings().contract_timezone)
