"""What follows a refused or a missing payment: retries, past due, suspension, and the way back."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import Session, aliased

from app.base import clock
from app.base.audit import Actor
from app.base.config import settings
from app.base.db import notify
from app.base.messages import queue_mail
from app.base.money import Money
from invoices.gateways.port import DeclineClass
from invoices.models import Invoice, PaymentAttempt
from invoices.payment_methods import default_method
from tenants import lifecycle
from tenants.models import Tenant, TenantAdmin

DUNNING = Actor.job("dunning")
# Nobody is dunned for what only we can mend.
OURS = (DeclineClass.OUR_FAULT.value, DeclineClass.PERSON_MUST_LOOK.value)


def after_decline(
    *,
    control_session: Session,
    invoice: Invoice,
    attempt: PaymentAttempt,
    actor: Actor,
    now: datetime,
) -> None:
    """This function will plan the next attempt by the class of the decline and tell the tenant.

    retry_later climbs the ladder; new_method_needed waits for another card; what is our fault is
    left for a person and the tenant hears nothing.
    """
    if _another_card(control_session, attempt):
        # Registered while the old one was being charged: it has not had its turn yet.
        invoice.collect_at = now
        notify(control_session, "collection")
        return
    if attempt.decline_class in OURS:
        return
    retry_at = None
    if attempt.decline_class == DeclineClass.RETRY_LATER.value:
        retry_at = _next_try(control_session, attempt, now)
    invoice.collect_at = retry_at
    _tell(control_session, invoice, attempt, retry_at, now)
    if retry_at is None and _overdue(invoice, now):
        lifecycle.mark_past_due(
            control_session=control_session, tenant_id=invoice.tenant_id, actor=actor, now=now
        )


def _another_card(control_session: Session, attempt: PaymentAttempt) -> bool:
    method = default_method(control_session=control_session, tenant_id=attempt.tenant_id)
    return method is not None and method.id != attempt.method_id


def _next_try(control_session: Session, attempt: PaymentAttempt, now: datetime) -> datetime | None:
    """The ladder has one rung for each decline of the invoice by the same card."""
    control_session.flush()
    declines = control_session.scalar(
        select(func.count()).where(
            PaymentAttempt.invoice_id == attempt.invoice_id,
            PaymentAttempt.method_id == attempt.method_id,
            PaymentAttempt.decline_class == DeclineClass.RETRY_LATER.value,
        )
    )
    ladder = settings().payment_retry_ladder_days
    rung = (declines or 1) - 1
    return now + timedelta(days=ladder[rung]) if rung < len(ladder) else None


def _overdue(invoice: Invoice, now: datetime) -> bool:
    today = clock.today(now, settings().contract_timezone)
    return invoice.due_on is not None and invoice.due_on < today


def _tell(
    control_session: Session,
    invoice: Invoice,
    attempt: PaymentAttempt,
    retry_at: datetime | None,
    now: datetime,
) -> None:
    tenant = control_session.get_one(Tenant, invoice.tenant_id)
    zone = settings().contract_timezone
    for email in admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name="payment_declined",
            to=email,
            language=tenant.language,
            context={
                "number": invoice.number_text,
                "total": str(Money(invoice.total_minor, invoice.currency)),
                "due_on": invoice.due_on,
                "retry_on": clock.today(retry_at, zone) if retry_at else None,
                "url": f"{settings().public_url}/portal/payment",
            },
            regarding_id=tenant.id,
            dedupe_key=f"declined:{attempt.id}:{email}",
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


def after_payment(
    *, control_session: Session, invoice: Invoice, actor: Actor, now: datetime
) -> None:
    """This function will open a tenant's doors again once nothing overdue is left unpaid."""
    tenant = control_session.get_one(Tenant, invoice.tenant_id)
    blocked = tenant.state == "past_due" or (
        tenant.state == "suspended" and tenant.suspend_reason == "unpaid"
    )
    if blocked and not _owes(control_session, tenant.id, now):
        lifecycle.unblock(
            control_session=control_session, tenant_id=tenant.id, actor=actor, now=now
        )


def _owes(control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    control_session.flush()
    today = clock.today(now, settings().contract_timezone)
    return bool(
        control_session.scalar(
            select(
                exists().where(
                    Invoice.tenant_id == tenant_id,
                    Invoice.state == "issued",
                    Invoice.due_on < today,
                )
            )
        )
    )


def overdue(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a tenant is to be marked past due.

    An invoice is unpaid after its due date; one whose latest attempt failed by our fault, or is
    still under way, does not count.
    """
    today = clock.today(now, settings().contract_timezone)
    return and_(
        Tenant.state == "active",
        exists().where(
            Invoice.tenant_id == Tenant.id,
            Invoice.state == "issued",
            Invoice.total_minor > 0,
            Invoice.due_on < today,
            ~_on_us(),
        ),
    )


def mark_overdue(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will mark tenants past due and return how many; their days of grace begin."""
    owing = control_session.scalars(
        select(Tenant.id).where(overdue(now)).order_by(Tenant.id).limit(limit)
    ).all()
    return sum(
        lifecycle.mark_past_due(
            control_session=control_session, tenant_id=tenant_id, actor=DUNNING, now=now
        )
        for tenant_id in owing
    )


def _on_us() -> ColumnElement[bool]:
    """The invoice's latest attempt is open, or failed for a reason that is not the tenant's."""
    later = aliased(PaymentAttempt)
    return exists().where(
        PaymentAttempt.invoice_id == Invoice.id,
        PaymentAttempt.state.in_(("open", "unknown", "needs_person"))
        | PaymentAttempt.decline_class.in_(OURS),
        ~exists().where(
            later.invoice_id == Invoice.id,
            later.attempt_number > PaymentAttempt.attempt_number,
        ),
    )
