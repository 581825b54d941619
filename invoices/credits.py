"""Credits: money that a tenant has with us and that its next bills use up.

What was bought ahead, given or carried over is used before tax, as lines of a bill. What was paid
beyond an invoice, or taken back by a credit note, is money with its tax in it: it is used after
tax, as payments (`on_account`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, select, text, true, update
from sqlalchemy.orm import Session

from app.base import audit, bulk, ids
from app.base.audit import Actor
from invoices.models import CreditGrant, CreditUse, Invoice, Payment
from invoices.spending import Grant, Use

# Money with its tax in it.
ON_ACCOUNT = ("overpayment", "credit_note")
_OPEN = (
    select(CreditGrant)
    .where(
        CreditGrant.tenant_id.in_(bindparam("tenants", expanding=True)),
        CreditGrant.used_minor + CreditGrant.lapsed_minor < CreditGrant.amount_minor,
        CreditGrant.revoked_at.is_(None),
        CreditGrant.source.not_in(ON_ACCOUNT),
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
_OPEN_TO_USE = _OPEN.with_for_update()


def open_grants(
    *, control_session: Session, tenant_ids: Collection[UUID], lock: bool = True
) -> dict[tuple[UUID, str], list[Grant]]:
    """This function will return what each tenant has left, by currency, locked to be used.

    The first to be used comes first: by priority, then what expires soonest, then the oldest. What
    has expired by a bill's day is left out there: a late run still finds what was good then.
    """
    query = _OPEN_TO_USE if lock else _OPEN
    rows = control_session.scalars(query, {"tenants": list(tenant_ids)})
    found: dict[tuple[UUID, str], list[Grant]] = defaultdict(list)
    for row in rows:
        grant = Grant(row.id, row.left_minor, row.source, row.expires_on, row.paid_for)
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


def keep(
    *,
    control_session: Session,
    invoice: Invoice,
    amount_minor: int,
    source: str,
    actor: Actor,
    now: datetime,
    payment_id: UUID | None = None,
    credit_note_id: UUID | None = None,
) -> CreditGrant:
    """This function will keep money for a customer that settles later invoices, after tax."""
    row = CreditGrant(
        id=ids.uuid7(),
        tenant_id=invoice.tenant_id,
        currency=invoice.currency,
        amount_minor=amount_minor,
        source=source,
        priority=0,
        granted_at=now,
        granted_by=f"{actor.kind} {actor.id or ''}".strip(),
        note=invoice.number_text or "",
        paid_for=True,
        payment_id=payment_id,
        credit_note_id=credit_note_id,
    )
    control_session.add(row)
    control_session.flush()
    audit.append(
        control_session=control_session,
        actor=actor,
        action="credit.kept",
        subject_kind="credit_grant",
        subject_id=row.id,
        tenant_id=row.tenant_id,
        why=source,
        details={"amount_minor": amount_minor, "currency": row.currency},
        now=now,
    )
    return row


def lock_account(*, control_session: Session, tenant_id: UUID, currency: str) -> None:
    """This function will lock all that a customer ever had with us as money, the oldest first.

    Whoever uses or ends some of it locks it in this order, and the invoices before it.
    """
    control_session.execute(
        select(CreditGrant.id)
        .where(
            CreditGrant.tenant_id == tenant_id,
            CreditGrant.currency == currency,
            CreditGrant.source.in_(ON_ACCOUNT),
        )
        .order_by(CreditGrant.granted_at, CreditGrant.id)
        .with_for_update()
    )


def give_back_to_account(*, control_session: Session, payment_id: UUID) -> None:
    """This function will undo that a customer's money became a payment: it can be used again.

    The account is locked.
    """
    uses = control_session.scalars(
        select(CreditUse).where(CreditUse.payment_id == payment_id, CreditUse.state == "used")
    ).all()
    for use in sorted(uses, key=lambda each: each.grant_id):
        row = control_session.get_one(
            CreditGrant, use.grant_id, with_for_update=True, populate_existing=True
        )
        row.used_minor -= use.amount_minor
        use.state = "void"
        control_session.flush()


def take_overpayment(*, control_session: Session, payment_id: UUID, now: datetime) -> None:
    """This function will end the credit that a payment left, all of it unused by now.

    The account is locked.
    """
    row = control_session.scalar(
        select(CreditGrant)
        .where(CreditGrant.payment_id == payment_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if row is not None:
        row.lapsed_minor, row.revoked_at = row.amount_minor, now
        control_session.flush()


def payments_from(*, control_session: Session, payment_id: UUID) -> list[Payment]:
    """This function will list the payments that used what another one left as credit."""
    return list(
        control_session.scalars(
            select(Payment)
            .join(CreditUse, CreditUse.payment_id == Payment.id)
            .join(CreditGrant, CreditGrant.id == CreditUse.grant_id)
            .where(CreditGrant.payment_id == payment_id, CreditUse.state == "used")
            .order_by(Payment.invoice_id, Payment.id)
        )
    )


def is_on_account() -> ColumnElement[bool]:
    """This function will return the condition that a grant is money, and some of it is left."""
    return and_(
        CreditGrant.source.in_(ON_ACCOUNT),
        CreditGrant.used_minor + CreditGrant.lapsed_minor < CreditGrant.amount_minor,
        CreditGrant.revoked_at.is_(None),
    )


def on_account(
    *,
    control_session: Session,
    tenant_id: UUID,
    currency: str,
    up_to_minor: int,
    among: ColumnElement[bool] | None = None,
) -> list[tuple[CreditGrant, int]]:
    """This function will lock a customer's money, oldest first, and say how much of each to use.

    `among`: a condition that says of which.
    """
    rows = control_session.scalars(
        select(CreditGrant)
        .where(
            CreditGrant.tenant_id == tenant_id,
            CreditGrant.currency == currency,
            is_on_account(),
            true() if among is None else among,
        )
        .order_by(CreditGrant.granted_at, CreditGrant.id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    uses = []
    for row in rows:
        amount = min(row.left_minor, up_to_minor)
        if amount <= 0:
            break
        uses.append((row, amount))
        up_to_minor -= amount
    return uses


def spend_on(
    *,
    control_session: Session,
    uses: Sequence[tuple[CreditGrant, int]],
    payment: Payment,
    now: datetime,
) -> None:
    """This function will write down what of a customer's money became a payment."""
    for row, amount_minor in uses:
        row.used_minor += amount_minor
        control_session.add(
            CreditUse(
                grant_id=row.id,
                invoice_id=payment.invoice_id,
                payment_id=payment.id,
                amount_minor=amount_minor,
                used_at=now,
            )
        )
    control_session.flush()
