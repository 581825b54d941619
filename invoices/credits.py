"""Credits: money that a tenant has with us and that its next bills use up, before tax."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import exists, func, select, text, update
from sqlalchemy.orm import Session

from app.base import bulk, ids
from invoices.models import CreditGrant, CreditUse, Invoice
from invoices.spending import Grant, Use


def open_grants(
    *, control_session: Session, tenant_ids: Collection[UUID], lock: bool = True
) -> dict[tuple[UUID, str], list[Grant]]:
    """This function will return what each tenant has left, by currency, locked to be used.

    The first to be used comes first: by priority, then what expires soonest, then the oldest. What
    has expired by a bill's day is left out there: a late run still finds what was good then.
    """
    query = (
        select(CreditGrant)
        .where(
            CreditGrant.tenant_id.in_(tenant_ids),
            CreditGrant.used_minor + CreditGrant.lapsed_minor < CreditGrant.amount_minor,
            CreditGrant.revoked_at.is_(None),
            # What a draft carries over is nobody's until it is issued.
            ~exists().where(Invoice.id == CreditGrant.carried_by, Invoice.state == "draft"),
        )
        .order_by(
            CreditGrant.priority,
            CreditGrant.expires_on.asc().nulls_last(),
            CreditGrant.granted_at,
            CreditGrant.id,
        )
        .execution_options(populate_existing=True)
    )
    rows = control_session.scalars(query.with_for_update() if lock else query)
    found: dict[tuple[UUID, str], list[Grant]] = defaultdict(list)
    for row in rows:
        grant = Grant(row.id, row.left_minor, row.source, row.expires_on)
        found[row.tenant_id, row.currency].append(grant)
    return found


def record(
    *, control_session: Session, uses: Sequence[tuple[UUID, UUID, Use]], now: datetime
) -> None:
    """This function will write down uses with the invoice and the line that they stand on.

    The database refuses to use more of a grant than there is.
    """
    if not uses:
        return
    total: dict[UUID, int] = defaultdict(int)
    for _, _, use in uses:
        total[use.grant.grant_id] += use.amount_minor
    control_session.execute(
        text(
            "UPDATE credit_grant g SET used_minor = g.used_minor + v.amount"
            " FROM unnest(CAST(:grants AS uuid[]), CAST(:amounts AS bigint[])) AS v (id, amount)"
            " WHERE g.id = v.id"
        ),
        {"grants": list(total), "amounts": list(total.values())},
    )
    bulk.copy(
        control_session=control_session,
        table="credit_use",
        columns=("id", "grant_id", "invoice_id", "line_id", "amount_minor", "state", "used_at"),
        rows=[
            (
                *(ids.uuid7(), use.grant.grant_id, invoice_id, line_id, use.amount_minor),
                *("used", now),
            )
            for invoice_id, line_id, use in uses
        ],
    )


def give_back(*, control_session: Session, invoice_id: UUID) -> None:
    """This function will undo what a voided invoice used up and what it carried over.

    What was carried and is used already stays used: the grant shrinks to that.
    """
    used = (
        select(CreditUse.grant_id, func.sum(CreditUse.amount_minor).label("amount_minor"))
        .where(CreditUse.invoice_id == invoice_id, CreditUse.state == "used")
        .group_by(CreditUse.grant_id)
        .subquery()
    )
    control_session.execute(
        update(CreditGrant)
        .where(CreditGrant.id == used.c.grant_id)
        .values(used_minor=CreditGrant.used_minor - used.c.amount_minor)
        .execution_options(synchronize_session=False)
    )
    control_session.execute(
        update(CreditUse)
        .where(CreditUse.invoice_id == invoice_id, CreditUse.state == "used")
        .values(state="void")
        .execution_options(synchronize_session=False)
    )
    control_session.execute(
        update(CreditGrant)
        .where(CreditGrant.carried_by == invoice_id)
        .values(amount_minor=CreditGrant.used_minor + CreditGrant.lapsed_minor)
        .execution_options(synchronize_session=False)
    )
