"""Disputes that are lost: the payment is taken back, and its invoice is owed again or given up.

The gateway's own lines took the money, against the differences. Taking the payment back makes those
even: the loss is the customer's debt again, or it is among the write-offs.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, select
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
    """The gateway's books don't say that the whole payment went by the dispute."""


def may_end(*, control_session: Session, difference: ReconciliationDifference) -> bool:
    """This function will tell whether a difference is a dispute that may be called lost."""
    if difference.kind != "disputed" or difference.payment_id is None:
        return False
    payment = control_session.scalar(
        select(Payment).where(Payment.id == difference.payment_id, stands())
    )
    return payment is not None and _is_whole(control_session, payment)


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
            "The gateway does not say that the whole payment went by this dispute, or a part of it "
            "was given back before."
        )
    payment = control_session.get_one(Payment, found.payment_id)
    reversals.lost_dispute(
        control_session=control_session,
        payment=payment,
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


def _is_whole(control_session: Session, payment: Payment) -> bool:
    """Neither was a part refunded before, nor do the lines that came say another sum."""
    given_back = exists().where(Refund.payment_id == payment.id, Refund.state == "succeeded")
    if control_session.scalar(select(given_back)):
        return False
    lines, taken = control_session.execute(
        select(func.count(), func.coalesce(func.sum(SettlementLine.gross_minor), 0)).where(
            SettlementLine.payment_id == payment.id, SettlementLine.kind == "dispute"
        )
    ).one()
    return not lines or taken == -payment.amount_minor
