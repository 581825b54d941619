"""Disputes that are lost: the payment is taken back, and its invoice is owed again or given up.

The gateway's own lines took the money, against the differences. Taking the payment back makes those
even: the loss is the customer's debt again, or it is among the write-offs. Where a part was
refunded before, the dispute took the rest; what was refunded is neither owed nor lost again.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.errors import Conflict
from invoices import corrections, reversals
from invoices import reconciliation_differences as differences
from invoices.models import (
    CorrectionRequest,
    Payment,
    ReconciliationDifference,
    Refund,
    SettlementLine,
    WriteOff,
)
from invoices.payment_standing import stands


class NotLost(Conflict):
    """The gateway's books don't say that all that was left of the payment went by the dispute."""


def may_end(*, control_session: Session, difference: ReconciliationDifference) -> bool:
    """This function will tell whether a difference is a dispute that may be called lost."""
    if difference.kind != "disputed" or difference.payment_id is None:
        return False
    payment = control_session.scalar(
        select(Payment).where(Payment.id == difference.payment_id, stands())
    )
    return payment is not None and _lost_minor(control_session, payment) > 0


def owed_again(
    *, control_session: Session, difference_id: UUID, reason: str, staff_id: UUID, now: datetime
) -> None:
    """This function will take a disputed payment back: its invoice is open again.

    Raises: NoSuchDifference, SettledAlready, NotLost, MoneyGoingBack, Invalid without a reason.
    """
    _end(
        control_session=control_session,
        difference_id=difference_id,
        resolution="taken_back",
        reason=reason,
        staff_id=staff_id,
        now=now,
    )


def written_off(
    *, control_session: Session, difference_id: UUID, reason: str, staff_id: UUID, now: datetime
) -> WriteOff | CorrectionRequest:
    """This function will take a disputed payment back and give up what is owed by it.

    Above the limit that asks a second person; until they agree the invoice is open.

    Raises: as owed_again; as corrections.write_off.
    """
    payment = _end(
        control_session=control_session,
        difference_id=difference_id,
        resolution="written_off",
        reason=reason,
        staff_id=staff_id,
        now=now,
    )
    return corrections.write_off(
        control_session=control_session,
        invoice_id=payment.invoice_id,
        reason=reason,
        staff_id=staff_id,
        now=now,
    )


def _end(
    *,
    control_session: Session,
    difference_id: UUID,
    resolution: str,
    reason: str,
    staff_id: UUID,
    now: datetime,
) -> Payment:
    why = differences.checked(reason)
    found = differences.opened(control_session=control_session, difference_id=difference_id)
    if not may_end(control_session=control_session, difference=found):
        raise NotLost(
            "The gateway does not say that all that was left of the payment went by this dispute."
        )
    payment = control_session.get_one(Payment, found.payment_id)
    reversals.lost_dispute(
        control_session=control_session,
        payment=payment,
        amount_minor=_lost_minor(control_session, payment),
        reason=why,
        staff_id=staff_id,
        now=now,
        told=resolution == "taken_back",
    )
    differences.end_dispute(
        control_session=control_session,
        difference=found,
        resolution=resolution,
        reason=why,
        staff_id=staff_id,
        now=now,
    )
    return payment


def _lost_minor(control_session: Session, payment: Payment) -> int:
    """What a dispute took of a payment, which nothing stays of then; zero where something does.

    All that no refund had sent back through the gateway before. Some banks take even that again.
    """
    given_back = control_session.scalar(
        select(func.coalesce(func.sum(Refund.amount_minor), 0)).where(
            Refund.payment_id == payment.id,
            Refund.state == "succeeded",
            Refund.sent_from == payment.gateway,
        )
    )
    left = payment.amount_minor - int(given_back or 0)
    lines, taken = control_session.execute(
        select(func.count(), func.coalesce(func.sum(-SettlementLine.gross_minor), 0)).where(
            SettlementLine.payment_id == payment.id, SettlementLine.kind == "dispute"
        )
    ).one()
    if not lines:
        return left
    return int(taken) if taken in (left, payment.amount_minor) else 0
