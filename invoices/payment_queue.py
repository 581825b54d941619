"""The person's queue: attempts that no machine could clear up, invoices that wait for finance."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.base import audit
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict
from invoices import payment, payment_outcome
from invoices.models import Invoice, PaymentAttempt
from invoices.payment import COLLECTOR, NoSuchAttempt
from invoices.payment_outcome import Desk

# Attempts that wait for a person, and open invoices whose latest attempt was declined.
WAITING = (
    select(PaymentAttempt)
    .where(PaymentAttempt.state == "needs_person")
    .order_by(PaymentAttempt.begun_at, PaymentAttempt.id)
)
_later = aliased(PaymentAttempt)
DECLINED = (
    select(Invoice, PaymentAttempt)
    .join(PaymentAttempt, PaymentAttempt.invoice_id == Invoice.id)
    .outerjoin(
        _later,
        and_(
            _later.invoice_id == Invoice.id,
            _later.attempt_number > PaymentAttempt.attempt_number,
        ),
    )
    .where(Invoice.state == "issued", PaymentAttempt.state == "declined", _later.id.is_(None))
    .order_by(Invoice.issued_at, Invoice.id)
)


class NothingToSettle(Conflict):
    """The attempt does not wait for anybody."""


class NotToCollect(Conflict):
    """The invoice is not open, or its payment is under way already."""


def exhausted_attempts() -> ColumnElement[bool]:
    """This function will return the condition that the reaper has given an attempt up."""
    return and_(
        payment.due_attempts(),
        PaymentAttempt.attempts >= settings().work_attempts_max,
        or_(
            PaymentAttempt.lease_until.is_(None),
            PaymentAttempt.lease_until < func.clock_timestamp(),
        ),
    )


def hand_over(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will give attempts to a person that the reaper gave up, and count them.

    Such as one whose gateway was uninstalled, or that killed each worker which touched it.
    """
    found = control_session.scalars(
        select(PaymentAttempt)
        .where(exhausted_attempts())
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    desk = Desk(control_session, COLLECTOR, now)
    for attempt in found:
        payment_outcome.to_person(desk, attempt, attempt.last_error or "the reaper gave up")
    return len(found)


def declare_never_charged(
    *, control_session: Session, attempt_id: UUID, why: str, actor: Actor, now: datetime
) -> PaymentAttempt:
    """This function will settle an attempt that only a person could clear up: no money moved.

    To be used after the gateway's own back office showed so. The invoice is collected anew.

    Raises: NoSuchAttempt; NothingToSettle unless the attempt waits for a person.
    """
    invoice_id = control_session.scalar(
        select(PaymentAttempt.invoice_id).where(PaymentAttempt.id == attempt_id)
    )
    if invoice_id is None:
        raise NoSuchAttempt("There is no such payment attempt.")
    invoice = payment.locked(control_session, invoice_id)
    attempt = control_session.get_one(
        PaymentAttempt, attempt_id, with_for_update=True, populate_existing=True
    )
    if attempt.state != "needs_person":
        raise NothingToSettle("This payment attempt does not wait for a person.")
    payment_outcome.never_charged(
        Desk(control_session, actor, now), attempt, invoice, "never_charged", why
    )
    return attempt


def try_again(
    *, control_session: Session, invoice_id: UUID, actor: Actor, now: datetime
) -> Invoice:
    """This function will let finance have an open invoice's card charged once more, at once.

    For declines that were our fault, or that a person had to look at first.

    Raises: NotToCollect; sqlalchemy.exc.NoResultFound for an id that is no invoice.
    """
    invoice = payment.locked(control_session, invoice_id)
    busy = payment.under_way(control_session=control_session, invoice_id=invoice_id)
    if invoice.state != "issued" or busy is not None:
        raise NotToCollect("This invoice is settled, or its payment is under way. Look again.")
    invoice.collect_at, invoice.attempts, invoice.retry_at = now, 0, None
    audit.append(
        control_session=control_session,
        actor=actor,
        action="invoice.collected_again",
        subject_kind="invoice",
        subject_id=invoice_id,
        tenant_id=invoice.tenant_id,
        now=now,
    )
    notify(control_session, "collection")
    return invoice


def waiting(*, control_session: Session, limit: int) -> list[PaymentAttempt]:
    """This function will list the attempts that wait for a person, oldest first."""
    return list(control_session.scalars(WAITING.limit(limit)))


def declined(*, control_session: Session, limit: int) -> list[tuple[Invoice, PaymentAttempt]]:
    """This function will list open invoices whose latest attempt was declined, oldest first."""
    rows = control_session.execute(DECLINED.limit(limit))
    return [(invoice, attempt) for invoice, attempt in rows]
