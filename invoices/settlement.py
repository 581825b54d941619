"""What follows money that arrived, however it came: booked, receipted, and closed doors opened."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from invoices import dunning, ledger, receipt
from invoices.models import INVOICE, Invoice, Payment


def settle(
    *, control_session: Session, invoice: Invoice, payment: Payment, actor: Actor, now: datetime
) -> None:
    """This function will book a payment and mark its invoice paid; a blocked tenant opens again.

    Raises: IllegalMove when the invoice is not open any more: nothing is booked then.
    """
    states.move(
        control_session=control_session,
        machine=INVOICE,
        row=invoice,
        to="paid",
        actor=actor,
        now=now,
        values={"paid_at": now, "collect_at": None},
    )
    control_session.add(payment)
    control_session.flush()
    ledger.book_payment(control_session=control_session, payment=payment, now=now)
    receipt.issue(control_session=control_session, invoice=invoice, payment=payment, now=now)
    dunning.after_payment(control_session=control_session, invoice=invoice, actor=actor, now=now)
