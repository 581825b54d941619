"""Closing a month: what hinders it is named, and then nothing is booked into it any more.

What comes late for a closed month is booked on the first open day after it. Only an admin opens a
month again, for a reason; closed anew it is checked anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import audit, ids
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid, NotFound
from invoices import closing_checks, closing_lock, ledger_statements
from invoices.closing_checks import Finding
from invoices.models import LedgerEntry, MonthClose

REASON_LENGTH_MAX = 500
HISTORY_MAX = 36
# By columns: of its findings a list tells only how many entries were booked.
_HISTORY = select(
    MonthClose.month,
    MonthClose.closed_at,
    MonthClose.closed_by,
    MonthClose.reopened_at,
    MonthClose.reopened_by,
    MonthClose.reopened_why,
    MonthClose.findings["entries"].as_integer(),
).order_by(MonthClose.month.desc(), MonthClose.closed_at.desc())


class MonthHindered(Conflict):
    """Something of the month is not finished: the findings say what."""


class MonthClosed(Conflict):
    """The month is closed already."""


class MonthNotClosed(NotFound):
    """The month is not closed, so there is nothing to open again."""


class ReasonMissing(Invalid):
    """A month is opened again for a reason that can be read."""


@dataclass(frozen=True, slots=True)
class Look:
    """A month before or after its close."""

    first: date
    end: date
    closed: MonthClose | None
    findings: tuple[Finding, ...]

    @property
    def all_checked(self) -> bool:
        """Whether no check was left out."""
        return all(each.checked for each in self.findings)

    @property
    def hindrances(self) -> tuple[Finding, ...]:
        """What keeps it from being closed."""
        return tuple(each for each in self.findings if each.is_open)


@dataclass(frozen=True, slots=True)
class PastClose:
    """One close as a list tells of it, and its reopening if there was one."""

    month: date
    closed_at: datetime
    closed_by: UUID | None
    reopened_at: datetime | None
    reopened_by: UUID | None
    reopened_why: str | None
    entries: int


def look(*, control_session: Session, month: str, now: datetime, with_books: bool = True) -> Look:
    """This function will check a month, `2026-10`, and say whether it is closed.

    Without its books it is quick, and what they would say is found at the close.

    Raises: NoSuchMonth.
    """
    first, end = ledger_statements.month(month)
    found = closing_checks.findings(
        control_session=control_session, first=first, end=end, now=now, with_books=with_books
    )
    return Look(first, end, _closed(control_session, first), found)


def close(*, control_session: Session, month: str, actor: Actor, now: datetime) -> MonthClose:
    """This function will check a month and lock it, in one transaction.

    Bookings under way are waited for first, so that the checks see them.

    Raises: NoSuchMonth, MonthClosed, MonthHindered.
    """
    closing_lock.hold(control_session=control_session)
    seen = look(control_session=control_session, month=month, now=now)
    if seen.closed is not None:
        raise MonthClosed("This month is closed already.", field="month")
    if seen.hindrances:
        raise MonthHindered("This month cannot be closed yet: see what hinders it.", field="month")
    row = MonthClose(
        id=ids.uuid7(),
        month=seen.first,
        closed_at=now,
        closed_by=UUID(actor.id) if actor.kind == "staff" and actor.id else None,
        findings=_kept(control_session, seen),
    )
    control_session.add(row)
    control_session.flush()
    _note(control_session, row, "month.closed", actor=actor, now=now)
    return row


def reopen(
    *, control_session: Session, month: str, reason: str, actor: Actor, now: datetime
) -> MonthClose:
    """This function will open a closed month again. The door lets only an admin of ours ask.

    Raises: NoSuchMonth, ReasonMissing, MonthNotClosed.
    """
    first, _ = ledger_statements.month(month)
    why = " ".join(reason.split())[:REASON_LENGTH_MAX]
    if not why:
        raise ReasonMissing("Please say why: it is written to the audit trail.", field="why")
    closing_lock.hold(control_session=control_session)
    row = _closed(control_session, first)
    if row is None:
        raise MonthNotClosed("This month is not closed.")
    if actor.kind != "staff" or not actor.id:
        raise ValueError("only a person of ours opens a month again")
    row.reopened_at, row.reopened_by, row.reopened_why = now, UUID(actor.id), why
    control_session.flush()
    _note(control_session, row, "month.reopened", actor=actor, now=now, why=why)
    return row


def history(
    *, control_session: Session, limit: int = HISTORY_MAX, behind: int = 0
) -> list[PastClose]:
    """This function will list closes and reopenings, the newest first, from the place `behind`."""
    rows = control_session.execute(_HISTORY.limit(limit).offset(behind))
    return [PastClose(*row) for row in rows]


def history_count(*, control_session: Session) -> int:
    """This function will count all closes, those that were opened again included."""
    return control_session.scalar(select(func.count()).select_from(MonthClose)) or 0


def _closed(control_session: Session, first: date) -> MonthClose | None:
    return control_session.scalar(
        select(MonthClose).where(MonthClose.month == first, MonthClose.reopened_at.is_(None))
    )


def _kept(control_session: Session, seen: Look) -> dict[str, Any]:
    """What the books said when they were closed, so that it can be held against them later."""
    rows = ledger_statements.trial_balance(
        control_session=control_session, first=seen.first, end=seen.end
    )
    entries = control_session.scalar(
        select(func.count()).where(
            LedgerEntry.booked_on >= seen.first, LedgerEntry.booked_on < seen.end
        )
    )
    return {
        "entries": entries,
        "balances": [
            {
                "currency": row.currency,
                "account": row.account,
                "place": row.place,
                "debit_minor": row.debit_minor,
                "credit_minor": row.credit_minor,
                "closing_minor": row.closing_minor,
            }
            for row in rows
        ],
        "open": [
            {
                "check": each.code,
                "count": each.count,
                "first": [f"{example.name}: {example.what}" for example in each.examples],
            }
            for each in seen.findings
            if each.count
        ],
    }


def _note(
    control_session: Session,
    row: MonthClose,
    action: str,
    *,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="month",
        subject_id=row.id,
        details={"month": f"{row.month:%Y-%m}"},
        why=why,
        now=now,
    )
