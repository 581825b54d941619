"""What of ours a line of a gateway's books stands for, and the proposed cause where none does."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from invoices.models import (
    DifferenceSettlement,
    Payment,
    PaymentAttempt,
    PaymentReversal,
    ReconciliationDifference,
    Refund,
    SettlementLine,
    VirtualAccount,
)
from invoices.models.refunds import REFUND_UNDER_WAY
from invoices.reconciliation_differences import (
    Found,
    is_open,
    raise_one,
    turn_up,
    was_given_up,
)

REFUND_OPEN = ("due", *REFUND_UNDER_WAY)


def match(*, control_session: Session, line: SettlementLine, now: datetime) -> None:
    """This function will find what a new line stands for, or raise a difference about it."""
    if line.kind == "payment":
        _match_payment(control_session, line, now)
    elif line.kind == "refund":
        _match_refund(control_session, line, now)
    elif line.kind == "dispute":
        _match_dispute(control_session, line, now)
    elif line.kind == "other":
        _stands_for_nothing(control_session, line, "unclear", now)


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
        refund = None if payment is None else _refund_of(control_session, line, payment)
        if refund is not None:
            line.refund_id = refund.id
            control_session.flush()
            turn_up(control_session=control_session, key=key, now=now)


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
        _stands_for_nothing(control_session, line, _why_unknown(control_session, line), now)
        return
    missing = f"missing_there:{payment.id}"
    if was_given_up(control_session=control_session, key=missing):
        _stands_for_nothing(control_session, line, "given_up_before", now)
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
            found=Found(
                key=f"exchanged:{line.id}",
                kind="other_amount",
                cause="exchanged",
                gateway=line.gateway,
                day=line.booked_on,
                currency=payment.currency,
                amount_minor=-payment.amount_minor,
                tenant_id=payment.tenant_id,
                payment_id=payment.id,
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
        _stands_for_nothing(control_session, line, "not_ours", now)
        return
    refund = _refund_of(control_session, line, payment)
    if refund is not None:
        line.refund_id = refund.id
        control_session.flush()
        turn_up(control_session=control_session, key=f"missing_there:refund:{refund.id}", now=now)
        return
    reversal = _reversal_of(control_session, line, payment)
    if reversal is not None:
        line.reversal_id = reversal.id
        control_session.flush()
        key = f"missing_there:reversal:{reversal.id}"
        turn_up(control_session=control_session, key=key, now=now)
        return
    known = _refunded_there(control_session, line, payment)
    if known is not None:
        line.difference_id = known.id
    elif _under_way(control_session, line, payment):
        _stands_for_nothing(control_session, line, "refund_under_way", now)
    else:
        _differs(
            control_session,
            line,
            ("refunded_there", "refunded_there", line.gross_minor),
            payment,
            now,
        )


def _refund_of(control_session: Session, line: SettlementLine, payment: Payment) -> Refund | None:
    told = exists().where(SettlementLine.refund_id == Refund.id)
    return control_session.scalars(
        select(Refund)
        .where(
            Refund.payment_id == payment.id,
            Refund.state == "succeeded",
            Refund.sent_from == line.gateway,
            Refund.amount_minor == -line.gross_minor,
            Refund.currency == line.currency,
            ~told,
        )
        .order_by(Refund.finished_at, Refund.id)
        .limit(1)
    ).one_or_none()


def _reversal_of(
    control_session: Session, line: SettlementLine, payment: Payment
) -> PaymentReversal | None:
    """What the gateway took off again because the bank had: we know of it as a reversal."""
    told = exists().where(SettlementLine.reversal_id == PaymentReversal.id)
    return control_session.scalar(
        select(PaymentReversal)
        .join(Payment, Payment.id == PaymentReversal.payment_id)
        .where(
            Payment.gateway == payment.gateway,
            Payment.gateway_payment_id == payment.gateway_payment_id,
            PaymentReversal.amount_minor == -line.gross_minor,
            PaymentReversal.currency == line.currency,
            ~told,
        )
        .order_by(Payment.arrival)
        .limit(1)
    )


def reversed_here(
    *, control_session: Session, payment: Payment, row: PaymentReversal, now: datetime
) -> None:
    """This function will hold a reversal against what the gateway told of it before we knew."""
    difference = ReconciliationDifference
    line = control_session.scalar(
        select(SettlementLine)
        .join(difference, difference.id == SettlementLine.difference_id)
        .where(
            difference.payment_id == payment.id,
            difference.kind == "refunded_there",
            difference.amount_minor == -row.amount_minor,
            difference.currency == row.currency,
            is_open(),
            SettlementLine.gross_minor == difference.amount_minor,
        )
        .limit(1)
        .with_for_update(of=SettlementLine)
    )
    if line is None or line.difference_id is None:
        return
    key = control_session.get_one(difference, line.difference_id).key
    line.reversal_id = row.id
    control_session.flush()
    turn_up(control_session=control_session, key=key, now=now)


def _under_way(control_session: Session, line: SettlementLine, payment: Payment) -> bool:
    ours = exists().where(
        Refund.payment_id == payment.id,
        Refund.state.in_(REFUND_OPEN),
        Refund.amount_minor == -line.gross_minor,
    )
    return bool(control_session.scalar(select(ours)))


def _refunded_there(
    control_session: Session, line: SettlementLine, payment: Payment
) -> ReconciliationDifference | None:
    """A webhook may have told of the money before this line did, of several sums as of one."""
    difference = ReconciliationDifference
    told = func.coalesce(
        select(func.sum(SettlementLine.gross_minor))
        .where(SettlementLine.difference_id == difference.id)
        .scalar_subquery(),
        0,
    )
    return control_session.scalars(
        select(difference)
        .where(
            difference.payment_id == payment.id,
            difference.kind == "refunded_there",
            difference.currency == line.currency,
            difference.amount_minor - told <= line.gross_minor,
        )
        .order_by(difference.found_at, difference.id)
        .limit(1)
    ).one_or_none()


def refunded_there_minor(*, control_session: Session, payment: Payment) -> int:
    """This function will add up what went back of a payment at the gateway, with our knowledge.

    Our refunds, finished or under way, and the differences that none of them accounts for.
    """
    ours = control_session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id == payment.id,
            or_(
                Refund.state.in_(REFUND_OPEN),
                (Refund.state == "succeeded") & (Refund.sent_from == payment.gateway),
            ),
        )
    )
    theirs = control_session.scalar(
        select(func.coalesce(func.sum(-ReconciliationDifference.amount_minor), 0)).where(
            ReconciliationDifference.payment_id == payment.id,
            ReconciliationDifference.kind == "refunded_there",
            ~_is_accounted_for(),
        )
    )
    return int(ours or 0) + int(theirs or 0)


def _is_accounted_for() -> ColumnElement[bool]:
    return exists().where(
        DifferenceSettlement.difference_id == ReconciliationDifference.id,
        DifferenceSettlement.resolution != "accepted",
    )


def _match_dispute(control_session: Session, line: SettlementLine, now: datetime) -> None:
    payment = _payment_of(control_session, line)
    if payment is None:
        raise_one(
            control_session=control_session,
            found=_found(line, "disputed", "not_ours", 0, None),
            now=now,
        )
        return
    line.payment_id = payment.id
    disputed(control_session=control_session, payment=payment, now=now)


def disputed(*, control_session: Session, payment: Payment, now: datetime) -> None:
    """This function will put a disputed payment on the work list, once."""
    raise_one(
        control_session=control_session,
        found=Found(
            key=f"disputed:{payment.id}",
            kind="disputed",
            cause="disputed",
            gateway=payment.gateway,
            day=payment.received_on,
            currency=payment.currency,
            tenant_id=payment.tenant_id,
            payment_id=payment.id,
        ),
        now=now,
    )


def _stands_for_nothing(
    control_session: Session, line: SettlementLine, cause: str, now: datetime
) -> None:
    _differs(control_session, line, ("missing_here", cause, line.gross_minor), None, now)


def _differs(
    control_session: Session,
    line: SettlementLine,
    said: tuple[str, str, int],
    payment: Payment | None,
    now: datetime,
) -> None:
    """`said`: the kind of difference, its proposed cause, and the amount."""
    written = raise_one(
        control_session=control_session,
        found=_found(line, *said, payment),
        now=now,
    )
    line.difference_id = written.id
    control_session.flush()


def _found(
    line: SettlementLine, kind: str, cause: str, amount: int, payment: Payment | None
) -> Found:
    return Found(
        key=f"{kind}:{line.id}",
        kind=kind,
        cause=cause,
        gateway=line.gateway,
        day=line.booked_on,
        currency=line.currency,
        amount_minor=amount,
        tenant_id=payment.tenant_id if payment else None,
        payment_id=payment.id if payment else None,
    )


def _day(moment: datetime) -> date:
    return clock.today(moment, settings().contract_timezone)
