"""Differences between a gateway's books and ours: found once, shown with a cause, settled once.

| kind           | what differs                                    | amount is                     |
| missing_here   | a line of the gateway's that stands for nothing | the line's                    |
| missing_there  | a payment or refund the gateway never told of   | ours, turned round            |
| other_amount   | a line of another sum than our payment          | theirs less ours              |
| other_day      | a line of another day than our payment          | nothing                       |
| duplicate      | a second line for the same payment              | the line's                    |
| changed        | a line that says something else than before     | nothing: a person looks       |
| refunded_there | money the gateway gave back, and not at our word| what went back                |
| disputed       | a payment that its payer disputes               | nothing: the lines tell       |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import ColumnElement, exists, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import Actor, append
from app.base.errors import Conflict, Invalid, NotFound
from invoices import reconciliation_bookings as bookings
from invoices import refund_outcome, refunds
from invoices.models import (
    DifferenceSettlement,
    Payment,
    ReconciliationDifference,
    Refund,
    SettlementLine,
)
from invoices.payment_standing import stands
from invoices.refund_outcome import Desk

RECONCILER = Actor.job("reconciliation")
REASON_LENGTH_MAX = 500
# Booked when they are found, since the gateway's cash already is what they say.
BOOKED = frozenset({"missing_here", "other_amount", "duplicate", "refunded_there"})


class NoSuchDifference(NotFound):
    """There is no such difference."""


class SettledAlready(Conflict):
    """Somebody, or the gateway's next report, settled the difference before."""


class NotThatPayment(Invalid):
    """The line can't stand for that payment: it is another sum, or another line stands for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A difference as it is found. `key` is the same whenever the same one is found."""

    key: str
    kind: str
    cause: str
    gateway: str
    day: date
    currency: str
    amount_minor: int = 0
    tenant_id: UUID | None = None
    payment_id: UUID | None = None
    refund_id: UUID | None = None


def of_line(
    line: SettlementLine,
    *,
    kind: str,
    cause: str,
    amount_minor: int = 0,
    payment: Payment | None = None,
    key: str = "",
) -> Found:
    """This function will name a difference that a line of the gateway's books shows."""
    return Found(
        key=key or f"{kind}:{line.id}",
        kind=kind,
        cause=cause,
        gateway=line.gateway,
        day=line.booked_on,
        currency=line.currency,
        amount_minor=amount_minor,
        tenant_id=payment.tenant_id if payment else None,
        payment_id=payment.id if payment else line.payment_id,
    )


def of_payment(
    payment: Payment, *, key: str, kind: str, cause: str, amount_minor: int = 0, day: date
) -> Found:
    """This function will name a difference about a payment of ours."""
    return Found(
        key=key,
        kind=kind,
        cause=cause,
        gateway=payment.gateway,
        day=day,
        currency=payment.currency,
        amount_minor=amount_minor,
        tenant_id=payment.tenant_id,
        payment_id=payment.id,
    )


def is_open() -> ColumnElement[bool]:
    """This function will return the condition that nobody settled a difference yet."""
    return ~exists().where(DifferenceSettlement.difference_id == ReconciliationDifference.id)


def raise_one(*, control_session: Session, found: Found, now: datetime) -> ReconciliationDifference:
    """This function will write a difference down and book it; one that is known stays as it is."""
    control_session.flush()
    is_booked = found.kind in BOOKED and found.amount_minor != 0
    control_session.execute(
        postgresql.insert(ReconciliationDifference)
        .values(
            id=ids.uuid7(),
            **{name: getattr(found, name) for name in Found.__slots__},
            is_booked=is_booked,
            found_at=now,
        )
        .on_conflict_do_nothing(index_elements=["key"])
    )
    written = control_session.scalars(
        select(ReconciliationDifference).where(ReconciliationDifference.key == found.key)
    ).one()
    if written.is_booked:
        bookings.book_difference(control_session=control_session, difference=written, now=now)
    return written


def line_differs(
    *, control_session: Session, line: SettlementLine, found: Found, now: datetime
) -> None:
    """This function will write down a difference that a line shows, and point the line at it."""
    written = raise_one(control_session=control_session, found=found, now=now)
    line.difference_id = written.id
    control_session.flush()


def stands_for_nothing(
    *, control_session: Session, line: SettlementLine, cause: str, now: datetime
) -> None:
    """This function will write down that a line of the gateway's is about nothing of ours."""
    found = of_line(line, kind="missing_here", cause=cause, amount_minor=line.gross_minor)
    line_differs(control_session=control_session, line=line, found=found, now=now)


def opened(*, control_session: Session, difference_id: UUID) -> ReconciliationDifference:
    """This function will return a difference that is not settled, locked against a second one.

    Raises: NoSuchDifference, SettledAlready.
    """
    # Rows are final and can't be locked for a change, so whoever settles one takes turns by its id.
    control_session.execute(
        select(func.pg_advisory_xact_lock(func.hashtextextended(f"difference {difference_id}", 0)))
    )
    found = control_session.get(ReconciliationDifference, difference_id)
    if found is None:
        raise NoSuchDifference("There is no such difference.")
    settled = exists().where(DifferenceSettlement.difference_id == difference_id)
    if control_session.scalar(select(settled)):
        raise SettledAlready("This difference is settled already.")
    return found


def accept(
    *, control_session: Session, difference_id: UUID, reason: str, staff_id: UUID, now: datetime
) -> None:
    """This function will let a difference stand, and say why: its sum stays on the differences.

    Raises: NoSuchDifference, SettledAlready, Invalid without a reason.
    """
    found = opened(control_session=control_session, difference_id=difference_id)
    _settle(control_session, found, "accepted", why=checked(reason), by=staff_id, now=now)


def link(
    *,
    control_session: Session,
    difference_id: UUID,
    payment_id: UUID,
    reason: str,
    staff_id: UUID,
    now: datetime,
) -> None:
    """This function will say which payment of ours the gateway's line stands for.

    Raises: NoSuchDifference, SettledAlready, NotThatPayment, Invalid without a reason.
    """
    why = checked(reason)
    found = opened(control_session=control_session, difference_id=difference_id)
    if found.kind != "missing_here":
        raise NotThatPayment("Only a line that stands for nothing can be given a payment.")
    line = control_session.scalar(
        select(SettlementLine)
        .where(SettlementLine.difference_id == found.id, SettlementLine.kind == "payment")
        .with_for_update()
    )
    payment = control_session.scalar(
        select(Payment).where(Payment.id == payment_id, *_could_be(found)).with_for_update()
    )
    if line is None or payment is None:
        raise NotThatPayment("Choose a payment of the same sum that the gateway did not tell of.")
    line.payment_id = payment.id
    control_session.flush()
    _settle(control_session, found, "linked", why=why, by=staff_id, now=now)
    turn_up(control_session=control_session, key=f"missing_there:{payment.id}", now=now)


def end_dispute(
    *,
    control_session: Session,
    difference: ReconciliationDifference,
    resolution: str,
    reason: str,
    staff_id: UUID,
    now: datetime,
) -> None:
    """This function will write down how a lost dispute ended, once its payment is taken back."""
    _settle(control_session, difference, resolution, why=reason, by=staff_id, now=now)


def link_refund(
    *,
    control_session: Session,
    difference_id: UUID,
    refund_id: UUID,
    reason: str,
    staff_id: UUID,
    now: datetime,
) -> None:
    """This function will say that a refund of ours is what the gateway gave back by itself.

    Raises: NoSuchDifference, SettledAlready, NotThatPayment, Invalid without a reason.
    """
    why = checked(reason)
    found = opened(control_session=control_session, difference_id=difference_id)
    waiting = refunds_waiting(control_session=control_session, difference=found)
    if refund_id not in [each.id for each in waiting]:
        raise NotThatPayment("Choose a refund of the same payment and sum that waits to be sent.")
    refund = refunds.locked(control_session, refund_id)
    desk = Desk(control_session, Actor.staff(staff_id), now)
    refund_outcome.sent(desk, refund, place=found.gateway, why=why)
    lines = control_session.scalars(
        select(SettlementLine).where(
            SettlementLine.difference_id == found.id,
            SettlementLine.gross_minor == found.amount_minor,
        )
    ).all()
    if len(lines) == 1:
        lines[0].refund_id = refund_id
    _settle(control_session, found, "linked", why=why, by=staff_id, now=now)


def refunds_waiting(
    *, control_session: Session, difference: ReconciliationDifference
) -> list[Refund]:
    """This function will list the waiting refunds of ours that could be what went back."""
    if difference.kind != "refunded_there":
        return []
    return list(
        control_session.scalars(
            select(Refund).where(
                Refund.payment_id == difference.payment_id,
                Refund.state.in_(("by_hand", "needs_person")),
                Refund.gateway == difference.gateway,
                Refund.amount_minor == -difference.amount_minor,
                Refund.currency == difference.currency,
            )
        )
    )


def candidates(
    *, control_session: Session, difference: ReconciliationDifference, limit: int = 20
) -> list[Payment]:
    """This function will list payments of ours that a line which stands for nothing could be."""
    if difference.kind != "missing_here" or difference.amount_minor <= 0:
        return []
    distance = func.abs(Payment.received_on - difference.day)
    return list(
        control_session.scalars(
            select(Payment).where(*_could_be(difference)).order_by(distance).limit(limit)
        )
    )


def _could_be(difference: ReconciliationDifference) -> tuple[ColumnElement[bool], ...]:
    given_up = select(ReconciliationDifference.payment_id).join(
        DifferenceSettlement, DifferenceSettlement.difference_id == ReconciliationDifference.id
    )
    return (
        Payment.gateway == difference.gateway,
        Payment.currency == difference.currency,
        Payment.amount_minor == difference.amount_minor,
        stands(),
        ~exists().where(SettlementLine.payment_id == Payment.id, SettlementLine.kind == "payment"),
        Payment.id.not_in(
            given_up.where(
                ReconciliationDifference.kind == "missing_there",
                ReconciliationDifference.payment_id.is_not(None),
                DifferenceSettlement.resolution == "accepted",
            )
        ),
    )


def turn_up(*, control_session: Session, key: str, now: datetime) -> None:
    """This function will settle an open difference by itself: what was missing is there now."""
    found = control_session.scalar(
        select(ReconciliationDifference).where(ReconciliationDifference.key == key, is_open())
    )
    if found is None:
        return
    try:
        found = opened(control_session=control_session, difference_id=found.id)
    except SettledAlready:
        return
    _settle(control_session, found, "matched", why="", by=None, now=now)


def was_given_up(*, control_session: Session, key: str) -> bool:
    """This function will tell whether a person accepted that difference for good."""
    return bool(
        control_session.scalar(
            select(
                exists().where(
                    ReconciliationDifference.key == key,
                    DifferenceSettlement.difference_id == ReconciliationDifference.id,
                    DifferenceSettlement.resolution == "accepted",
                )
            )
        )
    )


def _settle(
    control_session: Session,
    difference: ReconciliationDifference,
    resolution: str,
    *,
    why: str,
    by: UUID | None,
    now: datetime,
) -> None:
    settlement = DifferenceSettlement(
        difference_id=difference.id,
        resolution=resolution,
        reason=why,
        settled_by=by,
        settled_at=now,
    )
    control_session.add(settlement)
    control_session.flush()
    if difference.amount_minor:
        bookings.book_settled(
            control_session=control_session,
            difference=difference,
            settlement_id=settlement.id,
            stays=resolution == "accepted",
            now=now,
        )
    append(
        control_session=control_session,
        actor=RECONCILER if by is None else Actor.staff(by),
        action=f"difference.{resolution}",
        subject_kind="reconciliation_difference",
        subject_id=difference.id,
        tenant_id=difference.tenant_id,
        why=why or None,
        now=now,
    )


def checked(reason: str) -> str:
    """This function will tidy a reason. Raises: Invalid without one."""
    text = " ".join(reason.split())
    if not 1 <= len(text) <= REASON_LENGTH_MAX:
        raise Invalid("Say why, in a few words.", field="reason")
    return text
