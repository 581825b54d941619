"""Settlement: the one door by which money closes invoices, in part, in whole or beyond.

Whatever arrives is written down as it arrived. So much of it as the invoice still needs settles it;
the rest is the customer's credit, which later invoices use up as if it were paid then (after tax:
it is money, and makes no supply smaller).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import clock, ids, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, NotFound
from app.base.money import Money
from invoices import credits, dunning, ledger, receipt, vat_slips
from invoices.models import (
    INVOICE,
    CreditGrant,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentReversal,
)

SETTLER = Actor.job("settlement")
# States of an attempt in which money may be moving for its invoice.
UNDER_WAY = ("open", "unknown", "needs_person")


class NoSuchInvoice(NotFound):
    """Money can only be received for an invoice that there is."""


class OtherCurrency(Conflict):
    """The money is in another currency than the invoice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """Money as it came in. `gateway` is the merchant account's code, "manual" for our own bank.

    `gateway_payment_id` is unique there: the same arrival can't be received twice, unless it was
    taken back in between.
    """

    kind: str  # card | transfer | virtual_account
    gateway: str
    gateway_payment_id: str
    amount: Money
    received_on: date
    attempt_id: UUID | None = None
    payer: str | None = None
    recorded_by: UUID | None = None


def locked(control_session: Session, invoice_id: UUID) -> Invoice:
    """This function will return an invoice, read anew under its lock.

    Whoever locks an invoice and its attempt, its payments, its customer's credit or its tenant
    locks the invoice first.

    Raises: NoSuchInvoice.
    """
    invoice = control_session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if invoice is None:
        raise NoSuchInvoice("There is no such invoice.")
    return invoice


def receive(
    *,
    control_session: Session,
    invoice_id: UUID,
    arrival: Arrival,
    actor: Actor,
    now: datetime,
) -> Payment:
    """This function will write down money that came in for an invoice, and settle what it covers.

    An invoice is paid once nothing of it is open. What is too much, or came for an invoice that is
    settled or void already, becomes the customer's credit. The receipt follows, and a blocked
    tenant that owes nothing overdue any more opens again.

    Raises: NoSuchInvoice, OtherCurrency; sqlalchemy.exc.IntegrityError for an arrival that is
    written down already.
    """
    invoice = locked(control_session, invoice_id)
    if arrival.amount.currency != invoice.currency:
        raise OtherCurrency("The money is in another currency than the invoice.", field="amount")
    settled = min(arrival.amount.amount_minor, invoice.open_minor)
    payment = Payment(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        arrival=_times_taken_back(control_session, arrival) + 1,
        kind=arrival.kind,
        attempt_id=arrival.attempt_id,
        gateway=arrival.gateway,
        gateway_payment_id=arrival.gateway_payment_id,
        amount_minor=arrival.amount.amount_minor,
        settled_minor=settled,
        currency=arrival.amount.currency,
        paid_at=now,
        received_on=arrival.received_on,
        payer=arrival.payer,
        recorded_by=arrival.recorded_by,
    )
    control_session.add(payment)
    control_session.flush()
    _keep_the_rest(control_session, invoice, payment, actor, now)
    _settle(control_session, invoice, payment, actor, now)
    receipt.issue(control_session=control_session, invoice=invoice, payment=payment, now=now)
    return payment


def _times_taken_back(control_session: Session, arrival: Arrival) -> int:
    """What was taken back may come again, under the name it had."""
    return control_session.scalars(
        select(func.count())
        .select_from(PaymentReversal)
        .join(Payment, Payment.id == PaymentReversal.payment_id)
        .where(
            Payment.gateway == arrival.gateway,
            Payment.gateway_payment_id == arrival.gateway_payment_id,
        )
    ).one()


def _keep_the_rest(
    control_session: Session, invoice: Invoice, payment: Payment, actor: Actor, now: datetime
) -> None:
    rest = payment.amount_minor - payment.settled_minor
    if rest:
        credits.keep(
            control_session=control_session,
            invoice=invoice,
            amount_minor=rest,
            source="overpayment",
            payment_id=payment.id,
            actor=actor,
            now=now,
        )


def _settle(
    control_session: Session, invoice: Invoice, payment: Payment, actor: Actor, now: datetime
) -> None:
    """This function will book a payment and take what it covers off what is open."""
    invoice.paid_minor += payment.settled_minor
    ledger.book_payment(control_session=control_session, payment=payment, now=now)
    close_if_settled(control_session=control_session, invoice=invoice, actor=actor, now=now)


def close_if_settled(
    *, control_session: Session, invoice: Invoice, actor: Actor, now: datetime
) -> None:
    """This function will close an invoice of which nothing is open any more, by what closed it.

    `paid` where any money came for it and nothing was given up, `written_off` where something was,
    `credited` where a credit note took all of it back.
    """
    if invoice.state != "issued" or invoice.open_minor:
        control_session.flush()
        return
    if invoice.written_off_minor:
        to = "written_off"
    else:
        to = "paid" if invoice.paid_minor else "credited"
    states.move(
        control_session=control_session,
        machine=INVOICE,
        row=invoice,
        to=to,
        actor=actor,
        now=now,
        values={"collect_at": None} | ({"paid_at": now} if to == "paid" else {}),
    )
    control_session.flush()
    dunning.after_payment(control_session=control_session, invoice=invoice, actor=actor, now=now)


def use_credit(
    *, control_session: Session, invoice: Invoice, now: datetime, actor: Actor = SETTLER
) -> Payment | None:
    """This function will settle an open invoice, locked, by the money its customer has with us.

    None when there is none. Nothing is used while a charge is under way: it may cover all. Money
    that a card slip may prove already settles no supply that another paper proves: it waits for
    the next one.
    """
    if not invoice.open_minor or charge_under_way(control_session, invoice.id):
        return None
    payment_id = ids.uuid7()
    uses = credits.on_account(
        control_session=control_session,
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        up_to_minor=invoice.open_minor,
        among=~vat_slips.may_carry_proof() if _proved_otherwise(control_session, invoice) else None,
    )
    amount = sum(used for _, used in uses)
    if not amount:
        return None
    payment = Payment(
        id=payment_id,
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        kind="credit",
        gateway="credit",
        gateway_payment_id=f"credit-{payment_id}",
        amount_minor=amount,
        settled_minor=amount,
        currency=invoice.currency,
        paid_at=now,
        received_on=clock.today(now, settings().contract_timezone),
    )
    control_session.add(payment)
    control_session.flush()
    credits.spend_on(control_session=control_session, uses=uses, payment=payment, now=now)
    _settle(control_session, invoice, payment, actor, now)
    return payment


def _proved_otherwise(control_session: Session, invoice: Invoice) -> bool:
    mine = select(Invoice.id).where(Invoice.id == invoice.id, vat_slips.is_proved_otherwise())
    return control_session.scalar(mine) is not None


def charge_under_way(control_session: Session, invoice_id: UUID) -> bool:
    """This function will tell whether money for an invoice may be moving by card."""
    return bool(
        control_session.scalar(
            select(
                exists().where(
                    PaymentAttempt.invoice_id == invoice_id, PaymentAttempt.state.in_(UNDER_WAY)
                )
            )
        )
    )


def credit_due() -> ColumnElement[bool]:
    """This function will return the condition that an open invoice's customer has money with us."""
    return and_(
        Invoice.state == "issued",
        exists().where(
            CreditGrant.tenant_id == Invoice.tenant_id,
            CreditGrant.currency == Invoice.currency,
            credits.is_on_account(),
            or_(~vat_slips.is_proved_otherwise(), ~vat_slips.may_carry_proof()),
        ),
        ~exists().where(
            PaymentAttempt.invoice_id == Invoice.id, PaymentAttempt.state.in_(UNDER_WAY)
        ),
    )


def use_credits(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will settle a chunk of open invoices by credit, those due first, first."""
    found = control_session.scalars(
        select(Invoice)
        .where(credit_due())
        .order_by(Invoice.due_on, Invoice.id)
        .limit(limit)
        .with_for_update(of=Invoice, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    # Customer by customer, so that two who do this never wait for each other's in a circle.
    in_turn = sorted(found, key=lambda invoice: invoice.tenant_id)
    used = [
        use_credit(control_session=control_session, invoice=invoice, now=now) for invoice in in_turn
    ]
    return sum(payment is not None for payment in used)
