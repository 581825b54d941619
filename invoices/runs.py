"""Runs: the drafts of one day and currency, and who lets them go before their grace is over."""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from app.base import bulk
from invoices.models import Invoice, RunRelease

RunKey = tuple[date, str]


def totals(*, control_session: Session, days: Collection[date]) -> dict[RunKey, int]:
    """This function will add up the drafts of some days, by currency."""
    rows = control_session.execute(
        select(Invoice.supplied_on, Invoice.currency, func.sum(Invoice.total_minor))
        .where(Invoice.state == "draft", bulk.among(Invoice.supplied_on, days))
        .group_by(Invoice.supplied_on, Invoice.currency)
    )
    return {(day, currency): int(total) for day, currency, total in rows}


def released(*, control_session: Session, days: Collection[date]) -> dict[RunKey, datetime]:
    """This function will tell which runs people let go, and drafts of until when that covers."""
    rows = control_session.execute(
        select(RunRelease.bill_on, RunRelease.currency, func.max(RunRelease.asked_at))
        .where(
            bulk.among(RunRelease.bill_on, days),
            or_(~RunRelease.needs_second, RunRelease.approved_at.is_not(None)),
        )
        .group_by(RunRelease.bill_on, RunRelease.currency)
    )
    return {(day, currency): asked_at for day, currency, asked_at in rows}
