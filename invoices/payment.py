"""Payment by card: the charge protocol, held so that an invoice is never charged twice.

`begin` commits an attempt with its idempotency key; `perform` calls the gateway in no transaction;
`record` settles the attempt by compare-and-set. Whoever dies in between is followed by the reaper
(`due_attempts`): inside the gateway's key window it repeats the same key, after it only looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from app.base import secrets, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict
from app.base.money import Money
from invoices import dunning, ledger
from invoices.gateways.port import (
    Absent,
    Capability,
    ChargeResult,
    DeclineClass,
    Declined,
    LookupResult,
    Succeeded,
    Unknown,
)
from invoices.gateways.registry import gateway
from invoices.models import ATTEMPT, INVOICE, Invoice, Payment, PaymentAttempt, PaymentMethod
from invoices.payment_methods import default_method

COLLECTOR = Actor.job("payment")
# States in which money may be moving: no other payment of the invoice may begin meanwhile.
UNDER_WAY = ("open", "unknown", "needs_person")
# Longer than any call can take, so that the reaper never works on an attempt beside its maker.
MARGIN = timedelta(seconds=30)


class ChargeUnderWay(Conflict):
    """A charge of this invoice is under way; its outcome must be known first."""


class NothingToSettle(Conflict):
    """The attempt is settled already."""


@dataclass(frozen=True, slots=True)
class Order:
    """All that a charge needs, read before the transaction ended. The token stays sealed."""

    attempt_id: UUID
    gateway: str
    token_sealed: str
    customer_key: str
    order_id: str
    amount: Money
    tax_minor: int
    name: str
    idempotency_key: str
    key_expires_at: datetime
    begun_at: datetime


def due_invoices(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an invoice is to be collected by card now."""
    return and_(Invoice.state == "issued", Invoice.collect_at <= now)


def due_attempts() -> ColumnElement[bool]:
    """This function will return the condition that an attempt's outcome is to be found out."""
    return PaymentAttempt.state.in_(("open", "unknown"))


def begin(
    *, control_session: Session, invoice_id: UUID, now: datetime, real_now: datetime
) -> Order | None:
    """This function will write down a new attempt, with its key, and lease it to the caller.

    Nothing is to be done, and None returned, when the invoice is paid or void meanwhile, when
    another attempt is under way, or when the tenant has no card (the invoice then waits).
    """
    invoice = control_session.get_one(Invoice, invoice_id, with_for_update=True)
    if invoice.state != "issued" or invoice.collect_at is None or invoice.collect_at > now:
        return None
    if under_way(control_session=control_session, invoice_id=invoice_id) is not None:
        return None
    method = default_method(control_session=control_session, tenant_id=invoice.tenant_id)
    invoice.collect_at = None
    if method is None:
        return None
    attempt = _attempt(control_session, invoice, method, now, real_now)
    control_session.add(attempt)
    control_session.flush()
    return _order(attempt, invoice, method)


def under_way(*, control_session: Session, invoice_id: UUID) -> PaymentAttempt | None:
    """This function will return the attempt whose outcome is open, if there is one."""
    return control_session.scalar(
        select(PaymentAttempt).where(
            PaymentAttempt.invoice_id == invoice_id, PaymentAttempt.state.in_(UNDER_WAY)
        )
    )


def _attempt(
    control_session: Session,
    invoice: Invoice,
    method: PaymentMethod,
    now: datetime,
    real_now: datetime,
) -> PaymentAttempt:
    made = control_session.scalar(
        select(func.max(PaymentAttempt.attempt_number)).where(
            PaymentAttempt.invoice_id == invoice.id
        )
    )
    number = (made or 0) + 1
    return PaymentAttempt(
        state="open",
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        attempt_number=number,
        method_id=method.id,
        gateway=method.gateway,
        # A new attempt is a new key and a new order: the old key would replay the old answer.
        idempotency_key=f"{invoice.id}-{number}",
        order_id=f"{invoice.id.hex}-{number}",
        amount_minor=invoice.total_minor,
        currency=invoice.currency,
        key_expires_at=real_now + gateway(method.gateway).key_window,
        begun_at=now,
        lease_until=real_now + _call_seconds(),
    )


def _call_seconds() -> timedelta:
    longest = settings().gateway_connect_timeout_seconds + settings().gateway_read_timeout_seconds
    return timedelta(seconds=longest) + MARGIN


def _order(attempt: PaymentAttempt, invoice: Invoice, method: PaymentMethod) -> Order:
    return Order(
        attempt_id=attempt.id,
        gateway=attempt.gateway,
        token_sealed=method.token_sealed,
        customer_key=method.customer_key,
        order_id=attempt.order_id,
        amount=Money(attempt.amount_minor, attempt.currency),
        tax_minor=invoice.tax_minor,
        name=f"Tenantry {invoice.number_text}",
        idempotency_key=attempt.idempotency_key,
        key_expires_at=attempt.key_expires_at,
        begun_at=attempt.begun_at,
    )


def perform(*, order: Order) -> ChargeResult:
    """This function will charge at the gateway. Call it in no transaction."""
    return gateway(order.gateway).charge(
        token=secrets.decrypt(order.token_sealed),
        customer_key=order.customer_key,
        order_id=order.order_id,
        amount=order.amount,
        tax_minor=order.tax_minor,
        name=order.name,
        idempotency_key=order.idempotency_key,
        attempt_id=str(order.attempt_id),
    )


def reopen(*, control_session: Session, attempt_id: UUID) -> Order:
    """This function will read what the reaper needs to find an attempt's outcome out."""
    attempt = control_session.get_one(PaymentAttempt, attempt_id)
    return _order(
        attempt,
        control_session.get_one(Invoice, attempt.invoice_id),
        control_session.get_one(PaymentMethod, attempt.method_id),
    )


def find_out(*, order: Order, real_now: datetime) -> ChargeResult | LookupResult:
    """This function will ask again with the same key, or, after its window, only look.

    Call it in no transaction. After the window nothing is ever sent a second time.
    """
    # The answer must come while the key still counts, not merely be asked for in time.
    if real_now + _call_seconds() < order.key_expires_at:
        return perform(order=order)
    return look(order=order)


def look(*, order: Order) -> LookupResult:
    """This function will look an order up at the gateway, moving no money."""
    at = gateway(order.gateway)
    if Capability.LOOKUP_BY_ORDER not in at.capabilities:
        return Unknown("the gateway can't look up orders")
    return at.lookup(order_id=order.order_id)


def record(
    *,
    control_session: Session,
    attempt_id: UUID,
    result: ChargeResult | LookupResult,
    now: datetime,
    actor: Actor = COLLECTOR,
) -> PaymentAttempt:
    """This function will settle an attempt by what the gateway said; a settled one stays so.

    The invoice is locked before the attempt, as `begin` does it, so that two never wait for each
    other in a circle.
    """
    invoice_id = control_session.scalar(
        select(PaymentAttempt.invoice_id).where(PaymentAttempt.id == attempt_id)
    )
    invoice = control_session.get_one(Invoice, invoice_id, with_for_update=True)
    attempt = control_session.get_one(
        PaymentAttempt, attempt_id, with_for_update=True, populate_existing=True
    )
    if attempt.state not in UNDER_WAY:
        return attempt
    desk = _Desk(control_session, actor, now)
    match result:
        case Succeeded():
            _succeeded(desk, attempt, invoice, result)
        case Declined():
            _declined(desk, attempt, invoice, result)
        case Absent():
            # Sent in vain, or never sent: the gateway knows of no money, and the key is dead.
            never = Declined(DeclineClass.RETRY_LATER, "absent", "The gateway never got it.")
            _declined(desk, attempt, invoice, never)
        case Unknown():
            _unknown(desk, attempt, result)
    return attempt


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where and by whom an attempt is settled."""

    control_session: Session
    actor: Actor
    now: datetime

    def move(self, attempt: PaymentAttempt, to: str, why: str | None = None) -> None:
        states.move(
            control_session=self.control_session,
            machine=ATTEMPT,
            row=attempt,
            to=to,
            actor=self.actor,
            now=self.now,
            why=why,
        )


def _succeeded(desk: _Desk, attempt: PaymentAttempt, invoice: Invoice, result: Succeeded) -> None:
    expected = Money(attempt.amount_minor, attempt.currency)
    if result.amount != expected or result.order_id != attempt.order_id:
        why = f"charged {result.amount} for {result.order_id}, expected {expected}"
        _to_person(desk, attempt, why)
        return
    attempt.gateway_payment_id = result.gateway_payment_id
    attempt.finished_at, attempt.lease_until = desk.now, None
    desk.move(attempt, "succeeded")
    payment = Payment(
        tenant_id=attempt.tenant_id,
        invoice_id=attempt.invoice_id,
        attempt_id=attempt.id,
        gateway=attempt.gateway,
        gateway_payment_id=result.gateway_payment_id,
        amount_minor=attempt.amount_minor,
        currency=attempt.currency,
        paid_at=desk.now,
    )
    settle(
        control_session=desk.control_session,
        invoice=invoice,
        payment=payment,
        actor=desk.actor,
        now=desk.now,
    )


def settle(
    *, control_session: Session, invoice: Invoice, payment: Payment, actor: Actor, now: datetime
) -> None:
    """This function will book a payment and mark its invoice paid; a blocked tenant opens again.

    Raises: IllegalMove when the invoice is not open any more: nothing is booked then.
    """
    control_session.add(payment)
    invoice.paid_at, invoice.collect_at = now, None
    states.move(
        control_session=control_session,
        machine=INVOICE,
        row=invoice,
        to="paid",
        actor=actor,
        now=now,
    )
    ledger.book_payment(control_session=control_session, payment=payment, now=now)
    dunning.after_payment(control_session=control_session, invoice=invoice, actor=actor, now=now)


def _declined(desk: _Desk, attempt: PaymentAttempt, invoice: Invoice, result: Declined) -> None:
    attempt.decline_class = result.decline_class.value
    attempt.decline_code = result.code
    attempt.decline_message = result.message
    attempt.gateway_payment_id = result.gateway_payment_id
    attempt.finished_at, attempt.lease_until = desk.now, None
    desk.move(attempt, "declined", result.code)
    dunning.after_decline(
        control_session=desk.control_session,
        invoice=invoice,
        attempt=attempt,
        actor=desk.actor,
        now=desk.now,
    )


def _unknown(desk: _Desk, attempt: PaymentAttempt, result: Unknown) -> None:
    attempt.last_error = result.reason[:2000]
    if attempt.state == "open":
        # The reaper may have it at once: its maker is done with it.
        attempt.lease_until = None
        desk.move(attempt, "unknown", result.reason)
    elif attempt.attempts >= settings().work_attempts_max - 1:
        _to_person(desk, attempt, result.reason)


def _to_person(desk: _Desk, attempt: PaymentAttempt, why: str) -> None:
    attempt.last_error = why[:2000]
    if attempt.state == "open":
        desk.move(attempt, "unknown", why)
    if attempt.state == "unknown":
        desk.move(attempt, "needs_person", why)


def declare_never_charged(
    *, control_session: Session, attempt_id: UUID, why: str, actor: Actor, now: datetime
) -> PaymentAttempt:
    """This function will let finance settle an attempt that only a person could clear up.

    To be used after the gateway's own back office showed that no money moved.

    Raises: NothingToSettle unless the attempt waits for a person.
    """
    attempt = control_session.get_one(PaymentAttempt, attempt_id)
    if attempt.state != "needs_person":
        raise NothingToSettle("This payment attempt does not wait for a person.")
    never = Declined(DeclineClass.PERSON_MUST_LOOK, "never_charged", why)
    return record(
        control_session=control_session, attempt_id=attempt_id, result=never, actor=actor, now=now
    )
