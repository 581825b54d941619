"""Payment by bank transfer: finance writes down what stands on the bank's statement."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid
from app.base.money import Money
from invoices import payment, settlement
from invoices.models import Invoice, Payment
from invoices.settlement import Arrival

PAYER_LENGTH_MAX = 100
TIMES_MAX = 100


class NotThatAmount(Invalid):
    """No such amount can have come in for the invoice."""


class NotOpen(Conflict):
    """The invoice is not open: settled already, void, or never issued."""


def record_transfer(
    *,
    control_session: Session,
    invoice_id: UUID,
    amount: Money,
    payer: str,
    paid_on: date,
    staff_id: UUID,
    now: datetime,
) -> Payment:
    """This function will write a transfer down for an open invoice, in part, in whole or beyond.

    What is missing stays open, and what is too much becomes the customer's credit.

    Raises: NotFound; NotOpen; ChargeUnderWay while a card charge's outcome is open;
    NotThatAmount (field `amount`); Invalid for the fields `payer` and `paid_on`.
    """
    invoice = settlement.locked(control_session, invoice_id)
    if invoice.state != "issued":
        raise NotOpen("This invoice is not open any more. Nothing was recorded.")
    if payment.under_way(control_session=control_session, invoice_id=invoice_id) is not None:
        raise payment.ChargeUnderWay(
            "A card charge of this invoice is under way. Wait until its outcome is known."
        )
    _check(invoice, amount, payer, paid_on, now)
    return settlement.receive(
        control_session=control_session,
        invoice_id=invoice_id,
        arrival=Arrival(
            kind="transfer",
            gateway="manual",
            gateway_payment_id=f"transfer-{ids.uuid7()}",
            amount=amount,
            received_on=paid_on,
            payer=" ".join(payer.split()),
            recorded_by=staff_id,
        ),
        actor=Actor.staff(staff_id),
        now=now,
    )


def _check(invoice: Invoice, amount: Money, payer: str, paid_on: date, now: datetime) -> None:
    if amount.currency != invoice.currency:
        raise NotThatAmount("The money is in another currency than the invoice.", field="amount")
    # Beyond many times the invoice it is a slip of the pen rather than a payment.
    if not 0 < amount.amount_minor <= invoice.total_minor * TIMES_MAX:
        raise NotThatAmount(
            "Enter an amount above zero, as the bank statement says.", field="amount"
        )
    if not 1 <= len(payer.strip()) <= PAYER_LENGTH_MAX:
        raise Invalid("Enter who paid, as the bank statement says.", field="payer")
    zone = settings().contract_timezone
    first = clock.today(invoice.issued_at or now, zone)
    if not first <= paid_on <= clock.today(now, zone):
        raise Invalid("Enter a day between the invoice's issue and today.", field="paid_on")
