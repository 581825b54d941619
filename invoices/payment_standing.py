"""Whether a payment still stands: its money is there, and nothing took it back."""

from __future__ import annotations

from sqlalchemy import ColumnElement, exists

from invoices.models import Payment, PaymentReversal


def stands() -> ColumnElement[bool]:
    """This function will return the condition that a payment was not reversed."""
    return ~exists().where(PaymentReversal.payment_id == Payment.id)
