"""Changes of a subscription: plan, quantities, add-ons, pause, end, billing day.

Each verb decides what happens to the items (`amending`), writes that down and says who and why;
what it costs the next billing run finds out by itself. `when` is "now", cut to the day or second
by each charge's own proration, or "period_end".
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from app.base import clock, states
from app.base.audit import Actor
from app.base.errors import Conflict
from invoices import amending, catalogue, dunning, periods, plan_changes
from invoices import items as subscription_items
from invoices.charges import Offered
from invoices.contracts import Contract, forget_ahead, note, open_contract, write
from invoices.fingerprints import plain_decimal
from invoices.models import SUBSCRIPTION, PlanVersion, Subscription
from tenants import pauses


class NotInForce(Conflict):
    """The subscription is paused, or has not begun: there is nothing to change yet."""


class AlreadyEnding(Conflict):
    """The subscription ends already; the end would have to be taken back first."""


class NothingAhead(Conflict):
    """No change lies ahead that could be taken back."""


def change_plan(
    *,
    control_session: Session,
    tenant_id: UUID,
    plan_code: str,
    when: str | date,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    version: PlanVersion | None = None,
) -> Subscription:
    """This function will move a subscription to a plan's current version, or to the one given.

    Raises: NoSubscription, PlanNotOffered, NothingChanges, NotInForce, AlreadyEnding, DoesNotFit,
    Invalid.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    wanted = version or catalogue.current(
        control_session=control_session,
        plan_code=plan_code,
        currency=contract.subscription.currency,
    )
    _in_force(contract)
    if contract.subscription.ends_on is not None:
        raise AlreadyEnding("The subscription ends. Take that back before you change the plan.")
    amendment = plan_changes.to_plan(
        control_session=control_session, contract=contract, version=wanted, when=when
    )
    write(control_session, contract, amending.withdraw(contract.items, now))
    write(control_session, contract, amendment)
    subscription = contract.subscription
    subscription.next_plan_version_id = wanted.id
    subscription.next_state = None
    subscription.next_change_at = contract.moment(when)
    note(
        control_session,
        contract,
        "plan_changed",
        actor,
        why,
        plan=wanted.plan_code,
        plan_version=wanted.version,
        effective_at=subscription.next_change_at.isoformat(),
    )
    plan_changes.apply_due(
        control_session=control_session, subscription=subscription, actor=actor, now=now
    )
    return subscription


def change_quantity(
    *,
    control_session: Session,
    tenant_id: UUID,
    charge: str,
    quantity: Decimal,
    when: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will buy more or less of a charge that is sold by quantity.

    Raises: NoSubscription, NotInForce, NotBought, QuantityUnsound, NothingChanges, Invalid.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    moment = contract.moment(when)
    amendment = amending.to_quantity(
        items=contract.items,
        code=charge,
        quantity=quantity,
        at=moment,
        timezone=contract.timezone,
    )
    write(control_session, contract, amendment)
    note(
        control_session,
        contract,
        "quantity_changed",
        actor,
        why,
        charge=charge,
        quantity=plain_decimal(quantity),
        effective_at=moment.isoformat(),
    )
    return contract.subscription


def add_charge(
    *,
    control_session: Session,
    tenant_id: UUID,
    charge: str,
    quantity: Decimal,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will add an optional or one-off charge of the plan in force, from now on.

    Raises: NoSubscription, NotInForce, NotBought, QuantityUnsound, NothingChanges.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    offered = _offered(control_session, contract, charge)
    amendment = amending.add(
        items=contract.items,
        price=offered,
        quantity=quantity,
        at=now,
        anchor_on=contract.subscription.anchor_on,
        until=contract.until,
    )
    write(control_session, contract, amendment)
    note(
        control_session,
        contract,
        "charge_added",
        actor,
        why,
        charge=charge,
        quantity=plain_decimal(quantity),
    )
    return contract.subscription


def remove_charge(
    *,
    control_session: Session,
    tenant_id: UUID,
    charge: str,
    when: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will end an optional charge.

    Raises: NoSubscription, NotInForce, NotBought, Invalid.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    moment = contract.moment(when)
    write(
        control_session,
        contract,
        amending.remove(items=contract.items, code=charge, at=moment),
    )
    note(
        control_session,
        contract,
        "charge_removed",
        actor,
        why,
        charge=charge,
        effective_at=moment.isoformat(),
    )
    return contract.subscription


def pause(
    *, control_session: Session, tenant_id: UUID, actor: Actor, now: datetime, why: str
) -> Subscription:
    """This function will stop charging and shut the workspace, until somebody resumes.

    What was paid ahead and is not used is given back, but for what is never prorated: that is kept
    until its period is over. What lay ahead is taken back.

    Raises: NoSubscription, NotInForce, AlreadyEnding; ClosedAlready for a workspace that is shut.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    if contract.subscription.ends_on is not None:
        raise AlreadyEnding("The subscription ends. Take that back before you pause it.")
    pauses.pause(control_session=control_session, tenant_id=tenant_id, actor=actor, now=now)
    write(control_session, contract, amending.withdraw(contract.items, now))
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    write(
        control_session,
        contract,
        amending.rest_all(
            items=amending.live(contract.items, now), at=now, timezone=contract.timezone
        ),
    )
    forget_ahead(contract.subscription)
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=contract.subscription,
        to="paused",
        actor=actor,
        now=now,
        why=why,
        values={"paused_at": now},
    )
    return contract.subscription


def resume(
    *,
    control_session: Session,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will end a pause: everything that was in force before is charged again.

    The workspace opens, unless something else than the pause has shut it. Whoever was past due as
    it began and has paid meanwhile owes nothing any more.

    Raises: NoSubscription, AlreadyEnding; IllegalMove when it is not paused.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    subscription = contract.subscription
    if subscription.ends_on is not None:
        raise AlreadyEnding("The subscription was ended during its pause.")
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=subscription,
        to="active",
        actor=actor,
        now=now,
        why=why,
    )
    rested_at = subscription.paused_at or max(
        item.ends_at for item in contract.items if item.ends_at and item.ends_at > item.starts_at
    )
    subscription.paused_at = None
    write(
        control_session,
        contract,
        amending.begin_again(items=contract.items, rested_at=rested_at, at=now),
    )
    pauses.resume(control_session=control_session, tenant_id=tenant_id, actor=actor, now=now)
    dunning.open_again(control_session=control_session, tenant_id=tenant_id, actor=actor, now=now)
    return subscription


def cancel(
    *,
    control_session: Session,
    tenant_id: UUID,
    when: str,
    actor: Actor,
    now: datetime,
    credit: bool = True,
    why: str | None = None,
) -> Subscription:
    """This function will end a subscription, now or with the running period.

    `credit` says whether what was paid ahead beyond the end is given back. The billing run bills
    the last usage and closes the subscription. One that ends already is left as it is.

    Raises: NoSubscription, Invalid.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    subscription = contract.subscription
    if subscription.ends_on is not None:
        return subscription
    in_force = subscription.state != "paused" and amending.live(contract.items, now)
    moment = contract.moment(when) if in_force else now
    write(
        control_session,
        contract,
        amending.end_all(items=contract.items, at=moment, credit=credit),
    )
    subscription.ends_on = periods.local_day(moment, contract.timezone)
    forget_ahead(subscription)
    subscription.next_bill_on = subscription.next_bill_on or clock.today(now, contract.timezone)
    note(
        control_session,
        contract,
        "cancellation_set",
        actor,
        why,
        ends_on=subscription.ends_on.isoformat(),
        credit=credit,
    )
    return subscription


def take_back(
    *,
    control_session: Session,
    tenant_id: UUID,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will take back what lies ahead: an end, or a change that has not come yet.

    Raises: NoSubscription, NothingAhead.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    amendment = amending.withdraw(contract.items, now)
    if not amendment.ends or contract.subscription.state != "active":
        raise NothingAhead("No change lies ahead.")
    write(control_session, contract, amendment)
    contract.subscription.ends_on = None
    forget_ahead(contract.subscription)
    note(control_session, contract, "change_taken_back", actor, why)
    return contract.subscription


def change_billing_day(
    *,
    control_session: Session,
    tenant_id: UUID,
    billing_day: int,
    actor: Actor,
    now: datetime,
    why: str | None = None,
) -> Subscription:
    """This function will count the periods from another day of the month, from today on.

    The running period is cut short: what was paid ahead is given back and paid anew up to the new
    day. What is never prorated keeps its own day.

    Raises: NoSubscription, NotInForce, AlreadyEnding, BillingDayUnsound, NothingChanges.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    if contract.subscription.ends_on is not None:
        raise AlreadyEnding("The subscription ends. Take that back before you change the day.")
    anchor_on = periods.anchor_for(
        starts_on=periods.local_day(now, contract.timezone),
        billing_day=billing_day,
        interval=periods.MONTHLY,
    )
    settled = amending.withdraw(contract.items, now)
    amendment = amending.to_anchor(
        items=settled.applied_to(contract.items), at=now, anchor_on=anchor_on
    )
    write(control_session, contract, settled)
    write(control_session, contract, amendment)
    forget_ahead(contract.subscription)
    contract.subscription.anchor_on = anchor_on
    note(control_session, contract, "billing_day_changed", actor, why, billing_day=billing_day)
    return contract.subscription


def _in_force(contract: Contract) -> None:
    if contract.subscription.state != "active" or not amending.live(contract.items, contract.now):
        raise NotInForce("The subscription is not in force: resume it first.")


def _offered(control_session: Session, contract: Contract, code: str) -> Offered:
    version = control_session.get_one(PlanVersion, contract.subscription.plan_version_id)
    price = catalogue.price_of(version, code)
    if price is None:
        raise amending.NotBought("The plan has no such charge.", field="charge")
    return subscription_items.offered(control_session=control_session, price_ids=[price.id])[
        price.id
    ]
