"""What the ledger makes of a gateway's books: fees, disputes, payouts, and open differences.

With them our cash at the gateway is, line by line, what the gateway itself says.
"""

from __future__ import annotations

from datetime import date, datetime
from uuid import UUID

from sqlalchemy.orm import Session

from invoices import ledger
from invoices.ledger import Booking, Side, credit, debit
from invoices.models import ReconciliationDifference, SettlementLine

# Where payouts arrive: our own bank.
BANK = "manual"


def book_line(*, control_session: Session, line: SettlementLine, now: datetime) -> None:
    """This function will book what a line says beyond our own payments and refunds.

    Its fees and their tax, a dispute's sum, and what was paid out to our bank. Booked once.
    """
    bookings = [_of_line(line, "fee", _fee_sides(line))]
    if line.kind == "dispute":
        bookings.append(_of_line(line, "dispute", _moved(line, "differences")))
    elif line.kind == "payout":
        bookings.append(_of_line(line, "payout", _moved(line, "cash", BANK)))
    ledger.post(control_session=control_session, bookings=bookings, now=now)


def book_paid_out(*, control_session: Session, line: SettlementLine, now: datetime) -> None:
    """This function will book that a line's net came to our bank, where a line says so itself."""
    sides = (
        debit("cash", line.net_minor, BANK),
        credit("cash", line.net_minor, line.gateway),
    )
    booking = _of_line(line, "payout", sides, line.paid_out_on)
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def book_difference(
    *, control_session: Session, difference: ReconciliationDifference, now: datetime
) -> None:
    """This function will make our cash what the gateway says it is, against the differences."""
    _post_difference(
        control_session,
        difference,
        cause_id=difference.id,
        amount=difference.amount_minor,
        day=difference.day,
        now=now,
    )


def book_settled(
    *,
    control_session: Session,
    difference: ReconciliationDifference,
    settlement_id: UUID,
    stays: bool,
    now: datetime,
) -> None:
    """This function will book the end of a difference: given up for good, or never there.

    One that `stays` and was not booked yet is booked now; one that does not is taken back.
    """
    if stays == difference.is_booked:
        return
    amount = difference.amount_minor if stays else -difference.amount_minor
    _post_difference(
        control_session, difference, cause_id=settlement_id, amount=amount, day=None, now=now
    )


def _post_difference(
    control_session: Session,
    difference: ReconciliationDifference,
    *,
    cause_id: UUID,
    amount: int,
    day: date | None,
    now: datetime,
) -> None:
    booking = Booking(
        kind="difference",
        cause_id=cause_id,
        tenant_id=difference.tenant_id,
        currency=difference.currency,
        sides=(debit("cash", amount, difference.gateway), credit("differences", amount)),
        booked_on=day,
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def _fee_sides(line: SettlementLine) -> tuple[Side, ...]:
    """A line that is nothing but a fee says it as its gross, as its fee, or in part as each."""
    fee = line.fee_minor - (line.gross_minor if line.kind == "fee" else 0)
    return (
        debit("fees", fee),
        debit("vat_receivable", line.fee_tax_minor),
        credit("cash", fee + line.fee_tax_minor, line.gateway),
    )


def _moved(line: SettlementLine, to: str, place: str | None = None) -> tuple[Side, ...]:
    return (
        debit(to, -line.gross_minor, place),
        credit("cash", -line.gross_minor, line.gateway),
    )


def _of_line(
    line: SettlementLine, kind: str, sides: tuple[Side, ...], day: date | None = None
) -> Booking:
    return Booking(
        kind=kind,
        cause_id=line.id,
        tenant_id=None,
        currency=line.currency,
        sides=sides,
        booked_on=day or line.booked_on,
    )
