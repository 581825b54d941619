"""The sums of a list by state, in one query: what its tabs and its totals both show."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import and_, func, select, text
from sqlalchemy.orm import Session

from app.base.money import Money
from invoices import listing
from invoices.listing import OVERDUE, STATES, InvoiceFilters, Totals
from invoices.models import Invoice


def tally(
    *, control_session: Session, filters: InvoiceFilters, now: datetime
) -> dict[str, list[Totals]]:
    """This function will add up what a filter picks for each state in one query, its own aside.

    The keys are STATES, and "" for all together; the overdue are among the issued as well.
    """
    late = and_(Invoice.state == "issued", Invoice.due_on < listing.today_of(now))
    rows = control_session.execute(
        select(
            Invoice.state,
            Invoice.currency,
            late.label("late"),
            func.count().label("count"),
            func.sum(Invoice.subtotal_minor),
            func.sum(Invoice.tax_minor),
            func.sum(Invoice.total_minor),
            func.sum(Invoice.open_minor),
        )
        .where(*listing.conditions(replace(filters, state=None), now))
        .group_by(Invoice.state, Invoice.currency, text("late"))
    ).all()
    found: dict[str, dict[str, Totals]] = {state: {} for state in ("", *STATES)}
    for state, currency, is_late, count, *sums_of in rows:
        counts = state not in ("void", "draft")
        sums = [Money(int(each) if counts else 0, currency) for each in sums_of]
        for key in ("", state, *([OVERDUE] if is_late else [])):
            known = found[key].get(currency)
            found[key][currency] = _added(known, currency, count, sums)
    return {key: [each[currency] for currency in sorted(each)] for key, each in found.items()}


def _added(known: Totals | None, currency: str, count: int, sums: list[Money]) -> Totals:
    subtotal, tax, total, still_open = sums
    if known is not None:
        count += known.count
        subtotal, tax, total = subtotal + known.subtotal, tax + known.tax, total + known.total
        still_open += known.open
    return Totals(
        currency=currency, count=count, subtotal=subtotal, tax=tax, total=total, open=still_open
    )
