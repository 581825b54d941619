"""Grants of credit: recorded by finance, revoked for a reason, lapsed and rolled over at expiry."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal
from uuid import UUID

from sqlalchemy import Date, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import audit, clock, ids
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid, NotFound
from app.base.money import Money
from invoices import credits, ledger
from invoices.ledger import Booking, credit, debit
from invoices.models import CreditEnd, CreditGrant, CreditUse, Invoice, Subscription
from tenants.models import Tenant

# What people grant; `change` is carried over by bills, `rollover` by `lapse`.
SOURCES = ("purchase", "promotion", "adjustment")
PRIORITY_MAX = 1000
DAYS_MAX = 3660
NOTE_LENGTH_MAX = 500
CHUNK = 200
LAPSER = Actor.job("credits")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollover:
    """What of a grant lives on at its expiry: `percent` of what is left, `most_minor` at most, for
    `days` more, or without an end."""

    percent: Decimal = Decimal(100)
    most_minor: int | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True)
class Used:
    """So much of a grant on one invoice; void when the invoice is."""

    invoice_id: UUID
    number: str | None
    amount: Money
    used_at: datetime
    void: bool


class GrantUnsound(Invalid):
    """A grant can't be recorded like this; `field` names what to change."""


class ReasonMissing(Invalid):
    """What takes something from a customer is done for a reason that can be read."""


class NothingLeft(Conflict):
    """Nothing is left of the grant that could be revoked."""


def grant(
    *,
    control_session: Session,
    tenant_id: UUID,
    amount: Money,
    source: str,
    note: str,
    actor: Actor,
    now: datetime,
    expires_on: date | None = None,
    priority: int = 100,
    rollover: Rollover | None = None,
) -> CreditGrant:
    """This function will give a tenant credit that its next bills use up, before tax.

    `note` says what was paid for it and how, or why it is given.

    Raises: GrantUnsound, NotFound.
    """
    tenant = control_session.get(Tenant, tenant_id)
    if tenant is None:
        raise NotFound("There is no such tenant.")
    today = clock.today(now, tenant.timezone)
    _check(tenant, amount, source, note, priority)
    _check_end(expires_on, today, rollover)
    row = CreditGrant(
        tenant_id=tenant_id,
        currency=amount.currency,
        amount_minor=amount.amount_minor,
        source=source,
        priority=priority,
        granted_at=now,
        granted_by=f"{actor.kind} {actor.id or ''}".strip(),
        expires_on=expires_on,
        note=note.strip(),
        rollover_percent=rollover.percent if rollover else None,
        rollover_max_minor=rollover.most_minor if rollover else None,
        rollover_days=rollover.days if rollover else None,
        paid_for=source == "purchase",
    )
    control_session.add(row)
    control_session.flush()
    if row.paid_for:
        _book_purchase(control_session, row, now)
    _note(control_session, row, "credit.granted", actor, now, why=row.note)
    return row


def _check(tenant: Tenant, amount: Money, source: str, note: str, priority: int) -> None:
    if amount.currency != tenant.currency:
        raise GrantUnsound(f"This account is billed in {tenant.currency}.", field="currency")
    if amount.amount_minor <= 0:
        raise GrantUnsound("Enter an amount above zero.", field="amount")
    if source not in SOURCES:
        raise GrantUnsound(f"Choose one of {', '.join(SOURCES)}.", field="source")
    if not note.strip() or len(note) > NOTE_LENGTH_MAX:
        raise GrantUnsound(
            "Say what was paid for it and how, or why it is given, "
            f"in {NOTE_LENGTH_MAX} characters at most.",
            field="note",
        )
    if not 0 <= priority <= PRIORITY_MAX:
        raise GrantUnsound(f"Choose a priority from 0 (first) to {PRIORITY_MAX}.", field="priority")


def _check_end(expires_on: date | None, today: date, rollover: Rollover | None) -> None:
    if expires_on is not None and not today < expires_on <= today + timedelta(days=DAYS_MAX):
        raise GrantUnsound("It must end after today, within ten years.", field="expires_on")
    if rollover is None:
        return
    if expires_on is None:
        raise GrantUnsound("Only what expires can roll over: say when.", field="expires_on")
    if not 0 < rollover.percent <= 100:
        raise GrantUnsound(
            "Carry over more than 0 and at most 100 percent.", field="rollover_percent"
        )
    if rollover.most_minor is not None and rollover.most_minor <= 0:
        raise GrantUnsound("Enter an amount above zero.", field="rollover_max")
    if rollover.days is not None and not 0 < rollover.days <= DAYS_MAX:
        raise GrantUnsound(f"Enter 1 to {DAYS_MAX} days.", field="rollover_days")


def revoke(
    *, control_session: Session, grant_id: UUID, reason: str, actor: Actor, now: datetime
) -> CreditGrant:
    """This function will take back what is left of a grant; what bills used of it stays used.

    What a later void gives back to it is not spent again. What a bill carried over is the
    customer's own money and can't be revoked.

    Raises: ReasonMissing, NothingLeft, NotFound.
    """
    if not (why := reason.strip()):
        raise ReasonMissing("Please say why the credit is taken back.", field="reason")
    row = control_session.get(CreditGrant, grant_id, with_for_update=True, populate_existing=True)
    if row is None:
        raise NotFound("There is no such credit.")
    if row.source in ("change", *credits.ON_ACCOUNT):
        raise NothingLeft("This is the customer's own money.")
    if not row.left_minor:
        raise NothingLeft("Nothing is left of this credit.")
    left = row.left_minor
    row.lapsed_minor += left
    row.revoked_at = now
    end = CreditEnd(kind="revoked", amount_minor=left, carried_minor=0)
    _book_end(control_session, row, end, now)
    control_session.flush()
    _note(control_session, row, "credit.revoked", actor, now, why=why, amount_minor=left)
    return row


def lapse(*, control_session: Session, now: datetime) -> int:
    """This function will end a chunk of grants that have expired, and roll over what is agreed.

    It waits for bills of before the expiry that are still to be made: a late run still finds what
    was good then. What a void gives back afterwards lapses, and rolls over, the next day. The
    number of grants ended is returned; the next chunk is another call.
    """
    local_day = cast(func.timezone(Tenant.timezone, now), Date)
    unbilled = exists().where(
        Subscription.tenant_id == CreditGrant.tenant_id,
        func.least(Subscription.next_bill_on, Subscription.next_correction_on)
        < CreditGrant.expires_on,
    )
    rows = control_session.execute(
        select(CreditGrant, Tenant.timezone)
        .join(Tenant, Tenant.id == CreditGrant.tenant_id)
        .where(
            CreditGrant.expires_on <= local_day,
            CreditGrant.used_minor + CreditGrant.lapsed_minor < CreditGrant.amount_minor,
            CreditGrant.revoked_at.is_(None),
            ~unbilled,
        )
        .order_by(CreditGrant.id)
        .limit(CHUNK)
        .with_for_update(of=CreditGrant, skip_locked=True)
        .execution_options(populate_existing=True)
    ).all()
    for row, _ in rows:
        _lapse_one(control_session, row, now)
    control_session.flush()
    return len(rows)


def _lapse_one(control_session: Session, row: CreditGrant, now: datetime) -> None:
    left = row.left_minor
    row.lapsed_minor += left
    carried = _carried(row, left)
    end = CreditEnd(kind="lapsed", amount_minor=left, carried_minor=carried)
    _book_end(control_session, row, end, now)
    _note(
        control_session,
        row,
        "credit.lapsed",
        LAPSER,
        now,
        why="expired",
        amount_minor=left,
        carried_minor=carried,
    )
    if not carried or row.expires_on is None:
        return
    expires_on = None
    if row.rollover_days is not None:
        expires_on = row.expires_on + timedelta(days=row.rollover_days)
    control_session.add(
        CreditGrant(
            tenant_id=row.tenant_id,
            currency=row.currency,
            amount_minor=carried,
            source="rollover",
            priority=row.priority,
            granted_at=now,
            granted_by=f"{LAPSER.kind} {LAPSER.id}",
            expires_on=expires_on,
            note=row.note,
            rolled_from=row.id,
            paid_for=row.paid_for,
        )
    )


def _book_purchase(control_session: Session, row: CreditGrant, now: datetime) -> None:
    """What was paid for a credit came to our own bank; we owe the service for it."""
    booking = Booking(
        kind="grant",
        cause_id=row.id,
        tenant_id=row.tenant_id,
        currency=row.currency,
        sides=(debit("cash", row.amount_minor, "manual"), credit("credits", row.amount_minor)),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def _book_end(
    control_session: Session,
    row: CreditGrant,
    end: CreditEnd,
    now: datetime,
) -> None:
    """What expires of paid credit is earned; what is taken back is paid back by our bank."""
    if not row.paid_for:
        return
    end.id, end.grant_id, end.ended_at = ids.uuid7(), row.id, now
    control_session.add(end)
    gone = end.amount_minor - end.carried_minor
    booking = Booking(
        kind="grant_end",
        cause_id=end.id,
        tenant_id=row.tenant_id,
        currency=row.currency,
        sides=(
            debit("credits", gone),
            credit("revenue", gone) if end.kind == "lapsed" else credit("cash", gone, "manual"),
        ),
    )
    ledger.post(control_session=control_session, bookings=[booking], now=now)


def _carried(row: CreditGrant, left_minor: int) -> int:
    """A share of what is left, rounded down; a rollover does not roll over again."""
    if row.rollover_percent is None:
        return 0
    share = (left_minor * row.rollover_percent / 100).quantize(Decimal(1), rounding=ROUND_DOWN)
    most = left_minor if row.rollover_max_minor is None else row.rollover_max_minor
    return min(int(share), most)


def of_tenant(*, control_session: Session, tenant_id: UUID) -> list[CreditGrant]:
    """This function will return a tenant's grants in the order they are used, spent ones last."""
    left = CreditGrant.used_minor + CreditGrant.lapsed_minor < CreditGrant.amount_minor
    return list(
        control_session.scalars(
            select(CreditGrant)
            .where(CreditGrant.tenant_id == tenant_id)
            .order_by(
                and_(left, CreditGrant.revoked_at.is_(None)).desc(),
                CreditGrant.priority,
                CreditGrant.expires_on.asc().nulls_last(),
                CreditGrant.granted_at,
                CreditGrant.id,
            )
        )
    )


def uses(*, control_session: Session, tenant_id: UUID) -> dict[UUID, list[Used]]:
    """This function will list what invoices used of each of a tenant's grants."""
    found: dict[UUID, list[Used]] = defaultdict(list)
    rows = control_session.execute(
        select(CreditUse, Invoice.number_text, CreditGrant.currency)
        .join(CreditGrant, CreditGrant.id == CreditUse.grant_id)
        .join(Invoice, Invoice.id == CreditUse.invoice_id)
        .where(CreditGrant.tenant_id == tenant_id)
        .order_by(Invoice.supplied_on, CreditUse.used_at, CreditUse.id)
    )
    for use, number, currency in rows:
        amount = Money(use.amount_minor, currency)
        found[use.grant_id].append(
            Used(use.invoice_id, number, amount, use.used_at, use.state == "void")
        )
    return found


def balance(*, control_session: Session, tenant: Tenant, now: datetime) -> Money:
    """This function will return what a bill of today could use of the tenant's credit."""
    today = clock.today(now, tenant.timezone)
    left = control_session.scalar(
        select(
            func.coalesce(
                func.sum(
                    CreditGrant.amount_minor - CreditGrant.used_minor - CreditGrant.lapsed_minor
                ),
                0,
            )
        ).where(
            CreditGrant.tenant_id == tenant.id,
            CreditGrant.currency == tenant.currency,
            CreditGrant.revoked_at.is_(None),
            or_(CreditGrant.expires_on.is_(None), CreditGrant.expires_on > today),
        )
    )
    return Money(int(left or 0), tenant.currency)


def _note(
    control_session: Session,
    row: CreditGrant,
    action: str,
    actor: Actor,
    now: datetime,
    *,
    why: str,
    **amounts: int,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=action,
        subject_kind="credit_grant",
        subject_id=row.id,
        tenant_id=row.tenant_id,
        why=why,
        details={"amount_minor": row.amount_minor, "currency": row.currency} | amounts,
        now=now,
    )
