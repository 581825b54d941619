"""Drafts: bills that are written and not issued yet, in their grace or waiting for a person.

A draft is never issued as it stands: it is taken back, with all it billed and used, and the same
bill is composed again from the facts as they are by then, in the transaction that issues it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, exists, func, select, text
from sqlalchemy.orm import Session

from app.base import audit, bulk
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify, planned_once
from app.base.errors import Conflict, Invalid
from invoices import periods
from invoices.models import Invoice
from tenants.models import Tenant

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


# The rule by which a draft waits only because its day's drafts come to more than the limit.
OF_ITS_RUN = "run"


class NotHeld(Conflict):
    """Nobody has to let this bill pass."""


class WhyMissing(Invalid):
    """A held bill never passes without a reason."""


@dataclass(frozen=True, slots=True)
class StandingDraft:
    """What is remembered of a draft when it is composed anew."""

    invoice_id: UUID
    created_at: datetime
    was_held: bool
    released_minor: int | None
    run_release_id: UUID | None


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
        func.coalesce(Invoice.held["rule"].astext != OF_ITS_RUN, False).label("was_held"),
        Invoice.released_minor,
        Invoice.run_release_id,
    ).where(bulk.among(Invoice.subscription_id, subscription_ids), Invoice.state == "draft")
    # In one order everywhere: who lets a run go locks its drafts as well.
    rows = control_session.execute(query.order_by(Invoice.id).with_for_update()).all()
    for row in rows:
        found[row.subscription_id][row.supplied_on] = StandingDraft(
            row.id, row.created_at, row.was_held, row.released_minor, row.run_release_id
        )
    if rows:
        invoice_ids = [row.id for row in rows]
        for statement in _TAKE_BACK:
            control_session.execute(text(statement), {"ids": invoice_ids})
    return found


@dataclass(frozen=True, slots=True)
class HeldDraft:
    """A draft that the brake holds: whose, over how much, and why."""

    invoice_id: UUID
    tenant_id: UUID
    tenant_name: str
    bill_on: date
    currency: str
    total_minor: int
    reason: dict[str, Any]
    since: datetime


# Whether any draft stands, held or not.
STANDING = exists().where(Invoice.state == "draft")
_HELD = planned_once(
    select(
        Invoice.id,
        Invoice.tenant_id,
        Tenant.name,
        Invoice.supplied_on,
        Invoice.currency,
        Invoice.total_minor,
        Invoice.held,
        Invoice.created_at,
    )
    .join(Tenant, Tenant.id == Invoice.tenant_id)
    .where(
        Invoice.state == "draft",
        Invoice.held.is_not(None),
        Invoice.held["rule"].astext != OF_ITS_RUN,
    )
    .order_by(Invoice.supplied_on, Invoice.id)
    .limit(bindparam("limit"))
)


def held(*, control_session: Session, limit: int) -> list[HeldDraft]:
    """This function will list the drafts that wait for a person, the oldest bill first.

    Those of a day whose release needs a second person are that run's matter, not one by one.
    """
    rows = control_session.execute(_HELD, {"limit": limit})
    return [HeldDraft(*row) for row in rows]


def release(
    *, control_session: Session, invoice_id: UUID, why: str, actor: Actor, now: datetime
) -> None:
    """This function will let a held draft pass, as it is: somebody looked at it.

    It is composed anew as it is issued; should it come to another total then, the brake judges it
    again.

    Raises: NotHeld, WhyMissing.
    """
    reason = why.strip()
    if not reason:
        raise WhyMissing("Please say why this bill is right.", field="why")
    draft = control_session.get(Invoice, invoice_id, with_for_update=True, populate_existing=True)
    if draft is None or draft.state != "draft" or not draft.held:
        raise NotHeld("This bill is not held any more. Look again.")
    if draft.held["rule"] == OF_ITS_RUN:
        raise NotHeld("This bill waits with all others of its day: release the run.")
    details = {**draft.held, "total_minor": draft.total_minor}
    draft.held, draft.released_minor, draft.issue_at = None, draft.total_minor, now
    audit.append(
        control_session=control_session,
        actor=actor,
        action="invoice.released",
        subject_kind="invoice",
        subject_id=invoice_id,
        tenant_id=draft.tenant_id,
        why=reason,
        details=details,
        now=now,
    )
    control_session.flush()
    notify(control_session, "invoicing")


def grace_ends_at(bill_on: date, timezone: str) -> datetime:
    """This function will return when a bill may be issued: its day's beginning and the grace."""
    return periods.midnight(bill_on, timezone) + timedelta(hours=settings().invoice_grace_hours)
