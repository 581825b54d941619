"""What becomes of a payment attempt, once the gateway, or a person, has said it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock, states
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.money import Money
from invoices import dunning, settlement
from invoices.gateways.port import Declined, Succeeded, Unknown
from invoices.models import ATTEMPT, Invoice, PaymentAttempt
from invoices.settlement import Arrival


@dataclass(frozen=True, slots=True)
class Desk:
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


def succeeded(desk: Desk, attempt: PaymentAttempt, invoice: Invoice, result: Succeeded) -> None:
    """This function will settle an attempt whose money came; a wrong sum is shown to a person."""
    expected = Money(attempt.amount_minor, attempt.currency)
    if result.amount != expected or result.order_id != attempt.order_id:
        why = f"charged {result.amount} for {result.order_id}, expected {expected}"
        to_person(desk, attempt, why)
        return
    attempt.gateway_payment_id = result.gateway_payment_id
    attempt.finished_at, attempt.lease_until = desk.now, None
    desk.move(attempt, "succeeded")
    settlement.receive(
        control_session=desk.control_session,
        invoice_id=invoice.id,
        arrival=Arrival(
            kind="card",
            gateway=attempt.gateway,
            gateway_payment_id=result.gateway_payment_id,
            amount=result.amount,
            received_on=clock.today(desk.now, settings().contract_timezone),
            attempt_id=attempt.id,
        ),
        actor=desk.actor,
        now=desk.now,
    )


def declined(desk: Desk, attempt: PaymentAttempt, invoice: Invoice, result: Declined) -> None:
    """This function will settle an attempt that the gateway refused, and plan what follows."""
    attempt.decline_class = result.decline_class.value
    attempt.decline_code = result.code
    attempt.decline_message = result.message
    attempt.gateway_payment_id = result.gateway_payment_id or attempt.gateway_payment_id
    attempt.finished_at, attempt.lease_until = desk.now, None
    desk.move(attempt, "declined", result.code)
    if not invoice.open_minor:
        # Money came another way meanwhile: nobody is asked for any.
        return
    dunning.after_decline(
        control_session=desk.control_session,
        invoice=invoice,
        attempt=attempt,
        actor=desk.actor,
        now=desk.now,
    )


def never_charged(
    desk: Desk, attempt: PaymentAttempt, invoice: Invoice, code: str, why: str | None = None
) -> None:
    """This function will close an attempt that moved no money, and collect the invoice anew.

    Nobody refused anything, so the tenant hears nothing and no rung of the ladder is used up.
    """
    attempt.decline_code, attempt.decline_message = code, why
    attempt.finished_at, attempt.lease_until = desk.now, None
    desk.move(attempt, "declined", why or code)
    if invoice.open_minor:
        invoice.collect_at = desk.now
        notify(desk.control_session, "collection")


def unknown(desk: Desk, attempt: PaymentAttempt, result: Unknown) -> None:
    """This function will leave an attempt to the reaper, and in the end to a person."""
    attempt.last_error = result.reason[:2000]
    if attempt.state == "open":
        # The reaper may have it at once: its maker is done with it.
        attempt.lease_until = None
        desk.move(attempt, "unknown", result.reason)
        return
    if attempt.state != "unknown" or attempt.attempts < settings().work_attempts_max - 1:
        return
    if desk.control_session.scalar(select(attempt.key_expires_at > func.clock_timestamp())):
        # The same key may still bring the answer: asked on, once an hour.
        attempt.attempts = settings().work_attempts_max - 3
    else:
        to_person(desk, attempt, result.reason)


def to_person(desk: Desk, attempt: PaymentAttempt, why: str) -> None:
    """This function will put an attempt in the queue of those that a person must clear up."""
    attempt.last_error = why[:2000]
    attempt.lease_until = None
    if attempt.state == "open":
        desk.move(attempt, "unknown", why)
    if attempt.state == "unknown":
        desk.move(attempt, "needs_person", why)
