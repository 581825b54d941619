"""Payment by bank transfer: finance writes down what stands on the bank's statement."""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid, NotFound
from app.base.money import Money
from invoices import payment, settlement
from invoices.models import Invoice, Payment

PAYER_LENGTH_MAX = 100


class NotThatAmount(Invalid):
    """The transfer does not settle the invoice in full."""


class NotOpen(Conflict):
    """The invoice is not open: paid already, void, or never issued."""


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
    """This function will settle an invoice by a transfer that arrived in full.

    Raises: NotFound; NotOpen; ChargeUnderWay while a card charge's outcome is open;
    NotThatAmount (field `amount`); Invalid for the fields `payer` and `paid_on`.
    """
    invoice = control_session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if invoice is None:
        raise NotFound("There is no such invoice.")
    if invoice.state != "issued":
        raise NotOpen("This invoice is not open any more. Nothing was recorded.")
    if payment.under_way(control_session=control_session, invoice_id=invoice_id) is not None:
        raise payment.ChargeUnderWay(
            "A card charge of this invoice is under way. Wait until its outcome is known."
        )
    _check(invoice, amount, payer, paid_on, now)
    received = Payment(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        attempt_id=None,
        gateway="manual",
        gateway_payment_id=f"transfer-{ids.uuid7()}",
        amount_minor=amount.amount_minor,
        currency=amount.currency,
        paid_at=now,
        received_on=paid_on,
        payer=" ".join(payer.split()),
        recorded_by=staff_id,
    )
    settlement.settle(
        control_session=control_session,
        invoice=invoice,
        payment=received,
        actor=Actor.staff(staff_id),
        now=now,
    )
    return received


def _check(invoice: Invoice, amount: Money, payer: str, paid_on: date, now: datetime) -> None:
    total = Money(invoice.total_minor, invoice.currency)
    if amount != total:
        raise NotThatAmount(
            "The amount must be the invoice's total. Ask the payer for the rest, or send back "
            "what is too much.",
            field="amount",
        )
    if not 1 <= len(payer.strip()) <= PAYER_LENGTH_MAX:
        raise Invalid("Enter who paid, as the bank statement says.", field="payer")
    zone = settings().contract_timezone
    first = clock.today(invoice.issued_at or now, zone)
    if not first <= paid_on <= clock.today(now, zone):
        raise Invalid("Enter a day between the invoice's issue and today.", field="paid_on")
