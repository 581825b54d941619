"""What follows a refused or a missing payment: retries, past due, suspension, and the way back."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.messages import queue_mail
from app.base.money import Money
from invoices import card_links, dunning_debts, dunning_rules, method_choices
from invoices.dunning_debts import OURS
from invoices.models import Invoice, PaymentAttempt
from invoices.payment_methods import methods, stranded
from tenants import lifecycle
from tenants.models import Tenant, TenantAdmin

DUNNING = Actor.job("dunning")


def after_decline(
    *,
    control_session: Session,
    invoice: Invoice,
    attempt: PaymentAttempt,
    actor: Actor,
    now: datetime,
) -> None:
    """This function will plan the next attempt by the class of the decline and tell the tenant.

    retry_later climbs the ladder; new_method_needed waits for another card; before either, the
    card that the tenant allowed to stand in is charged. What is our fault is left for a person and
    the tenant hears nothing. An invoice that finance let go of rests.
    """
    if dunning_debts.waived(control_session=control_session, invoice_id=invoice.id):
        invoice.collect_at = None
        return
    if method_choices.is_new(control_session=control_session, invoice=invoice, attempt=attempt):
        # Registered or chosen while the old one was being charged: it has yet to have its turn.
        invoice.collect_at = now
        notify(control_session, "collection")
        return
    tenant = control_session.get_one(Tenant, invoice.tenant_id)
    if attempt.decline_class in OURS:
        _take_warning_back(control_session, tenant, now)
        return
    instead = method_choices.stands_in(control_session=control_session, attempt=attempt)
    if instead is not None:
        invoice.collect_at = _after_hold(control_session, tenant, now, now)
        notify(control_session, "collection")
        _tell(control_session, invoice, attempt, None, now, instead=instead.masked)
        return
    retry_at = _next_try(control_session, tenant, attempt, now)
    invoice.collect_at = retry_at
    _tell(control_session, invoice, attempt, retry_at, now)
    if retry_at is None and _overdue(invoice, now) and not _held(control_session, tenant, now):
        lifecycle.mark_past_due(
            control_session=control_session, tenant_id=invoice.tenant_id, actor=actor, now=now
        )


def _take_warning_back(control_session: Session, tenant: Tenant, now: datetime) -> None:
    """Whoever is warned and owes nothing by their own fault any more is not shut out for it."""
    if tenant.suspend_after is not None and not dunning_debts.of_tenant(
        control_session=control_session, tenant_id=tenant.id, now=now
    ):
        tenant.suspend_after = None


def _next_try(
    control_session: Session, tenant: Tenant, attempt: PaymentAttempt, now: datetime
) -> datetime | None:
    """The ladder has one rung for each decline of the invoice by the same card."""
    declines = method_choices.declines(control_session=control_session, attempt=attempt)
    rules = dunning_rules.rules_of(control_session=control_session, tenant=tenant)
    if not 1 <= declines <= len(rules.ladder_days):
        return None
    retry_at = now + timedelta(days=rules.ladder_days[declines - 1])
    return _after_hold(control_session, tenant, retry_at, now)


def _after_hold(
    control_session: Session, tenant: Tenant, planned: datetime, now: datetime
) -> datetime:
    hold = dunning_debts.standing_hold(
        control_session=control_session, tenant_id=tenant.id, now=now
    )
    return max(planned, hold.ends_at) if hold else planned


def _held(control_session: Session, tenant: Tenant, now: datetime) -> bool:
    found = dunning_debts.standing_hold(
        control_session=control_session, tenant_id=tenant.id, now=now
    )
    return found is not None


def _overdue(invoice: Invoice, now: datetime) -> bool:
    return invoice.due_on is not None and invoice.due_on < dunning_debts.today_of(now)


def _tell(
    control_session: Session,
    invoice: Invoice,
    attempt: PaymentAttempt,
    retry_at: datetime | None,
    now: datetime,
    *,
    instead: str = "",
) -> None:
    """`instead`: the card that is charged now in place of the one that was declined."""
    retry_on = clock.today(retry_at, settings().contract_timezone) if retry_at else None
    asked = str(Money(attempt.amount_minor, attempt.currency))
    about = ("payment_declined", f"declined:{attempt.id}")
    said = {"total": asked, "retry_on": retry_on, "instead": instead}
    _mail(control_session, invoice, about, said, now)


def ask_for_method(*, control_session: Session, invoice: Invoice, now: datetime) -> None:
    """This function will ask for another card where the only one is at an account we disabled.

    Nothing was declined, and the mail says so. Several invoices of a day make one mail.
    """
    tenant_id = control_session.scalar(
        select(Tenant.id).where(Tenant.id == invoice.tenant_id, stranded())
    )
    if tenant_id is None:
        return
    (unused, *_) = methods(control_session=control_session, tenant_id=tenant_id)
    about = f"method_needed:{unused.id}:{dunning_debts.today_of(now)}"
    said = {"total": str(Money(invoice.open_minor, invoice.currency))}
    _mail(control_session, invoice, ("payment_method_needed", about), said, now)


def _mail(
    control_session: Session,
    invoice: Invoice,
    about: tuple[str, str],
    said: dict[str, Any],
    now: datetime,
) -> None:
    """`about`: which mail it is, and what there is one of."""
    name, key = about
    tenant = control_session.get_one(Tenant, invoice.tenant_id)
    for email in admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name=name,
            to=email,
            language=tenant.language,
            context={
                "number": invoice.number_text,
                "invoice_id": invoice.id,
                "company": tenant.name,
                "due_on": invoice.due_on,
                "url": card_links.link(tenant_id=tenant.id, now=now),
                "link_until": card_links.last_day(now=now),
                **said,
            },
            regarding_id=tenant.id,
            dedupe_key=f"{key}:{email}",
            now=now,
        )


def admin_emails(*, control_session: Session, tenant_id: UUID) -> list[str]:
    """This function will return where mails about a tenant's money go."""
    return list(
        control_session.scalars(
            select(TenantAdmin.email)
            .where(TenantAdmin.tenant_id == tenant_id, TenantAdmin.disabled_at.is_(None))
            .order_by(TenantAdmin.created_at)
        )
    )


def after_reversal(*, control_session: Session, invoice: Invoice, now: datetime) -> datetime | None:
    """This function will say when an invoice that is owed again is collected by card.

    At once, or when the hold ends that its tenant is under; never where it was let go of.
    """
    if dunning_debts.waived(control_session=control_session, invoice_id=invoice.id):
        return None
    hold = dunning_debts.standing_hold(
        control_session=control_session, tenant_id=invoice.tenant_id, now=now
    )
    return max(now, hold.ends_at) if hold else now


def after_payment(
    *, control_session: Session, invoice: Invoice, actor: Actor, now: datetime
) -> None:
    """This function will open a tenant's doors again once nothing overdue is left unpaid."""
    open_again(control_session=control_session, tenant_id=invoice.tenant_id, actor=actor, now=now)


def open_again(
    *,
    control_session: Session,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> bool:
    """This function will open what was shut for debts if none is left, and tell whether it did.

    It asks under the tenant's lock: of two payments at once the later one sees the other's. What
    else shut a tenant stays shut; but it is no debtor any more when that ends.

    Raises: NoSuchTenant.
    """
    tenant = lifecycle.locked_beside_payments(control_session, tenant_id)
    blocked = tenant.state == "past_due" or (
        tenant.state in lifecycle.SHUT_STATES and tenant.suspend_reason == "unpaid"
    )
    if not (blocked or tenant.past_due_at) or dunning_debts.owes(
        control_session=control_session, tenant_id=tenant_id, now=now
    ):
        return False
    if not blocked:
        tenant.past_due_at = tenant.suspend_after = None
        return False
    return lifecycle.unblock(
        control_session=control_session, tenant_id=tenant_id, actor=actor, now=now, why=why
    )


def settled(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a tenant is shut out for debts it has not."""
    return and_(
        (Tenant.state == "past_due")
        | ((Tenant.state == "suspended") & (Tenant.suspend_reason == "unpaid")),
        ~exists().where(Invoice.tenant_id == Tenant.id, dunning_debts.owed(now)),
    )


def overdue(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a tenant is to be marked past due."""
    return and_(
        Tenant.state == "active",
        exists().where(Invoice.tenant_id == Tenant.id, dunning_debts.followed_up(now)),
        ~dunning_debts.held(now),
    )


def mark_overdue(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will mark tenants past due and return how many; their days of grace begin."""
    owing = control_session.scalars(
        select(Tenant.id).where(overdue(now)).order_by(Tenant.id).limit(limit)
    ).all()
    return sum(_mark(control_session, tenant_id, now) for tenant_id in owing)


def _mark(control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    """Looked at again under the lock: a payment, a hold or a waiver may have come first."""
    lifecycle.locked(control_session, tenant_id)
    if (
        control_session.scalar(select(Tenant.id).where(Tenant.id == tenant_id, overdue(now)))
        is None
    ):
        return False
    return lifecycle.mark_past_due(
        control_session=control_session, tenant_id=tenant_id, actor=DUNNING, now=now
    )


def shut_without_debts(*, control_session: Session, now: datetime, limit: int) -> list[UUID]:
    """This function will list the tenants that are shut out and owe nothing, for `open_again`."""
    return list(
        control_session.scalars(
            select(Tenant.id).where(settled(now)).order_by(Tenant.id).limit(limit)
        )
    )
