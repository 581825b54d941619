"""Deferrals: what is billed ahead is earned day by day, exact to the minor unit.

By the end of a day an amount has earned its share of the days gone by, rounded towards zero; each
day books the difference to the day before, so that the last day brings the sum to the whole. What
a coupon takes off lines is for the days of those lines; off usage that is over, it is not deferred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.orm import Session

from app.base import bulk, clock, ids
from app.base.config import settings
from invoices import discounts, ledger
from invoices.ledger import Booking, credit, debit
from invoices.models import Deferral, Invoice, InvoiceLine, Recognition
from invoices.sheets import Sheet, SheetLine

# Lines that are no service of their own: paid by credit, or carried to the next bill.
_MONEY_KINDS = ("prepaid", "carried")
_REACHED = text(
    "WITH due AS ("
    "  SELECT id, trunc(amount_minor::numeric * (least(:through, ends_on) - starts_on)"
    "      / (ends_on - starts_on))::bigint - recognised_minor AS earned"
    "  FROM deferral WHERE starts_on < :through AND stopped_minor = 0"
    "    AND recognised_minor + stopped_minor <> amount_minor"
    "    AND (recognised_on IS NULL OR recognised_on < :day) ORDER BY id FOR UPDATE"
    "), moved AS ("
    "  UPDATE deferral d SET recognised_minor = d.recognised_minor + due.earned,"
    "      recognised_on = :day FROM due WHERE d.id = due.id RETURNING d.currency, due.earned"
    ") SELECT currency, sum(earned)::bigint AS earned, count(*) AS many"
    " FROM moved GROUP BY currency ORDER BY currency"
)


class Ahead(NamedTuple):
    """So much of a bill that is for these days, the last of which is still to come."""

    amount_minor: int
    period: Range[date]


def ahead(bill: Invoice | Sheet) -> Iterator[Ahead]:
    """This function will yield what of an issued bill is for days still to come at its issue."""
    issued_on = issue_day(bill)
    for line in bill.lines:
        if line.kind in _MONEY_KINDS:
            continue
        for part in _shares(line, bill):
            ends_on = part.period.upper
            if part.amount_minor and ends_on is not None and ends_on > issued_on:
                yield part


def _shares(line: InvoiceLine | SheetLine, bill: Invoice | Sheet) -> list[Ahead]:
    """A line whole, or what a coupon takes off each line, in proportion to its share.

    The shares are in prices as they are written, which may include the tax that the line does not.
    """
    shares = line.evidence.get("lines") if line.kind == "discount" else None
    if not shares:
        return [Ahead(line.amount_minor, line.period)]
    periods = {each.position: each.period for each in bill.lines}
    dealt = discounts.deal_out(-line.amount_minor, [share["amount_minor"] for share in shares])
    return [
        Ahead(-amount_minor, periods[share["line"]])
        for share, amount_minor in zip(shares, dealt, strict=True)
    ]


def issue_day(invoice: Invoice | Sheet) -> date:
    """This function will return the seller's day on which an invoice was issued."""
    if invoice.issued_at is None:
        raise ValueError("only an issued invoice is booked")
    return clock.today(invoice.issued_at, settings().contract_timezone)


def write(*, control_session: Session, sheets: Sequence[Sheet]) -> None:
    """This function will write down what issued bills ask for ahead, by COPY."""
    rows = [row for sheet in sheets for row in _rows(sheet)]
    if rows:
        bulk.copy(
            control_session=control_session,
            table="deferral",
            columns=(
                *("id", "tenant_id", "invoice_id", "currency", "amount_minor"),
                *("starts_on", "ends_on"),
            ),
            rows=rows,
        )


def _rows(sheet: Sheet) -> Iterator[tuple[Any, ...]]:
    for part in ahead(sheet):
        yield (
            *(ids.uuid7(), sheet.tenant_id, sheet.id, sheet.currency, part.amount_minor),
            *(part.period.lower, part.period.upper),
        )


def recognise(*, control_session: Session, day: date, now: datetime) -> list[Recognition]:
    """This function will book what was earned by the end of a day, an entry for each currency.

    One statement over all that is deferred. Running it again moves nothing but what came since;
    a day that was left out is caught up by the next.
    """
    control_session.flush()
    found = control_session.execute(_REACHED, {"day": day, "through": day + timedelta(days=1)})
    made = [
        Recognition(
            id=ids.uuid7(),
            day=day,
            currency=row.currency,
            amount_minor=row.earned,
            deferrals=row.many,
            recognised_at=now,
        )
        for row in found
        if row.earned
    ]
    control_session.add_all(made)
    bookings = [
        Booking(
            kind="recognition",
            cause_id=each.id,
            tenant_id=None,
            currency=each.currency,
            sides=(
                debit("deferred_revenue", each.amount_minor),
                credit("revenue", each.amount_minor),
            ),
            booked_on=day,
        )
        for each in made
    ]
    ledger.post(control_session=control_session, bookings=bookings, now=now)
    return made


def stop(*, control_session: Session, invoice_id: UUID) -> int:
    """This function will end what an invoice has deferred, and return how much was unearned."""
    stopped = control_session.scalars(
        update(Deferral)
        .where(Deferral.invoice_id == invoice_id, _is_open())
        .values(stopped_minor=Deferral.amount_minor - Deferral.recognised_minor)
        .returning(Deferral.stopped_minor)
        .execution_options(synchronize_session=False)
    ).all()
    return sum(stopped)


def take_out(*, control_session: Session, invoice_id: UUID, up_to_minor: int) -> int:
    """This function will take an amount out of what an invoice has still to earn, and return it.

    What is left of a deferral goes on over its remaining days as a new one.
    """
    rows = control_session.scalars(
        select(Deferral)
        .where(Deferral.invoice_id == invoice_id, _is_open(), Deferral.amount_minor > 0)
        .order_by(Deferral.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    ).all()
    wanted = min(up_to_minor, max(0, unearned(control_session, invoice_id)))
    taken = 0
    for row in rows:
        left = row.amount_minor - row.recognised_minor
        part = min(left, wanted - taken)
        if not part:
            break
        taken += part
        row.stopped_minor = left
        if left > part:
            control_session.add(_rest(row, left - part))
    control_session.flush()
    return taken


def _rest(row: Deferral, amount_minor: int) -> Deferral:
    starts_on = row.starts_on
    if row.recognised_on is not None and row.recognised_on >= starts_on:
        starts_on = row.recognised_on + timedelta(days=1)
    return Deferral(
        tenant_id=row.tenant_id,
        invoice_id=row.invoice_id,
        currency=row.currency,
        amount_minor=amount_minor,
        starts_on=starts_on,
        ends_on=row.ends_on,
        recognised_on=row.recognised_on,
    )


def unearned(control_session: Session, invoice_id: UUID) -> int:
    """This function will add up what of an invoice is still to be earned."""
    return int(
        control_session.scalar(
            select(
                func.coalesce(func.sum(Deferral.amount_minor - Deferral.recognised_minor), 0)
            ).where(Deferral.invoice_id == invoice_id, _is_open())
        )
        or 0
    )


def _is_open() -> Any:
    return (Deferral.stopped_minor == 0) & (Deferral.recognised_minor != Deferral.amount_minor)
