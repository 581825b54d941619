"""What becomes of a refund, once the gateway, or a person, has said it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from app.base.config import settings
from invoices import ledger
from invoices.gateways.port import DeclineClass, Declined, Refunded, Unknown
from invoices.ledger import Booking, credit, debit
from invoices.models import REFUND, Refund

PERSON = DeclineClass.PERSON_MUST_LOOK


@dataclass(frozen=True, slots=True)
class Desk:
    """Where and by whom a refund is settled."""

    control_session: Session
    actor: Actor
    now: datetime

    def move(self, refund: Refund, to: str, why: str | None = None) -> None:
        """This function will move a refund on."""
        states.move(
            control_session=self.control_session,
            machine=REFUND,
            row=refund,
            to=to,
            actor=self.actor,
            now=self.now,
            why=why,
        )


def succeeded(desk: Desk, refund: Refund, result: Refunded) -> None:
    """This function will settle a refund that went back; a wrong sum is shown to a person."""
    if (result.amount.amount_minor, result.amount.currency) != (
        refund.amount_minor,
        refund.currency,
    ):
        to_person(desk, refund, f"{result.amount} went back, {refund.amount_minor} was asked for")
        return
    refund.gateway_refund_id = result.gateway_refund_id or None
    sent(desk, refund, place=refund.gateway)


def sent(desk: Desk, refund: Refund, *, place: str, why: str | None = None) -> None:
    """This function will note that money left a place, and book it."""
    refund.finished_at, refund.lease_until, refund.sent_from = desk.now, None, place
    desk.move(refund, "succeeded", why)
    booking = Booking(
        kind="refund",
        cause_id=refund.id,
        tenant_id=refund.tenant_id,
        currency=refund.currency,
        sides=(
            debit("refunds", refund.amount_minor),
            credit("cash", refund.amount_minor, place),
        ),
    )
    ledger.post(control_session=desk.control_session, bookings=[booking], now=desk.now)


def declined(desk: Desk, refund: Refund, result: Declined) -> None:
    """This function will leave a refund that the gateway refused to a person: nothing went back."""
    refund.decline_code, refund.decline_message = result.code, result.message[:500]
    refund.lease_until = None
    desk.move(refund, "by_hand", result.code)


def unknown(desk: Desk, refund: Refund, result: Unknown) -> None:
    """This function will have a refund asked after again, and in the end by a person."""
    refund.last_error = result.reason[:2000]
    if refund.state == "open":
        refund.lease_until = None
        desk.move(refund, "unknown", result.reason)
        return
    if refund.attempts < settings().work_attempts_max - 1:
        return
    if desk.control_session.scalar(select(refund.key_expires_at > func.clock_timestamp())):
        refund.attempts = settings().work_attempts_max - 3
    else:
        to_person(desk, refund, result.reason)


def to_person(desk: Desk, refund: Refund, why: str) -> None:
    """This function will leave a refund of unknown outcome to a person."""
    refund.last_error, refund.lease_until = why[:2000], None
    if refund.state == "open":
        desk.move(refund, "unknown", why)
    desk.move(refund, "needs_person", why)
