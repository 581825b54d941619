"""Deadlines of tax invoices: when one is due, who is late, and what being late costs.

To be issued by the 10th of the month after the supply, and known to the tax service the day after
it was issued; a deadline on a Saturday, a Sunday or a public holiday moves to the next working day.

Source: VAT Act §34 ③ and Enforcement Decree §68 (deadlines), Framework Act on National Taxes §5
(days that are none), VAT Act §60 (penalties), §49 (the final return: until then it is only late).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import planned_once
from app.base.money import Rounding, round_minor
from invoices import papers_by_hand
from invoices.models import Invoice, TaxInvoice, tax_invoice_is_open
from invoices.periods import months_after
from invoices.tax_handed_in import OFFLINE
from invoices.working_days import working_day, working_days_before

ISSUE_DAY = 10
RETURN_DAY = 25
# The final returns: for January to June in July, for July to December in January.
_HALF_YEAR_ENDS = 6
# Working days before a deadline from which it is told of.
DAYS_BEFORE = 3
# An amendment whose cause came later than the supply has its days counted from that cause.
_FROM_ITS_CAUSE = ("02", "03", "04")

# Supplies whose one evidence is still to come.
UNCHOSEN = and_(
    Invoice.evidence_at.is_(None),
    Invoice.state.in_(("issued", "paid", "written_off")),
    Invoice.total_minor > 0,
)
_UNISSUED = and_(
    tax_invoice_is_open,
    TaxInvoice.state.in_(("due", "failed")),
    TaxInvoice.issue_id.is_(None),
)
# Issued with somebody who transmits, and the tax service has it not yet, or refused it.
_UNTRANSMITTED = and_(
    tax_invoice_is_open,
    TaxInvoice.issue_id.is_not(None),
    TaxInvoice.issuer != OFFLINE,
    or_(
        and_(TaxInvoice.state.in_(("due", "issued")), TaxInvoice.sent_at.is_(None)),
        TaxInvoice.state == "failed",
    ),
)
# What is shown of a paper: not all that is printed on it. Put together once, not for every look.
_PAPERS = (
    select(
        TaxInvoice.id,
        TaxInvoice.invoice_id,
        TaxInvoice.state,
        TaxInvoice.amends_id,
        TaxInvoice.amendment,
        TaxInvoice.written_on,
        TaxInvoice.created_at,
        TaxInvoice.issued_at,
        TaxInvoice.issue_id,
        TaxInvoice.management_key,
        TaxInvoice.supply_minor,
        TaxInvoice.error,
        TaxInvoice.last_error,
        func.coalesce(TaxInvoice.data["buyer"]["name"].astext, "").label("name"),
    )
    .order_by(TaxInvoice.written_on, TaxInvoice.id)
    .limit(bindparam("limit"))
)
_UNISSUED_ROWS = planned_once(_PAPERS.where(_UNISSUED))
_UNTRANSMITTED_ROWS = planned_once(_PAPERS.where(_UNTRANSMITTED))
_UNCHOSEN_ROWS = planned_once(
    select(
        Invoice.id,
        Invoice.number_text,
        Invoice.supplied_on,
        Invoice.subtotal_minor,
        Invoice.currency,
        Invoice.buyer["name"].astext.label("name"),
    )
    .where(UNCHOSEN)
    .order_by(Invoice.supplied_on, Invoice.id)
    .limit(bindparam("limit"))
)
# Whose paper a person has still to issue elsewhere.
_TO_BE_MADE = Invoice.id.in_(papers_by_hand.to_be_made())
# Whether any paper has a deadline.
WATCHED = or_(
    *(exists().where(each) for each in (UNCHOSEN, _TO_BE_MADE, _UNISSUED, _UNTRANSMITTED))
)


@dataclass(frozen=True, slots=True)
class Penalty:
    """What a delay costs, in percent of the supply value; `name` is its word elsewhere."""

    name: str
    percent: Decimal

    def of(self, supply_minor: int) -> int:
        """This function will return what it comes to, fractions of a won dropped."""
        return round_minor(abs(supply_minor) * self.percent / 100, Rounding.DOWN)


LATE_ISSUE = Penalty("late_issue", Decimal("1"))
NO_ISSUE = Penalty("no_issue", Decimal("2"))
LATE_TRANSMISSION = Penalty("late_transmission", Decimal("0.3"))
NO_TRANSMISSION = Penalty("no_transmission", Decimal("0.5"))
PENALTIES = (LATE_ISSUE, NO_ISSUE, LATE_TRANSMISSION, NO_TRANSMISSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """One thing that has a deadline: `kind` is choose, by_hand, issue or transmit; `failed` says
    that nothing happens any more until somebody looks.
    """

    kind: str
    row_id: UUID
    invoice_id: UUID
    name: str
    number: str
    supplied_on: date
    deadline: date
    supply_minor: int
    currency: str
    failed: bool
    error: str
    penalty: Penalty
    late: bool

    @property
    def penalty_minor(self) -> int:
        """What it costs, or would cost from the day after its deadline."""
        return self.penalty.of(self.supply_minor)


@dataclass(frozen=True, slots=True)
class Board:
    """What is late, failed and soon due, each by its deadline."""

    today: date
    late: tuple[Watched, ...]
    failed: tuple[Watched, ...]
    soon: tuple[Watched, ...]
    later: int

    @property
    def pressing(self) -> int:
        """How many a person should know of today."""
        return len(self.late) + len(self.failed) + len(self.soon)


@lru_cache(maxsize=1_000)
def issue_by(supplied_on: date) -> date:
    """This function will return the last day on which a supply's tax invoice is in time."""
    return working_day(months_after(supplied_on.replace(day=1), 1).replace(day=ISSUE_DAY))


def transmit_by(issued_on: date) -> date:
    """This function will return the last day on which the tax service hears of it in time."""
    return working_day(issued_on + timedelta(days=1))


@lru_cache(maxsize=1_000)
def return_by(supplied_on: date) -> date:
    """This function will return the last day of the final return that a supply belongs to."""
    if supplied_on.month <= _HALF_YEAR_ENDS:
        return working_day(date(supplied_on.year, _HALF_YEAR_ENDS + 1, RETURN_DAY))
    return working_day(date(supplied_on.year + 1, 1, RETURN_DAY))


def penalty_of(*, kind: str, supplied_on: date, today: date) -> Penalty:
    """This function will name what being late costs: until the final return late, then never."""
    in_return = today <= return_by(supplied_on)
    if kind == "transmit":
        return LATE_TRANSMISSION if in_return else NO_TRANSMISSION
    return LATE_ISSUE if in_return else NO_ISSUE


def board(*, control_session: Session, now: datetime, limit: int) -> Board:
    """This function will sort everything that has a deadline, `limit` of each kind at most."""
    today = clock.today(now, settings().contract_timezone)
    watched = sorted(
        [
            *_unchosen(control_session, today, limit),
            *_by_hand(control_session, today, limit),
            *_unissued(control_session, today, limit),
            *_untransmitted(control_session, today, limit),
        ],
        key=lambda each: (each.deadline, each.number),
    )
    deadlines = {each.deadline for each in watched}
    told_from = {day: working_days_before(day, DAYS_BEFORE) for day in deadlines}
    late = tuple(each for each in watched if each.late)
    failed = tuple(each for each in watched if each.failed and not each.late)
    soon = tuple(
        each
        for each in watched
        if not each.late and not each.failed and today >= told_from[each.deadline]
    )
    return Board(
        today=today,
        late=late,
        failed=failed,
        soon=soon,
        later=len(watched) - len(late) - len(failed) - len(soon),
    )


def _unchosen(control_session: Session, today: date, limit: int) -> list[Watched]:
    rows = control_session.execute(_UNCHOSEN_ROWS, {"limit": limit})
    return [
        _watched(
            "choose",
            today,
            issue_by(row.supplied_on),
            row_id=row.id,
            invoice_id=row.id,
            name=row.name or "",
            number=row.number_text or "",
            supplied_on=row.supplied_on,
            supply_minor=row.subtotal_minor,
            currency=row.currency,
        )
        for row in rows
    ]


def _by_hand(control_session: Session, today: date, limit: int) -> list[Watched]:
    return [
        _watched(
            "by_hand",
            today,
            issue_by(each.counted_from),
            row_id=each.invoice_id,
            invoice_id=each.invoice_id,
            name=each.name,
            number=each.number,
            supplied_on=each.counted_from,
            supply_minor=each.supply_minor,
            currency=each.currency,
        )
        for each in papers_by_hand.outstanding(control_session=control_session, limit=limit)
    ]


def _unissued(control_session: Session, today: date, limit: int) -> list[Watched]:
    return [
        _of_paper("issue", today, issue_by(_counted_from(row)), row)
        for row in _papers(control_session, _UNISSUED_ROWS, limit)
    ]


def _counted_from(row: Row[Any]) -> date:
    if row.amends_id is None or row.amendment in _FROM_ITS_CAUSE:
        written_on: date = row.written_on
        return written_on
    return clock.today(row.created_at, settings().contract_timezone)


def _untransmitted(control_session: Session, today: date, limit: int) -> list[Watched]:
    return [
        _of_paper(
            "transmit",
            today,
            transmit_by(clock.today(row.issued_at, settings().contract_timezone)),
            row,
        )
        for row in _papers(control_session, _UNTRANSMITTED_ROWS, limit)
        if row.issued_at is not None
    ]


def _papers(
    control_session: Session, which: Select[*tuple[Any, ...]], limit: int
) -> Sequence[Row[Any]]:
    return control_session.execute(which, {"limit": limit}).all()


def _of_paper(kind: str, today: date, deadline: date, row: Row[Any]) -> Watched:
    failed = row.state == "failed"
    return _watched(
        kind,
        today,
        deadline,
        row_id=row.id,
        invoice_id=row.invoice_id,
        name=row.name,
        number=row.issue_id or row.management_key,
        supplied_on=row.written_on,
        supply_minor=row.supply_minor,
        currency="KRW",
        failed=failed,
        error=(row.error or row.last_error or "") if failed or row.last_error else "",
    )


def _watched(
    kind: str,
    today: date,
    deadline: date,
    *,
    row_id: UUID,
    invoice_id: UUID,
    name: str,
    number: str,
    supplied_on: date,
    supply_minor: int,
    currency: str,
    failed: bool = False,
    error: str = "",
) -> Watched:
    late = today > deadline
    as_of = today if late else deadline
    return Watched(
        kind=kind,
        row_id=row_id,
        invoice_id=invoice_id,
        name=name,
        number=number,
        supplied_on=supplied_on,
        deadline=deadline,
        supply_minor=supply_minor,
        currency=currency,
        failed=failed,
        error=error,
        penalty=penalty_of(kind=kind, supplied_on=supplied_on, today=as_of),
        late=late,
    )
