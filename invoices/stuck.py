"""Subscriptions that are not billed: what each of them waits for, for somebody to see to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import BigInteger, bindparam, or_, select
from sqlalchemy.orm import Session

from app.base.config import settings
from invoices.models import Subscription
from tenants.models import Tenant

# With their tenants' names; settings say `attempts_max`.
STUCK = (
    select(Subscription, Tenant.name)
    .join(Tenant, Tenant.id == Subscription.tenant_id)
    .where(
        # Late usage is billed after the end, too.
        or_(Subscription.state != "cancelled", Subscription.next_correction_on.is_not(None)),
        or_(
            Subscription.blocked_reason.is_not(None),
            Subscription.last_error.is_not(None),
            Subscription.attempts >= bindparam("attempts_max", type_=BigInteger),
        ),
    )
    .order_by(Subscription.next_bill_on, Subscription.id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckSubscription:
    """A subscription that is not billed: it waits for readings, or its billing failed."""

    subscription_id: UUID
    tenant_id: UUID
    tenant_name: str
    bill_on: date | None
    blocked_reason: str | None
    last_error: str | None
    attempts: int
    retry_at: datetime | None
    needs_person: bool


def listed(*, control_session: Session, limit: int = 200) -> list[StuckSubscription]:
    """This function will list the subscriptions that need somebody's attention, oldest first."""
    attempts_max = settings().work_attempts_max
    rows = control_session.execute(STUCK.limit(limit), {"attempts_max": attempts_max})
    return [
        StuckSubscription(
            subscription_id=subscription.id,
            tenant_id=subscription.tenant_id,
            tenant_name=name,
            bill_on=subscription.next_bill_on,
            blocked_reason=subscription.blocked_reason,
            last_error=subscription.last_error,
            attempts=subscription.attempts,
            retry_at=subscription.retry_at,
            needs_person=subscription.attempts >= attempts_max,
        )
        for subscription, name in rows
    ]
