"""Tax invoices that a person handed in: what this machine issued, and somebody took to Hometax.

The offline issuer transmits nothing. Whoever hands a paper in notes the approval number and the day
that the tax service gave them. It is their word, kept beside the paper: its own fate stays what it
was, issued and never sent by us.

Source: VAT Act §32 ③ (what was issued is transmitted the day after).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.db import planned_once
from app.base.errors import Conflict, Invalid, NotFound
from invoices.models import TaxInvoice
from invoices.periods import months_after

OFFLINE = "offline"
# Issued on this machine, and nobody said yet that they handed it in.
WAITS = and_(
    TaxInvoice.issuer == OFFLINE,
    TaxInvoice.state.in_(("issued", "amended")),
    TaxInvoice.handed_in_at.is_(None),
)
# Older papers than that are counted up to here.
OLDER_MAX = 1_000
_OLDER = (
    select(TaxInvoice.written_on)
    .where(WAITS, TaxInvoice.written_on < bindparam("since"))
    .order_by(TaxInvoice.written_on)
    .limit(bindparam("most"))
    .subquery()
)
_WAITING = planned_once(
    select(
        select(func.count())
        .select_from(TaxInvoice)
        .where(WAITS, TaxInvoice.written_on >= bindparam("since"))
        .scalar_subquery()
        .label("recent"),
        func.count().label("older"),
        func.min(_OLDER.c.written_on).label("oldest"),
    ).select_from(_OLDER)
)
_NUMBER = re.compile(r"[0-9A-Za-z]{24}")
_NUMBER_ONCE = "uq_tax_invoice_handed_in_number"


@dataclass(frozen=True, slots=True)
class ToHandIn:
    """Papers that nobody noted as handed in: of this and last month, and `older` ones (no more
    than OLDER_MAX are counted), the first of which is of the day `oldest`.
    """

    recent: int
    older: int
    oldest: date | None


class NoSuchTaxInvoice(NotFound):
    """There is no such tax invoice."""


class NotHandedIn(Conflict):
    """Only what this machine issued is handed in by a person."""


class NoteUnsound(Invalid):
    """A paper is handed in with its approval number and its day; `field` names what to change."""


def waiting(*, control_session: Session, today: date) -> ToHandIn:
    """This function will count what this machine issued and nobody noted as handed in.

    None is ever left out: those of before last month are late, unless somebody handed them in and
    did not say so.
    """
    since = months_after(today.replace(day=1), -1)
    found = control_session.execute(_WAITING, {"since": since, "most": OLDER_MAX}).one()
    return ToHandIn(found.recent, found.older, found.oldest)


def note(
    *,
    control_session: Session,
    tax_invoice_id: UUID,
    number: str,
    handed_in_on: date | None,
    staff_id: UUID,
    now: datetime,
    today: date,
) -> TaxInvoice:
    """This function will write down that a person handed a tax invoice in, and under what number.

    Said again it is corrected; what was said before stays in the audit trail.

    Raises: NoSuchTaxInvoice, NotHandedIn, NoteUnsound.
    """
    row = control_session.get(
        TaxInvoice, tax_invoice_id, with_for_update=True, populate_existing=True
    )
    if row is None:
        raise NoSuchTaxInvoice("There is no such tax invoice.")
    if row.issuer != OFFLINE or row.state not in ("issued", "amended"):
        raise NotHandedIn("Only what this machine issued is handed in by a person.")
    approval = re.sub(r"[\s-]", "", number)
    _check(control_session, row, approval, handed_in_on, today)
    try:
        with control_session.begin_nested():
            row.handed_in_number, row.handed_in_on = approval, handed_in_on
            row.handed_in_at, row.handed_in_by = now, staff_id
    except IntegrityError as error:
        if _NUMBER_ONCE not in str(error.orig):
            raise
        # Somebody noted it for another at the same moment: after we looked, before we wrote.
        raise _taken() from error
    audit.append(
        control_session=control_session,
        actor=Actor.staff(staff_id),
        action="tax_invoice.handed_in",
        subject_kind="tax_invoice",
        subject_id=row.id,
        tenant_id=row.tenant_id,
        details={"number": approval, "on": str(handed_in_on), "issue_id": row.issue_id or ""},
        now=now,
    )
    return row


def _check(
    control_session: Session, row: TaxInvoice, approval: str, on: date | None, today: date
) -> None:
    if not _NUMBER.fullmatch(approval):
        raise NoteUnsound("Enter the approval number: 24 letters and digits.", field="number")
    if on is None:
        raise NoteUnsound("Enter the day on which it was handed in.", field="handed_in_on")
    if not row.written_on <= on <= today:
        raise NoteUnsound(
            "It was handed in between the day written on it and today.", field="handed_in_on"
        )
    known = select(TaxInvoice.id).where(
        TaxInvoice.handed_in_number == approval, TaxInvoice.id != row.id
    )
    if control_session.scalar(known) is not None:
        raise _taken()


def _taken() -> NoteUnsound:
    return NoteUnsound("Another tax invoice was handed in under that number.", field="number")
