"""Reversals: a payment whose money is not there any more is undone by rows of its own.

A bank takes a deposit back, or finance wrote a transfer down that never came. The payment stays as
it was written; its reversal takes the cash out of the ledger, opens the invoice again for dunning
and the card, and ends the credit that was left of it, with whatever that credit settled since.
A card's money goes back as a refund, or by a dispute: one that is lost reverses its payment, too.

The receipt stays what it was, a paper about a day. So does the VAT evidence, which is the supply's
and not the payment's; only a cash receipt proves the payment itself and is a person's to cancel.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, Select, and_, bindparam, exists, select
from sqlalchemy.orm import Session

from app.base import audit, clock, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from app.base.messages import queue_mail
from app.base.money import Money
from invoices import card_links, credits, dunning, ledger, settlement
from invoices import reconciliation_money_back as money_back
from invoices.models import (
    ATTEMPT,
    BANK_TRANSFER,
    INVOICE,
    BankTransfer,
    CashReceipt,
    Invoice,
    Payment,
    PaymentAttempt,
    PaymentReversal,
    Refund,
    VirtualAccount,
)
from invoices.models.payments import BY_A_PERSON

REVERSER = Actor.job("transfers")
REASON_LENGTH_MAX = 500
SETTLED_STATES = ("paid", "written_off")
# A cash receipt in these states says that money came which went again.
RECEIPT_STANDS = ("due", "issued", "confirmed")


class NoSuchPayment(NotFound):
    """There is no such payment."""


class NotReversible(Conflict):
    """Money of that kind goes back another way, or the gateway says that it is there."""


class MoneyGoingBack(Conflict):
    """Some of the payment is on its way back to its payer; what becomes of that comes first."""


class ReasonMissing(Invalid):
    """Nobody takes a payment back without saying why."""


@dataclass(frozen=True, slots=True)
class _Why:
    """By whose word a payment is reversed."""

    source: str
    reason: str
    actor: Actor
    staff_id: UUID | None = None
    is_told: bool = True
    # What is not there any more, where that is not all of the payment: the rest was refunded.
    taken_minor: int | None = None
    # Whoever disputed once would do so again: nothing that is owed by it is charged by itself.
    is_charged: bool = True


def take_back(
    *, control_session: Session, payment_id: UUID, reason: str, staff_id: UUID, now: datetime
) -> PaymentReversal:
    """This function will take a payment back that was written down by mistake, or bounced.

    A deposit of an imported statement waits to be settled again. Twice changes nothing more.

    Raises: NoSuchPayment, NotReversible, MoneyGoingBack, ReasonMissing.
    """
    why = " ".join(reason.split())
    if not 1 <= len(why) <= REASON_LENGTH_MAX:
        raise ReasonMissing("Say why, in a few words.", field="reason")
    payment = control_session.get(Payment, payment_id)
    if payment is None:
        raise NoSuchPayment("There is no such payment.")
    if not may_take_back(control_session=control_session, payment=payment):
        raise NotReversible("Only a transfer to our own bank can be taken back. Refund this one.")
    told = _Why("staff", why, Actor.staff(staff_id), staff_id)
    return _reverse(control_session, payment, told, now)


def may_take_back(*, control_session: Session, payment: Payment) -> bool:
    """This function will tell whether a person may take a payment back.

    A deposit at a gateway only once the gateway itself says that it is not there.
    """
    if payment.kind == "transfer":
        return True
    gone = exists().where(
        VirtualAccount.gateway == payment.gateway,
        VirtualAccount.gateway_payment_id == payment.gateway_payment_id,
        VirtualAccount.state.in_(("waiting", "expired")),
    )
    return payment.kind == "virtual_account" and bool(control_session.scalar(select(gone)))


def taken_by_bank(
    *, control_session: Session, payment: Payment, reason: str, now: datetime
) -> PaymentReversal:
    """This function will take a deposit back that the gateway says the bank took back.

    Raises: MoneyGoingBack.
    """
    return _reverse(control_session, payment, _Why("gateway", reason, REVERSER), now)


def lost_dispute(
    *,
    control_session: Session,
    payment: Payment,
    amount_minor: int,
    reason: str,
    staff_id: UUID,
    now: datetime,
    told: bool = True,
) -> PaymentReversal:
    """This function will take a card payment back whose payer won the dispute about it.

    `amount_minor`: what the dispute took; less than the payment where a part was refunded before.
    No card is charged for it by itself. `told`: whether the customer hears that it is owed.
    Raises: MoneyGoingBack.
    """
    why = _Why(
        "dispute",
        reason,
        Actor.staff(staff_id),
        staff_id,
        is_told=told,
        taken_minor=amount_minor,
        is_charged=False,
    )
    row = _reverse(control_session, payment, why, now)
    attempt = control_session.get_one(PaymentAttempt, payment.attempt_id, with_for_update=True)
    if attempt.state == "succeeded":
        states.move(
            control_session=control_session,
            machine=ATTEMPT,
            row=attempt,
            to="taken_back",
            actor=why.actor,
            now=now,
            why=reason,
        )
    return row


def reversal_of(*, control_session: Session, payment_id: UUID) -> PaymentReversal | None:
    """This function will return how a payment was undone, if it was."""
    return control_session.scalar(
        select(PaymentReversal).where(PaymentReversal.payment_id == payment_id)
    )


def lock(*, control_session: Session, payment: Payment) -> Invoice:
    """This function will lock every invoice that undoing a payment opens, and return its own.

    What it left as credit may have settled others. They are locked in the order of their ids, so
    that two payments which each settled the other's invoice never wait for each other in a circle;
    then the payment, and the customer's money, so that no more of it is used. Whoever uses money
    holds an invoice and waits for that: where one more was settled meanwhile, all is let go of and
    locked anew. That ends, since each time some money was used.
    """
    while True:
        with control_session.begin_nested() as attempt:
            opened = _opened_by(control_session, payment)
            rows = {each: settlement.locked(control_session, each) for each in sorted(opened)}
            control_session.refresh(payment, with_for_update=True)
            credits.lock_account(
                control_session=control_session,
                tenant_id=payment.tenant_id,
                currency=payment.currency,
            )
            if _opened_by(control_session, payment) <= opened:
                return rows[payment.invoice_id]
            attempt.rollback()


def _opened_by(control_session: Session, payment: Payment) -> set[UUID]:
    used = credits.payments_from(control_session=control_session, payment_id=payment.id)
    return {payment.invoice_id, *(each.invoice_id for each in used)}


def _reverse(
    control_session: Session, payment: Payment, why: _Why, now: datetime
) -> PaymentReversal:
    invoice = lock(control_session=control_session, payment=payment)
    known = reversal_of(control_session=control_session, payment_id=payment.id)
    if known is not None:
        return known
    going_back = exists().where(
        Refund.payment_id == payment.id, Refund.state.not_in(("succeeded", "closed"))
    )
    if control_session.scalar(select(going_back)):
        raise MoneyGoingBack("Money of this payment is on its way back. Clear that up first.")
    _take_credit(control_session, payment, why, now)
    row = PaymentReversal(
        tenant_id=payment.tenant_id,
        payment_id=payment.id,
        source=why.source,
        reason=why.reason,
        amount_minor=payment.amount_minor if why.taken_minor is None else why.taken_minor,
        currency=payment.currency,
        reversed_at=now,
        reversed_on=clock.today(now, settings().contract_timezone),
        reversed_by=why.staff_id,
    )
    control_session.add(row)
    control_session.flush()
    ledger.book_reversal(
        control_session=control_session,
        payment=payment,
        reversal_id=row.id,
        amount_minor=row.amount_minor,
        day=row.reversed_on,
        now=now,
        disputed=why.source == "dispute",
    )
    settled_minor = payment.settled_minor - (payment.amount_minor - row.amount_minor)
    _owed_again(control_session, invoice, settled_minor, why, now)
    _write_down(control_session, invoice, row, why, now)
    _open_deposit(control_session, payment, why, now)
    if why.source != "dispute":
        money_back.reversed_here(control_session=control_session, payment=payment, row=row, now=now)
    return row


def _take_credit(control_session: Session, payment: Payment, why: _Why, now: datetime) -> None:
    """What was left of it as credit goes too, and first whatever that credit settled since."""
    if payment.kind == "credit":
        credits.give_back_to_account(control_session=control_session, payment_id=payment.id)
        return
    because = _Why("credit", why.reason, why.actor, is_charged=why.is_charged)
    for each in credits.payments_from(control_session=control_session, payment_id=payment.id):
        _reverse(control_session, each, because, now)
    credits.take_overpayment(control_session=control_session, payment_id=payment.id, now=now)


def _owed_again(
    control_session: Session, invoice: Invoice, settled_minor: int, why: _Why, now: datetime
) -> None:
    """What the payment settled is open again, and collected as if it had never come."""
    if not settled_minor:
        return
    owed = {"paid_minor": invoice.paid_minor - settled_minor}
    collect_at = None
    if why.is_charged:
        collect_at = dunning.after_reversal(
            control_session=control_session, invoice=invoice, now=now
        )
    if invoice.state in SETTLED_STATES:
        states.move(
            control_session=control_session,
            machine=INVOICE,
            row=invoice,
            to="issued",
            actor=why.actor,
            now=now,
            why=why.reason,
            values=owed | {"paid_at": None, "collect_at": collect_at},
        )
    else:
        invoice.paid_minor = owed["paid_minor"]
        invoice.collect_at = invoice.collect_at or collect_at
        control_session.flush()
        notify(control_session, "collection")


def _write_down(
    control_session: Session,
    invoice: Invoice,
    row: PaymentReversal,
    why: _Why,
    now: datetime,
) -> None:
    audit.append(
        control_session=control_session,
        actor=why.actor,
        action="payment.reversed",
        subject_kind="invoice",
        subject_id=invoice.id,
        tenant_id=invoice.tenant_id,
        why=why.reason,
        details={
            "payment": str(row.payment_id),
            "amount_minor": row.amount_minor,
            "currency": row.currency,
            "source": row.source,
        },
        now=now,
    )
    to = invoice.buyer.get("email")
    if not to or why.source == "credit" or not invoice.open_minor or not why.is_told:
        return
    queue_mail(
        control_session=control_session,
        room="invoices",
        name="payment_reversed",
        to=to,
        language=invoice.buyer["language"],
        context={
            "company": invoice.buyer["name"],
            "number": invoice.number_text,
            "total": str(Money(row.amount_minor, row.currency)),
            "open": str(Money(invoice.open_minor, invoice.currency)),
            "by_bank": row.source == "gateway",
            "disputed": row.source == "dispute",
            "url": card_links.link(tenant_id=invoice.tenant_id, now=now),
            "link_until": card_links.last_day(now=now),
            "invoice_id": invoice.id,
        },
        regarding_id=invoice.tenant_id,
        dedupe_key=f"payment_reversed:{row.id}",
        now=now,
    )


def _open_deposit(control_session: Session, payment: Payment, why: _Why, now: datetime) -> None:
    """A deposit of a statement waits for the invoice that it is really for, or is put aside."""
    _, named, transfer_id = payment.gateway_payment_id.partition("statement-")
    if payment.kind != "transfer" or not named:
        return
    states.move(
        control_session=control_session,
        machine=BANK_TRANSFER,
        row=control_session.get_one(BankTransfer, UUID(transfer_id), with_for_update=True),
        to="open",
        actor=why.actor,
        now=now,
        why=why.reason,
        values={"invoice_id": None, "score": None, "settled_by": None, "settled_at": None},
    )


@dataclass(frozen=True, slots=True)
class Undone:
    """A reversal that somebody should know of, and whether a cash receipt still proves it."""

    reversal: PaymentReversal
    payment: Payment
    invoice: Invoice
    receipt_stands: bool

    @property
    def id(self) -> UUID:
        """The reversal's own."""
        return self.reversal.id


def receipt_to_cancel() -> ColumnElement[bool]:
    """This function will return the condition that a cash receipt proves money that is not there.

    A person's: it is cancelled with its issuer, and an unpaid supply needs a tax invoice instead.
    """
    receipt = exists().where(
        CashReceipt.invoice_id == Invoice.id,
        CashReceipt.cancels_id.is_(None),
        CashReceipt.evidence_id.is_not(None),
        CashReceipt.state.in_(RECEIPT_STANDS),
    )
    gone = (
        exists()
        .where(PaymentReversal.payment_id == Payment.id, Payment.invoice_id == Invoice.id)
        .correlate(Invoice)
    )
    return and_(Invoice.state == "issued", receipt, gone)


def supplies_with_receipt_to_cancel() -> Select[UUID]:
    """This function will select the invoices of such receipts, found from what was reversed."""
    return (
        select(Invoice.id)
        .join(Payment, Payment.invoice_id == Invoice.id)
        .join(PaymentReversal, PaymentReversal.payment_id == Payment.id)
        .where(receipt_to_cancel())
    )


_RECEIPT = receipt_to_cancel()
_OWED = (Invoice.state == "issued") & PaymentReversal.source.not_in(BY_A_PERSON)
_WORK_LIST = (
    select(PaymentReversal, Payment, Invoice, _RECEIPT)
    .join(Payment, Payment.id == PaymentReversal.payment_id)
    .join(Invoice, Invoice.id == Payment.invoice_id)
    .where(_OWED | _RECEIPT)
    .order_by(PaymentReversal.reversed_at, PaymentReversal.id)
    .limit(bindparam("most", type_=Integer))
)


def work_list(*, control_session: Session, limit: int) -> list[Undone]:
    """This function will list what was reversed and is owed since, or is proved all the same.

    What finance took back itself is listed only while a cash receipt proves it.
    """
    rows = control_session.execute(_WORK_LIST, {"most": limit})
    return [Undone(*row) for row in rows]
