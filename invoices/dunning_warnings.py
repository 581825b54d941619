"""The end of the days of grace: a final warning first, and only then the workspace is shut."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, and_, cast, exists, func, select
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.messages import queue_mail
from app.base.money import Money
from invoices import card_links, dunning_debts, dunning_rules, parties
from invoices.dunning import DUNNING, admin_emails
from invoices.models import Invoice
from tenants import correspondence, lifecycle
from tenants.models import Tenant


def due(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a debtor is to have the final warning now."""
    quiet = func.greatest(dunning_rules.grace_days() - dunning_rules.warning_days(), 0)
    warn_at = Tenant.past_due_at + func.make_interval(0, 0, 0, cast(quiet, Integer))
    return and_(
        Tenant.state == "past_due",
        Tenant.suspend_after.is_(None),
        warn_at <= now,
        exists().where(Invoice.tenant_id == Tenant.id, dunning_debts.followed_up(now)),
        ~dunning_debts.held(now),
    )


def warn(*, control_session: Session, now: datetime, limit: int) -> int:
    """This function will send final warnings and return how many tenants had one.

    Each says the moment of the suspension, which is never nearer than the days of warning: after
    an outage, or a hold, the grace grows by as much.
    """
    tenants = control_session.scalars(
        select(Tenant)
        .where(due(now))
        .order_by(Tenant.id)
        .limit(limit)
        .with_for_update(skip_locked=True, of=Tenant)
        .execution_options(populate_existing=True)
    ).all()
    return sum(
        warn_one(control_session=control_session, tenant=tenant, now=now) for tenant in tenants
    )


def warn_one(*, control_session: Session, tenant: Tenant, now: datetime) -> bool:
    """This function will send one debtor, locked, the final warning, and tell whether it did.

    What was held against them may have gone since they were looked for: then nothing is said.
    """
    debts = dunning_debts.of_tenant(control_session=control_session, tenant_id=tenant.id, now=now)
    if not debts:
        return False
    rules = dunning_rules.rules_of(control_session=control_session, tenant=tenant)
    assert tenant.past_due_at is not None, "the query chose whoever is past due"
    tenant.suspend_after = max(
        tenant.past_due_at + timedelta(days=rules.grace_days),
        now + timedelta(days=rules.warning_days),
    )
    audit.append(
        control_session=control_session,
        actor=DUNNING,
        action="tenant.final_warning",
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        details={"suspend_after": tenant.suspend_after.isoformat()},
        now=now,
    )
    total = sum(debt.open_minor for debt in debts)
    for email in admin_emails(control_session=control_session, tenant_id=tenant.id):
        queue_mail(
            control_session=control_session,
            room="invoices",
            name="final_warning",
            to=email,
            language=tenant.language if tenant.language in ("ko", "en") else "en",
            context={
                "company": tenant.name,
                "suspend_at": correspondence.local(tenant.suspend_after, tenant),
                "total": str(Money(total, tenant.currency)),
                "debts": [
                    (debt.number_text, str(Money(debt.open_minor, debt.currency)), debt.due_on)
                    for debt in debts
                ],
                "bank": parties.bank_account(
                    parties.seller_snapshot(), reference=debts[0].number_text or ""
                ),
                "url": card_links.link(tenant_id=tenant.id, now=now),
                "link_until": card_links.last_day(now=now),
            },
            regarding_id=tenant.id,
            dedupe_key=f"final-warning:{tenant.id}:{tenant.suspend_after:%Y%m%d%H%M%S}:{email}",
            now=now,
        )
    return True


def ripe(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a warned debtor's time has run out."""
    return and_(Tenant.state == "past_due", Tenant.suspend_after <= now)


def due_for_suspension(*, control_session: Session, now: datetime, limit: int) -> list[UUID]:
    """This function will list the tenants whose time has run out."""
    return list(
        control_session.scalars(
            select(Tenant.id).where(ripe(now)).order_by(Tenant.suspend_after).limit(limit)
        )
    )


def suspend(
    *, control_session: Session, tenant_id: UUID, now: datetime, actor: Actor = DUNNING
) -> bool:
    """This function will shut out one debtor if that is still due, and tell whether it was.

    Looked at again under the lock: a payment, a hold or a waiver may have come first, or the last
    charge failed by our fault. Whoever is spared is warned anew before another time.
    """
    tenant = lifecycle.locked(control_session, tenant_id)
    if tenant.state != "past_due" or tenant.suspend_after is None or tenant.suspend_after > now:
        return False
    rests = dunning_debts.standing_hold(
        control_session=control_session, tenant_id=tenant_id, now=now
    )
    debts = dunning_debts.of_tenant(control_session=control_session, tenant_id=tenant_id, now=now)
    if rests is not None or not debts:
        tenant.suspend_after = None
        return False
    lifecycle.suspend(
        control_session=control_session,
        tenant_id=tenant_id,
        reason="unpaid",
        actor=actor,
        now=now,
    )
    return True
