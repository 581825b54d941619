"""What counts as a debt that is followed up: overdue, the tenant's to pay, not waived, not held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Date,
    and_,
    any_,
    bindparam,
    exists,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Session, aliased

from app.base import clock
from app.base.config import settings
from invoices.gateways.port import DeclineClass
from invoices.models import DunningHold, DunningWaiver, Invoice, PaymentAttempt
from tenants.models import Tenant

# Nobody is dunned for what only we can mend.
OURS = (DeclineClass.OUR_FAULT.value, DeclineClass.PERSON_MUST_LOOK.value)


@dataclass(frozen=True, slots=True)
class Debts:
    """How many invoices a tenant owes, and what is open of them, in minor units."""

    invoices: int
    open_minor: int


def today_of(now: datetime) -> date:
    """This function will return the day by which due dates are counted."""
    return clock.today(now, settings().contract_timezone)


def owed(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an invoice is overdue and not waived."""
    return _owed_before(today_of(now))


def _owed_before(today: date | BindParameter[date]) -> ColumnElement[bool]:
    return and_(
        Invoice.state == "issued",
        Invoice.total_minor > 0,
        Invoice.due_on < today,
        ~exists().where(DunningWaiver.invoice_id == Invoice.id),
    )


def followed_up(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that an overdue invoice is held against its tenant.

    One whose latest attempt failed by our fault, or is still under way, is not.
    """
    return owed(now) & ~_on_us()


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


def of_tenant(*, control_session: Session, tenant_id: UUID, now: datetime) -> list[Invoice]:
    """This function will list what is held against a tenant, the oldest first."""
    control_session.flush()
    return list(
        control_session.scalars(
            select(Invoice)
            .where(Invoice.tenant_id == tenant_id, followed_up(now))
            .order_by(Invoice.due_on, Invoice.number)
        )
    )


def owes(*, control_session: Session, tenant_id: UUID, now: datetime) -> bool:
    """This function will tell whether anything overdue is left, whoever's fault it is."""
    control_session.flush()
    return bool(
        control_session.scalar(select(exists().where(Invoice.tenant_id == tenant_id, owed(now))))
    )


_SUMS = (
    select(Invoice.tenant_id, func.count(), func.sum(Invoice.open_minor))
    .where(
        Invoice.tenant_id == any_(bindparam("tenants", type_=ARRAY(Invoice.tenant_id.type))),
        _owed_before(bindparam("today", type_=Date)),
    )
    .group_by(Invoice.tenant_id)
)


def sums(
    *, control_session: Session, tenant_ids: Sequence[UUID], now: datetime
) -> dict[UUID, Debts]:
    """This function will return what each of the tenants owes overdue, whoever's fault it is."""
    rows = control_session.execute(_SUMS, {"tenants": tenant_ids, "today": today_of(now)})
    nothing = dict.fromkeys(tenant_ids, Debts(0, 0))
    return nothing | {
        tenant_id: Debts(invoices, int(open_minor)) for tenant_id, invoices, open_minor in rows
    }


def held(now: datetime) -> ColumnElement[bool]:
    """This function will return the condition that a tenant's debts rest, as finance said."""
    return exists().where(
        DunningHold.tenant_id == Tenant.id,
        DunningHold.lifted_at.is_(None),
        DunningHold.ends_at > now,
    )


def standing_hold(
    *, control_session: Session, tenant_id: UUID, now: datetime
) -> DunningHold | None:
    """This function will return the hold that a tenant's debts are under now."""
    found = standing_holds(control_session=control_session, tenant_ids=[tenant_id], now=now)
    return found.get(tenant_id)


_STANDING_HOLDS = select(DunningHold).where(
    DunningHold.tenant_id == any_(bindparam("tenants", type_=ARRAY(DunningHold.tenant_id.type))),
    DunningHold.lifted_at.is_(None),
    DunningHold.ends_at > bindparam("now"),
)


def standing_holds(
    *, control_session: Session, tenant_ids: Sequence[UUID], now: datetime
) -> dict[UUID, DunningHold]:
    """This function will return the holds that the tenants' debts are under now."""
    rows = control_session.scalars(_STANDING_HOLDS, {"tenants": tenant_ids, "now": now})
    return {hold.tenant_id: hold for hold in rows}


def waived(*, control_session: Session, invoice_id: UUID) -> bool:
    """This function will tell whether an invoice is not followed up any more."""
    return control_session.get(DunningWaiver, invoice_id) is not None
