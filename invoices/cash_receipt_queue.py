"""Cash receipts that wait for a person: refused ones, and those of which nobody knows what became.

A gateway cancels one by a key of its own. Where a person said by its number that a cash receipt was
issued, and not that key, a later cancelling is theirs too: done at the gateway, and noted here.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from app.base import audit, clock, leases
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.errors import Conflict, Invalid, NotFound
from invoices import cash_receipt_issuing as issuing
from invoices.models import CASH_RECEIPT, CashReceipt
from invoices.tax_papers.port import Stage

NUMBER_LENGTH_MAX = 24
REFERENCE_LENGTH_MAX = 200


class NotFailed(Conflict):
    """Only what failed is tried again."""


class NotAskedFor(Conflict):
    """A person says only of what was asked for, and never answered, what became of it."""


class BeingAsked(Conflict):
    """Its issuer is being asked right now, and may answer."""


class WhyMissing(Invalid):
    """Nobody says what became of a cash receipt without saying how they know."""


class NumberMissing(Invalid):
    """What nobody but a person can cancel is cancelled once its number is known."""


def try_again(*, control_session: Session, row_id: UUID, actor: Actor, now: datetime) -> None:
    """This function will have a failed cash receipt issued once more.

    Raises: NotFound, NotFailed.
    """
    row = control_session.get(CashReceipt, row_id)
    if row is None:
        raise NotFound("There is no such cash receipt.")
    if row.state not in ("failed", "due"):
        raise NotFailed("Only a cash receipt that failed is tried again.")
    leases.release(control_session=control_session, model=CashReceipt, keys=[row_id])
    if row.state == "failed":
        if row.issuer not in issuing.BY_AGENT and row.number is None:
            # Refused is known: nothing was issued, so a key of any age may be sent.
            row.asked_at = None
        issuing.move(control_session, row, "due", now, actor=actor)
    notify(control_session, CASH_RECEIPT.wakes["due"])


def declarable(*, control_session: Session, invoice_id: UUID) -> Collection[UUID]:
    """This function will list which of a supply's a person may say the outcome of now."""
    return control_session.scalars(
        select(CashReceipt.id).where(CashReceipt.invoice_id == invoice_id, _may_be_declared())
    ).all()


def _may_be_declared() -> ColumnElement[bool]:
    """Asked for, never answered, and nobody is asking at this moment."""
    return and_(
        CashReceipt.state == "due",
        CashReceipt.asked_at.is_not(None),
        or_(
            CashReceipt.lease_until.is_(None),
            CashReceipt.lease_until < func.clock_timestamp(),
        ),
    )


def has_key_of_its_own(row: CashReceipt) -> bool:
    """This function will tell whether the issuer knows a cash receipt by a key beside its number.

    A cancelling has none that anybody needs.
    """
    return row.issuer not in issuing.BY_AGENT and row.cancels_id is None


def cancelled_by_hand(*, control_session: Session, invoice_id: UUID) -> Collection[UUID]:
    """This function will list which of a supply's cancellings only a person can do."""
    return control_session.scalars(
        select(CashReceipt.id).where(CashReceipt.invoice_id == invoice_id, _by_hand())
    ).all()


def _by_hand() -> ColumnElement[bool]:
    cancelled = aliased(CashReceipt)
    return and_(
        CashReceipt.state == "due",
        CashReceipt.issuer.not_in(issuing.BY_AGENT),
        exists().where(
            cancelled.id == CashReceipt.cancels_id, cancelled.issuer_reference.is_(None)
        ),
    )


def declare(
    *,
    control_session: Session,
    row_id: UUID,
    number: str,
    why: str,
    actor: Actor,
    now: datetime,
    reference: str = "",
) -> None:
    """This function will write down what a person found out of one that was never answered.

    With its number it was issued after all; without one it was not, and is asked for anew.
    `reference` is the gateway's own key of it, without which it is not cancelled by itself.

    Raises: NotFound, NotAskedFor, BeingAsked, WhyMissing, NumberMissing.
    """
    reason, found, key = why.strip(), "".join(number.split()), "".join(reference.split())
    if not reason or len(found) > NUMBER_LENGTH_MAX or len(key) > REFERENCE_LENGTH_MAX:
        raise WhyMissing("Say where you looked, and the number as it stands there.", field="why")
    row = control_session.get(CashReceipt, row_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("There is no such cash receipt.")
    _check_it_waits(control_session, row, found)
    leases.release(control_session=control_session, model=CashReceipt, keys=[row_id])
    control_session.refresh(row)
    audit.append(
        control_session=control_session,
        actor=actor,
        action="cash_receipt.declared",
        subject_kind="invoice",
        subject_id=row.invoice_id,
        tenant_id=row.tenant_id,
        why=reason,
        details={"number": found, "reference": key},
        now=now,
    )
    if not found or row.asked_at is None:
        row.asked_at = None
        notify(control_session, CASH_RECEIPT.wakes["due"])
        return
    day = clock.today(row.asked_at, settings().contract_timezone)
    stands = issuing.Stands(Stage.ACCEPTED, found, key or None, day)
    issuing.stand(control_session, row, stands, now, actor=actor)


def _check_it_waits(control_session: Session, row: CashReceipt, number: str) -> None:
    if row.state != "due" or row.asked_at is None:
        raise NotAskedFor("This cash receipt does not wait for that any more. Look again.")
    waits, by_hand = control_session.execute(
        select(_may_be_declared(), _by_hand()).where(CashReceipt.id == row.id)
    ).one()
    if not waits:
        raise BeingAsked("Its issuer is being asked right now. Look again in a minute.")
    if by_hand and not number:
        raise NumberMissing(
            "Cancel it with its issuer first, then enter the number of its cancelling.",
            field="number",
        )
