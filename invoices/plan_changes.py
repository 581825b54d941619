"""A change of plan: what becomes of the items, whether the tenant fits, and what comes with it."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import states
from app.base.audit import Actor
from app.base.errors import Conflict, Invalid
from invoices import amending, catalogue
from invoices.amending import Amendment
from invoices.charges import Offered
from invoices.contracts import Contract, forget_ahead
from invoices.fingerprints import plain_decimal
from invoices.models import SUBSCRIPTION, PlanVersion, Subscription
from tenants import lifecycle
from tenants.models import Reading


class DoesNotFit(Conflict):
    """The tenant uses more than the plan allows: `active` people, and `allowed` are fewer."""

    def __init__(self, *, allowed: int, active: Decimal) -> None:
        super().__init__(
            f"The plan allows {allowed} people and {plain_decimal(active)} are active."
            " Deactivate some first.",
            field="plan",
        )
        self.allowed, self.active = allowed, active


def to_plan(
    *, control_session: Session, contract: Contract, version: PlanVersion, when: str | date
) -> Amendment:
    """This function will say what a change of plan does to the items of a contract in force.

    What lay ahead is taken for taken back: there is one future.

    Raises: DoesNotFit, NothingChanges, Invalid.
    """
    if version.currency != contract.subscription.currency:
        raise Invalid(
            f"This account is billed in {contract.subscription.currency}.", field="currency"
        )
    _fits(control_session, contract, version)
    settled = amending.withdraw(contract.items, contract.now).applied_to(contract.items)
    prices = [
        Offered(
            price_id=price.id,
            plan_code=version.plan_code,
            plan_version=version.version,
            position=price.position,
            charge=catalogue.charge_of(price),
        )
        for price in version.prices
    ]
    return amending.to_plan(
        items=settled,
        prices=prices,
        at=contract.moment(when),
        anchor_on=contract.subscription.anchor_on,
        timezone=contract.timezone,
    )


def _fits(control_session: Session, contract: Contract, version: PlanVersion) -> None:
    """The last day that was read says whether the tenant fits into a smaller plan."""
    seats = control_session.scalar(
        select(Reading.quantity)
        .where(Reading.tenant_id == contract.subscription.tenant_id, Reading.meter == "seats")
        .order_by(Reading.day.desc())
        .limit(1)
    )
    allowed = catalogue.limits_of(version)["seats"]
    if seats is not None and seats > allowed:
        raise DoesNotFit(allowed=allowed, active=seats)


def apply_due(
    *, control_session: Session, subscription: Subscription, actor: Actor, now: datetime
) -> bool:
    """This function will do what comes with items whose change has come: plan, limits and state.

    It tells whether there was anything to do; a second call finds nothing.

    Raises: whatever `tenants.lifecycle` refuses.
    """
    if subscription.next_change_at is None or subscription.next_change_at > now:
        control_session.flush()
        return False
    plan_version_id, state = subscription.next_plan_version_id, subscription.next_state
    forget_ahead(subscription)
    if plan_version_id is not None:
        version = control_session.get_one(PlanVersion, plan_version_id)
        subscription.plan_version_id = version.id
        lifecycle.change_plan(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            plan_code=version.plan_code,
            limits=catalogue.limits_of(version),
            features=version.features,
            quotas=version.quotas,
            actor=actor,
            now=now,
        )
    if state == "active":
        version = control_session.get_one(PlanVersion, subscription.plan_version_id)
        lifecycle.convert(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            plan_code=version.plan_code,
            limits=catalogue.limits_of(version),
            features=version.features,
            quotas=version.quotas,
            actor=actor,
            now=now,
        )
        states.move(
            control_session=control_session,
            machine=SUBSCRIPTION,
            row=subscription,
            to="active",
            actor=actor,
            now=now,
            why="its first day has come",
        )
    control_session.flush()
    return True
