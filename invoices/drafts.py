"""Drafts: bills that are written and not issued yet, in their grace or waiting for a person.

A draft is never issued as it stands: it is taken back, with all it billed and used, and the same
bill is composed again from the facts as they are by then, in the transaction that issues it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import bulk
from app.base.config import settings
from invoices import periods
from invoices.models import Invoice

# From the rows that hang on others down to the invoice itself.
_TAKE_BACK = (
    "UPDATE credit_grant g SET used_minor = g.used_minor - u.amount FROM ("
    " SELECT grant_id, sum(amount_minor) AS amount FROM credit_use"
    " WHERE invoice_id = ANY(:ids) AND state = 'used' GROUP BY grant_id) u WHERE g.id = u.grant_id",
    "DELETE FROM credit_use WHERE invoice_id = ANY(:ids)",
    "DELETE FROM coupon_use WHERE invoice_id = ANY(:ids)",
    "DELETE FROM usage_total WHERE invoice_id = ANY(:ids)",
    "DELETE FROM billed_span WHERE invoice_id = ANY(:ids)",
    "DELETE FROM credit_grant WHERE carried_by = ANY(:ids)",
    "DELETE FROM invoice_line WHERE invoice_id = ANY(:ids)",
    "DELETE FROM invoice WHERE id = ANY(:ids) AND state = 'draft'",
)


@dataclass(frozen=True, slots=True)
class StandingDraft:
    """What is remembered of a draft when it is composed anew."""

    invoice_id: UUID
    created_at: datetime
    was_held: bool
    released_minor: int | None


def take_back(
    *, control_session: Session, subscription_ids: Sequence[UUID], lock: bool = True
) -> Mapping[UUID, Mapping[date, StandingDraft]]:
    """This function will delete the drafts of subscriptions, and tell of each by its bill's day.

    What they used of credits and coupons is free again. Without `lock` they are left standing.
    """
    found: dict[UUID, dict[date, StandingDraft]] = defaultdict(dict)
    if not lock:
        return found
    query = select(
        Invoice.id,
        Invoice.subscription_id,
        Invoice.supplied_on,
        Invoice.created_at,
        Invoice.held.is_not(None).label("was_held"),
        Invoice.released_minor,
    ).where(bulk.among(Invoice.subscription_id, subscription_ids), Invoice.state == "draft")
    rows = control_session.execute(query.with_for_update()).all()
    for row in rows:
        found[row.subscription_id][row.supplied_on] = StandingDraft(
            row.id, row.created_at, row.was_held, row.released_minor
        )
    if rows:
        invoice_ids = [row.id for row in rows]
        for statement in _TAKE_BACK:
            control_session.execute(text(statement), {"ids": invoice_ids})
    return found


def grace_ends_at(bill_on: date, timezone: str) -> datetime:
    """This function will return when a bill may be issued: its day's beginning and the grace."""
    return periods.midnight(bill_on, timezone) + timedelta(hours=settings().invoice_grace_hours)
