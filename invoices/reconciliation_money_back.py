"""Money that went back at a gateway: by our refunds, by a bank, or at nobody of ours' word."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.money import Money
from invoices.models import (
    DifferenceSettlement,
    Payment,
    PaymentReversal,
    ReconciliationDifference,
    Refund,
    SettlementLine,
)
from invoices.models.refunds import REFUND_UNDER_WAY
from invoices.reconciliation_differences import (
    is_open,
    line_differs,
    of_line,
    of_payment,
    raise_one,
    stands_for_nothing,
    turn_up,
)

REFUND_OPEN = ("due", *REFUND_UNDER_WAY)


def match(
    *, control_session: Session, line: SettlementLine, payment: Payment, now: datetime
) -> None:
    """This function will find what a line stands for by which money of a payment went back."""
    if match_refund(control_session=control_session, line=line, payment=payment, now=now):
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
        stands_for_nothing(
            control_session=control_session, line=line, cause="refund_under_way", now=now
        )
    else:
        found = of_line(
            line,
            kind="refunded_there",
            cause="refunded_there",
            amount_minor=line.gross_minor,
            payment=payment,
        )
        line_differs(control_session=control_session, line=line, found=found, now=now)


def match_refund(
    *, control_session: Session, line: SettlementLine, payment: Payment, now: datetime
) -> bool:
    """This function will find the refund of ours that a line stands for, if it is one."""
    refund = _refund_of(control_session, line, payment)
    if refund is None:
        return False
    line.refund_id = refund.id
    control_session.flush()
    for key in (f"missing_there:refund:{refund.id}", f"missing_here:{line.id}"):
        turn_up(control_session=control_session, key=key, now=now)
    return True


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
            # A dispute has lines of its own kind.
            PaymentReversal.source != "dispute",
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


def went_back(*, control_session: Session, payment: Payment, in_all: Money, now: datetime) -> None:
    """This function will write down what a gateway gave back of a payment, and not at our word.

    `payment` is locked; `in_all`: what the gateway says went back of it so far.
    """
    more = in_all.amount_minor - _refunded_minor(control_session, payment)
    if more <= 0 or in_all.currency != payment.currency:
        return
    raise_one(
        control_session=control_session,
        found=of_payment(
            payment,
            key=f"refunded_there:{payment.id}:{in_all.amount_minor}",
            kind="refunded_there",
            cause="refunded_there",
            amount_minor=-more,
            day=clock.today(now, settings().contract_timezone),
        ),
        now=now,
    )


def _refunded_minor(control_session: Session, payment: Payment) -> int:
    """What went back of a payment at the gateway, with our knowledge: our refunds, finished or
    under way, and the differences that none of them accounts for.
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
