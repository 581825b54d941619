"""Closed months as whoever books sees them: which are closed, and the first day that is not."""

from __future__ import annotations

from datetime import date

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from invoices.models import MonthClose
from invoices.periods import months_after

# The database takes the same lock where entries are written; taken here, the answer still holds
# when they are.
_BOOKING = text("SELECT pg_advisory_xact_lock_shared(hashtext('month close'))")
_CLOSING = text("SELECT pg_advisory_xact_lock(hashtext('month close'))")


def first_open_day(*, control_session: Session, day: date) -> date:
    """This function will return the day itself, or the first day after it in a month still open.

    Until the transaction ends no month is closed beside it.
    """
    control_session.execute(_BOOKING)
    month = day.replace(day=1)
    closed = set(
        control_session.scalars(
            select(MonthClose.month).where(
                MonthClose.reopened_at.is_(None), MonthClose.month >= month
            )
        )
    )
    if month not in closed:
        return day
    while month in closed:
        month = months_after(month, 1)
    return month


def hold(*, control_session: Session) -> None:
    """This function will wait for bookings under way, and keep others out until it is committed."""
    control_session.execute(_CLOSING)
