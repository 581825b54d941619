"""Imports that were read wrongly, as by another bank's layout: discarded whole, then made anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import audit, bulk, states
from app.base.audit import Actor
from app.base.errors import Conflict, NotFound
from invoices.dunning_rules import said
from invoices.models import BANK_TRANSFER, BankStatement, BankTransfer
from invoices.statements import Deposit


class ReadOtherwise(Conflict):
    """The file was imported before, and names other deposits as it is read now."""


class NoSuchStatement(NotFound):
    """There is no such import."""


class NotToDiscard(Conflict):
    """The import is discarded already, or some of its deposits are settled."""


def discard(
    *, control_session: Session, statement_id: UUID, why: str, staff_id: UUID, now: datetime
) -> int:
    """This function will put aside all that an import named that was read wrongly, and count it.

    The file may be imported again then, by another layout. Nothing of it may be settled.

    Raises: NoSuchStatement, ReasonMissing, NotToDiscard.
    """
    reason = said(why)
    statement = control_session.get(
        BankStatement, statement_id, with_for_update=True, populate_existing=True
    )
    if statement is None:
        raise NoSuchStatement("There is no such import.")
    if statement.discarded_at is not None:
        raise NotToDiscard("This import is discarded already.")
    rows = control_session.execute(
        select(BankTransfer.id, BankTransfer.state)
        .where(BankTransfer.statement_id == statement_id)
        .order_by(BankTransfer.id)
        .with_for_update()
    ).all()
    if any(state == "settled" for _, state in rows):
        raise NotToDiscard(
            "Some of its deposits are settled with invoices. Take those payments back first."
        )
    statement.discarded_at, statement.discarded_by = now, staff_id
    moved = _move(
        control_session, [row.id for row in rows], "ignored", by=(staff_id, now), why=reason
    )
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action="bank_statement.discarded",
        subject_kind="bank_statement",
        subject_id=statement_id,
        why=reason,
        details={"deposits": moved},
        now=now,
    )
    return moved


def standing(*, control_session: Session, file_sha256: str) -> UUID | None:
    """This function will return the import of a file that was not discarded."""
    return control_session.scalar(
        select(BankStatement.id).where(
            BankStatement.file_sha256 == file_sha256, BankStatement.discarded_at.is_(None)
        )
    )


def check_read_alike(*, control_session: Session, found: Sequence[Deposit]) -> None:
    """This function will refuse a file that is known if it names a deposit now that is not.

    Raises: ReadOtherwise.
    """
    named = {each.fingerprint for each in found}
    known = control_session.scalar(
        select(func.count()).where(bulk.among(BankTransfer.fingerprint, named))
    )
    if known != len(named):
        raise ReadOtherwise(
            "This file was imported before and read another way. If that was wrong, discard "
            "that import below; then import the file again.",
            field="file",
        )


def take_up(
    *, control_session: Session, found: Sequence[Deposit], staff_id: UUID, now: datetime
) -> int:
    """This function will put back on the work list what only a discarded import had named.

    A deposit is known by what it says: the row of the discarded import is the one there is.
    """
    aside = control_session.scalars(
        select(BankTransfer.id)
        .join(BankStatement, BankStatement.id == BankTransfer.statement_id)
        .where(
            BankStatement.discarded_at.is_not(None),
            BankTransfer.state == "ignored",
            bulk.among(BankTransfer.fingerprint, {each.fingerprint for each in found}),
        )
    ).all()
    return _move(control_session, aside, "open", by=(staff_id, now))


def _move(
    control_session: Session,
    transfer_ids: Sequence[UUID],
    to: str,
    *,
    by: tuple[UUID, datetime],
    why: str | None = None,
) -> int:
    staff_id, now = by
    moved = states.move_many(
        control_session=control_session,
        machine=BANK_TRANSFER,
        model=BankTransfer,
        ids=transfer_ids,
        to=to,
        actor=Actor.staff(staff_id),
        now=now,
        why=why,
    )
    return len(moved)
