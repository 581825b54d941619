"""Invoice numbers: without gaps within a series and a year."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from invoices.models import NumberSeries

INVOICE_SERIES = "INV"


def take(*, control_session: Session, series: str, year: int, count: int) -> range:
    """This function will take the next `count` numbers of a series, in the caller's transaction.

    The series' row stays locked until that transaction ends: if it is rolled back or killed, the
    numbers were never taken. So take them last, and use every one.
    """
    control_session.execute(
        insert(NumberSeries)
        .values(series=series, year=year, next_number=1)
        .on_conflict_do_nothing()
    )
    following = control_session.execute(
        update(NumberSeries)
        .where(NumberSeries.series == series, NumberSeries.year == year)
        .values(next_number=NumberSeries.next_number + count)
        .returning(NumberSeries.next_number)
        .execution_options(synchronize_session=False)
    ).scalar_one()
    return range(following - count, following)


def year_of(now: datetime) -> int:
    """This function will return the year whose numbers are given out now, by the seller's day."""
    return clock.today(now, settings().contract_timezone).year


def number_text(series: str, year: int, number: int) -> str:
    """This function will write a number as it stands on papers: `INV-2026-000123`."""
    return f"{series}-{year}-{number:06d}"
