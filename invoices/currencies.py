"""The currency that a tenant is billed in: changed between two contracts, never within one.

What is billed, owed, prepaid or given back stands in one currency. So it changes only while no
money is open; then a new subscription starts in the other one.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from app.base import audit
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Conflict, Invalid
from invoices import catalogue, credits, periods, subscriptions
from invoices.models import CreditGrant, Invoice, Subscription, UsageTotal
from tenants import lifecycle
from tenants.models import GONE_STATES, Tenant


class MoneyOpen(Conflict):
    """Something is still billed, owed or prepaid in the currency so far."""


class NotSoldIn(Invalid):
    """No plan is sold in that currency, or it is the currency already."""


def obstacles(*, control_session: Session, tenant_id: UUID) -> list[str]:
    """This function will say what must be settled before the currency can change."""
    found = []
    if subscriptions.active(control_session=control_session, tenant_id=tenant_id) is not None:
        found.append("A subscription is not over yet. End it, and let its last bill be made.")
    for state, words in (
        ("draft", "A bill is being made. Wait until it is issued and paid."),
        ("issued", "An invoice is unpaid. Let it be paid, or void it."),
    ):
        query = exists().where(Invoice.tenant_id == tenant_id, Invoice.state == state)
        if control_session.scalar(select(query)):
            found.append(words)
    grants = credits.open_grants(
        control_session=control_session, tenant_ids=[tenant_id], lock=False
    )
    on_account = exists().where(CreditGrant.tenant_id == tenant_id, credits.is_on_account())
    if any(grants.values()) or control_session.scalar(select(on_account)):
        found.append("Credit is unused. Revoke what was given, or pay back what was paid.")
    return found + _to_come(control_session, tenant_id)


def _to_come(control_session: Session, tenant_id: UUID) -> list[str]:
    """What the billing run may still make for a contract that is over, in that one's currency."""
    rows = control_session.execute(
        select(
            Subscription.timezone,
            select(func.max(UsageTotal.ends_at))
            .where(UsageTotal.subscription_id == Subscription.id, UsageTotal.state != "void")
            .scalar_subquery()
            .label("used_until"),
        ).where(Subscription.tenant_id == tenant_id, Subscription.next_correction_on.is_not(None))
    ).all()
    kept = timedelta(days=settings().late_usage_days)
    ends = [periods.local_day(at, timezone) + kept for timezone, at in rows if at is not None]
    if ends:
        until = max(ends)
        return [f"Late usage may still change what was billed, up to {until}. Wait until then."]
    if rows:
        return ["A bill of the last subscription is made anew. Wait until it is issued and paid."]
    return []


def change_currency(
    *,
    control_session: Session,
    tenant_id: UUID,
    currency: str,
    actor: Actor,
    now: datetime,
    why: str,
) -> Tenant:
    """This function will bill a tenant in another currency from the next subscription on.

    Raises: NoSuchTenant, TenantGone, MoneyOpen, NotSoldIn.
    """
    # A conversion locks the same row: nobody subscribes meanwhile.
    tenant = lifecycle.locked(control_session, tenant_id)
    if tenant.state in GONE_STATES:
        raise lifecycle.TenantGone(
            "The data of this workspace is being erased. It can't be brought back."
        )
    if currency == tenant.currency:
        raise NotSoldIn("That is the currency already.", field="currency")
    if not catalogue.offers(control_session=control_session, currency=currency):
        raise NotSoldIn("No plan is sold in that currency.", field="currency")
    open_ones = obstacles(control_session=control_session, tenant_id=tenant_id)
    if open_ones:
        raise MoneyOpen(open_ones[0], field="currency")
    before, tenant.currency = tenant.currency, currency
    audit.append(
        control_session=control_session,
        actor=actor,
        action="tenant.currency_changed",
        subject_kind="tenant",
        subject_id=tenant.id,
        tenant_id=tenant.id,
        why=why,
        details={"before": before, "currency": currency},
        now=now,
    )
    control_session.flush()
    return tenant
