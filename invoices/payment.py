"""Payment by card: the charge protocol, held so that an invoice is never charged twice.

`begin` commits an attempt with its idempotency key; `perform` calls the gateway in no transaction;
`record` settles the attempt by compare-and-set. Where the gateway knows a payment before it moves
money, `prepare` (in no transaction) and `keep_prepared` (committed before `perform`) come first, so
that the attempt carries the payment's own id before anything can be taken. Whoever dies in between
is followed by the reaper (`due_attempts`): inside the gateway's key window it repeats the same key,
after it only looks. What stays unknown is a person's (`payment_queue`) within a day, and never
charged anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session

from app.base import secrets, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, NotFound
from app.base.money import Money
from invoices import dunning, method_choices, payment_outcome, settlement
from invoices.gateways.port import (
    Absent,
    Capability,
    ChargeResult,
    Declined,
    LookupResult,
    Prepared,
    PrepareResult,
    Succeeded,
    Unknown,
)
from invoices.gateways.registry import gateway
from invoices.models import ATTEMPT, Invoice, PaymentAttempt, PaymentMethod
from invoices.payment_outcome import Desk
from tenants.models import LIVE_STATES, Tenant

COLLECTOR = Actor.job("payment")
# States in which money may be moving: no other payment of the invoice may begin meanwhile.
UNDER_WAY = ("open", "unknown", "needs_person")
# Longer than any call can take, so that the reaper never works on an attempt beside its maker.
MARGIN = timedelta(seconds=30)
# However long the gateway remembers a key, we stop sending it in time for a person to hear of the
# attempt within a day; and stop early by as much as two clocks may differ.
KEY_USED_FOR = timedelta(hours=20)
CLOCKS_DIFFER = timedelta(minutes=15)


class NoSuchAttempt(NotFound):
    """No such payment attempt was ever begun."""


class ChargeUnderWay(Conflict):
    """A charge of this invoice is under way; its outcome must be known first."""


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
    prepared_id: str | None = None


def due_invoices(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an invoice is to be collected by card now.

    Not while money may be moving for it, and not once the tenant's data is being erased.
    """
    return and_(
        Invoice.state == "issued",
        Invoice.collect_at <= now,
        ~exists().where(
            PaymentAttempt.invoice_id == Invoice.id, PaymentAttempt.state.in_(UNDER_WAY)
        ),
        exists().where(Tenant.id == Invoice.tenant_id, Tenant.state.in_(LIVE_STATES)),
    )


def due_attempts() -> ColumnElement[bool]:
    """This function will return the condition that an attempt's outcome is to be found out."""
    return PaymentAttempt.state.in_(("open", "unknown"))


def call_lease() -> timedelta:
    """This function will return how long a job holds rows that each need a call to a gateway.

    Twice the longest call and more: a gateway that hangs on one row must not let the leases of
    the next ones run out.
    """
    return 3 * _call_seconds()


def begin(
    *, control_session: Session, invoice_id: UUID, now: datetime, real_now: datetime
) -> Order | None:
    """This function will write down a new attempt, with its key, and lease it to the caller.

    Nothing is to be done, and None returned, when the invoice is paid or void meanwhile, when
    another attempt is under way, or when the tenant has no card (the invoice then waits).
    """
    invoice = locked(control_session, invoice_id)
    if not control_session.scalar(
        select(exists().where(Invoice.id == invoice_id, due_invoices(now)))
    ):
        return None
    settlement.use_credit(control_session=control_session, invoice=invoice, now=now)
    method = method_choices.turn(control_session=control_session, invoice=invoice)
    invoice.collect_at = None
    if method is None and invoice.open_minor:
        dunning.ask_for_method(control_session=control_session, invoice=invoice, now=now)
    if method is None or not invoice.open_minor:
        return None
    attempt = _attempt(control_session, invoice, method, now, real_now)
    states.begin(
        control_session=control_session, machine=ATTEMPT, row=attempt, actor=COLLECTOR, now=now
    )
    return _order(attempt, invoice, method)


def locked(control_session: Session, invoice_id: UUID) -> Invoice:
    """This function will return an invoice, read anew under its lock.

    Whoever locks an invoice and its attempt or its tenant locks the invoice first.
    """
    return control_session.get_one(
        Invoice, invoice_id, with_for_update=True, populate_existing=True
    )


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
    window = min(gateway(method.gateway).key_window - CLOCKS_DIFFER, KEY_USED_FOR)
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
        amount_minor=invoice.open_minor,
        currency=invoice.currency,
        key_expires_at=real_now + max(window, timedelta()),
        begun_at=now,
        lease_until=func.clock_timestamp() + _call_seconds(),
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
        tax_minor=_tax_within(invoice, attempt.amount_minor),
        name=f"Tenantry {invoice.number_text}",
        idempotency_key=attempt.idempotency_key,
        key_expires_at=attempt.key_expires_at,
        begun_at=attempt.begun_at,
        prepared_id=attempt.gateway_payment_id,
    )


def _tax_within(invoice: Invoice, amount_minor: int) -> int:
    """An invoice's tax is spread evenly over what is paid for it."""
    return invoice.tax_minor * amount_minor // invoice.total_minor


def is_to_prepare(*, order: Order) -> bool:
    """This function will tell whether the gateway must know the payment before it is charged."""
    prepares = Capability.PREPARE in gateway(order.gateway).capabilities
    return prepares and order.prepared_id is None


def prepare(*, order: Order) -> PrepareResult:
    """This function will make the payment known to the gateway, moving no money.

    Call it in no transaction. Anything but Prepared is the attempt's result: `record` it.
    """
    return gateway(order.gateway).prepare(
        token=secrets.decrypt(order.token_sealed),
        customer_key=order.customer_key,
        order_id=order.order_id,
        amount=order.amount,
        tax_minor=order.tax_minor,
        name=order.name,
        idempotency_key=order.idempotency_key,
        attempt_id=str(order.attempt_id),
    )


def keep_prepared(*, control_session: Session, order: Order, prepared: Prepared) -> Order | Unknown:
    """This function will write the payment's id on the attempt: only then may it be charged.

    Unknown, where the attempt was settled meanwhile, or carries another payment's id: whoever
    slept that long must not charge any more.
    """
    attempt = control_session.get_one(
        PaymentAttempt, order.attempt_id, with_for_update=True, populate_existing=True
    )
    if attempt.state not in UNDER_WAY:
        return Unknown("the attempt was settled while its payment was prepared")
    if attempt.gateway_payment_id not in (None, prepared.gateway_payment_id):
        return Unknown("another payment was prepared for the attempt")
    attempt.gateway_payment_id = prepared.gateway_payment_id
    return replace(order, prepared_id=prepared.gateway_payment_id)


def perform(*, order: Order) -> ChargeResult:
    """This function will charge at the gateway. Call it in no transaction."""
    if is_to_prepare(order=order):
        raise ValueError("The payment's id is stored before it is charged: prepare it first.")
    return gateway(order.gateway).charge(
        token=secrets.decrypt(order.token_sealed),
        customer_key=order.customer_key,
        order_id=order.order_id,
        amount=order.amount,
        tax_minor=order.tax_minor,
        name=order.name,
        idempotency_key=order.idempotency_key,
        attempt_id=str(order.attempt_id),
        prepared_id=order.prepared_id,
    )


def reopen(*, control_session: Session, attempt_id: UUID) -> Order:
    """This function will read what the reaper needs to find an attempt's outcome out."""
    attempt = control_session.get_one(PaymentAttempt, attempt_id)
    return _order(
        attempt,
        control_session.get_one(Invoice, attempt.invoice_id),
        control_session.get_one(PaymentMethod, attempt.method_id),
    )


def key_counts(*, order: Order, real_now: datetime) -> bool:
    """This function will tell whether the gateway will still know the key when its answer comes."""
    return real_now + _call_seconds() < order.key_expires_at


def find_out(*, order: Order, real_now: datetime) -> ChargeResult | LookupResult:
    """This function will ask again with the same key, or, after its window, only look.

    Call it in no transaction. After the window nothing is ever sent a second time.
    """
    if not key_counts(order=order, real_now=real_now):
        return give_up(order=order)
    result = perform(order=order)
    if not isinstance(result, Unknown):
        return result
    # A gateway may go on replaying its first error although the money moved. Only that news is
    # taken from looking: that there is no payment yet proves nothing while the key still counts.
    found = look(order=order)
    return found if isinstance(found, Succeeded) else result


def give_up(*, order: Order) -> LookupResult:
    """This function will look, after the key's time, and end what was prepared and never charged.

    Only then is there nothing that a process which slept could still take the money of. Call it
    in no transaction.
    """
    found = look(order=order)
    if order.prepared_id is None or not isinstance(found, Absent):
        return found
    return gateway(order.gateway).abandon(
        prepared_id=order.prepared_id, idempotency_key=order.idempotency_key
    )


def look(*, order: Order) -> LookupResult:
    """This function will look an order up at the gateway, moving no money."""
    at = gateway(order.gateway)
    if is_to_prepare(order=order):
        # Nothing was ever charged: its id would have been stored before.
        return Absent()
    if order.prepared_id is not None and Capability.LOOKUP_BY_PAYMENT in at.capabilities:
        return at.lookup(gateway_payment_id=order.prepared_id)
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
    if invoice_id is None:
        raise NoSuchAttempt("There is no such payment attempt.")
    invoice = locked(control_session, invoice_id)
    attempt = control_session.get_one(
        PaymentAttempt, attempt_id, with_for_update=True, populate_existing=True
    )
    if attempt.state not in UNDER_WAY:
        return attempt
    desk = Desk(control_session, actor, now)
    match result:
        case Succeeded():
            payment_outcome.succeeded(desk, attempt, invoice, result)
        case Declined():
            payment_outcome.declined(desk, attempt, invoice, result)
        case Absent():
            # Sent in vain, or never sent: the gateway knows of no money, and the key is dead.
            payment_outcome.never_charged(desk, attempt, invoice, "absent")
        case Unknown():
            payment_outcome.unknown(desk, attempt, result)
    return attempt
