"""Changes of a subscription: plan, quantities, add-ons, pause, end, billing day.

Each verb decides what happens to the items (`amending`), writes that down and says who and why;
what it costs the next billing run finds out by itself. `when` is "now", cut to the day or second
by each charge's own proration, or "period_end".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.base import audit, clock, states
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Conflict, Invalid
from invoices import amending, catalogue, periods
from invoices import items as subscription_items
from invoices.amending import Amendment
from invoices.charges import Offered
from invoices.fingerprints import plain_decimal
from invoices.models import SUBSCRIPTION, PlanVersion, Subscription, SubscriptionItem
from invoices.schedule import Item
from invoices.subscriptions import NoSubscription
from tenants import lifecycle
from tenants.models import Reading

WHENS = ("now", "period_end")


class NotInForce(Conflict):
    """The subscription is paused, or has not begun: there is nothing to change yet."""


class DoesNotFit(Conflict):
    """The tenant uses more than the plan allows."""


class AlreadyEnding(Conflict):
    """The subscription ends already; the end would have to be taken back first."""


class NothingAhead(Conflict):
    """No change lies ahead that could be taken back."""


@dataclass(frozen=True, slots=True)
class Contract:
    """A subscription under its lock, with its items and the moment of the act."""

    subscription: Subscription
    items: list[Item]
    now: datetime

    @property
    def timezone(self) -> str:
        """The contract's time zone, by whose days it is billed."""
        return self.subscription.timezone

    @property
    def until(self) -> datetime | None:
        """The end of the contract, if one is set."""
        ends_on = self.subscription.ends_on
        return periods.midnight(ends_on, self.timezone) if ends_on else None

    def moment(self, when: str) -> datetime:
        """This function will return when a change takes effect.

        Raises: Invalid for an unknown `when`.
        """
        if when not in WHENS:
            raise Invalid("Choose now or the end of the period.", field="when")
        if when == "now":
            return self.now
        running = amending.period_on(items=self.items, at=self.now, timezone=self.timezone)
        return periods.midnight(running.end, self.timezone)


def open_contract(*, control_session: Session, tenant_id: UUID, now: datetime) -> Contract:
    """This function will lock a tenant's subscription and read its items.

    Raises: NoSubscription.
    """
    subscription = control_session.scalar(
        select(Subscription)
        .where(Subscription.tenant_id == tenant_id, Subscription.state != "cancelled")
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    if subscription is None:
        raise NoSubscription("There is no active subscription.")
    found, _ = subscription_items.of_subscriptions(
        control_session=control_session, subscription_ids=[subscription.id]
    )
    return Contract(subscription, found[subscription.id], now)


def plan_amendment(
    *, control_session: Session, contract: Contract, version: PlanVersion, when: str
) -> tuple[Amendment, list[Item]]:
    """This function will return what a change of plan does, and the items that it is done to.

    Changes that lay ahead are taken back first: a subscription has one future.

    Raises: NothingChanges, NotInForce, AlreadyEnding, DoesNotFit, Invalid.
    """
    _in_force(contract)
    if contract.subscription.ends_on is not None:
        raise AlreadyEnding("The subscription ends. Take that back before you change the plan.")
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
    amendment = amending.to_plan(
        items=settled,
        prices=prices,
        at=contract.moment(when),
        anchor_on=contract.subscription.anchor_on,
        timezone=contract.timezone,
    )
    return amendment, settled


def change_plan(
    *,
    control_session: Session,
    tenant_id: UUID,
    plan_code: str,
    when: str,
    actor: Actor,
    now: datetime,
    why: str | None = None,
    version: PlanVersion | None = None,
) -> Subscription:
    """This function will move a subscription to a plan's current version, or to the one given.

    Raises: NoSubscription, PlanNotOffered; whatever `plan_amendment` refuses.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    wanted = version or catalogue.current(
        control_session=control_session,
        plan_code=plan_code,
        currency=contract.subscription.currency,
    )
    amendment, _ = plan_amendment(
        control_session=control_session, contract=contract, version=wanted, when=when
    )
    _write(control_session, contract, amending.withdraw(contract.items, now))
    _write(control_session, contract, amendment)
    subscription = contract.subscription
    subscription.next_plan_version_id = wanted.id
    subscription.next_state = None
    subscription.next_change_at = contract.moment(when)
    _note(
        control_session,
        contract,
        "plan_changed",
        actor,
        why,
        plan=wanted.plan_code,
        plan_version=wanted.version,
        effective_at=subscription.next_change_at.isoformat(),
    )
    apply_due(control_session=control_session, subscription=subscription, actor=actor, now=now)
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
    _write(control_session, contract, amendment)
    _note(
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
    _write(control_session, contract, amendment)
    _note(
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
    _write(
        control_session,
        contract,
        amending.remove(items=contract.items, code=charge, at=moment),
    )
    _note(
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

    What was paid ahead and is not used is given back. What lay ahead is taken back.

    Raises: NoSubscription, NotInForce, AlreadyEnding.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _in_force(contract)
    if contract.subscription.ends_on is not None:
        raise AlreadyEnding("The subscription ends. Take that back before you pause it.")
    _write(control_session, contract, amending.withdraw(contract.items, now))
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    _write(
        control_session,
        contract,
        amending.end_all(items=amending.live(contract.items, now), at=now, credit=True),
    )
    _forget_ahead(contract.subscription)
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=contract.subscription,
        to="paused",
        actor=actor,
        now=now,
        why=why,
    )
    lifecycle.suspend(
        control_session=control_session,
        tenant_id=tenant_id,
        reason="paused",
        actor=actor,
        now=now,
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

    Raises: NoSubscription; IllegalMove when it is not paused.
    """
    contract = open_contract(control_session=control_session, tenant_id=tenant_id, now=now)
    subscription = contract.subscription
    states.move(
        control_session=control_session,
        machine=SUBSCRIPTION,
        row=subscription,
        to="active",
        actor=actor,
        now=now,
        why=why,
    )
    last = max(item.ends_at for item in contract.items if item.ends_at is not None)
    _write(
        control_session,
        contract,
        amending.begin_again(items=contract.items, ended_at=last, at=now),
    )
    lifecycle.resume(control_session=control_session, tenant_id=tenant_id, actor=actor, now=now)
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
    in_force = amending.live(contract.items, now)
    moment = contract.moment(when) if in_force else now
    _write(
        control_session,
        contract,
        amending.end_all(items=contract.items, at=moment, credit=credit),
    )
    subscription.ends_on = periods.local_day(moment, contract.timezone)
    _forget_ahead(subscription)
    subscription.next_bill_on = subscription.next_bill_on or clock.today(now, contract.timezone)
    _note(
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
    _write(control_session, contract, amendment)
    contract.subscription.ends_on = None
    _forget_ahead(contract.subscription)
    _note(control_session, contract, "change_taken_back", actor, why)
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
    day.

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
    _write(control_session, contract, settled)
    _write(control_session, contract, amendment)
    _forget_ahead(contract.subscription)
    contract.subscription.anchor_on = anchor_on
    _note(control_session, contract, "billing_day_changed", actor, why, billing_day=billing_day)
    return contract.subscription


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
    _forget_ahead(subscription)
    if plan_version_id is not None:
        version = control_session.get_one(PlanVersion, plan_version_id)
        subscription.plan_version_id = version.id
        lifecycle.change_plan(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            plan_code=version.plan_code,
            limits=catalogue.limits_of(version),
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


def _in_force(contract: Contract) -> None:
    if contract.subscription.state != "active" or not amending.live(contract.items, contract.now):
        raise NotInForce("The subscription is not in force: resume it first.")


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
        raise DoesNotFit(
            f"The plan allows {allowed} people and {plain_decimal(seats)} are active."
            " Deactivate some first.",
            field="plan",
        )


def _offered(control_session: Session, contract: Contract, code: str) -> Offered:
    version = control_session.get_one(PlanVersion, contract.subscription.plan_version_id)
    price = catalogue.price_of(version, code)
    if price is None:
        raise amending.NotBought("The plan has no such charge.", field="charge")
    return subscription_items.offered(control_session=control_session, price_ids=[price.id])[
        price.id
    ]


def _write(control_session: Session, contract: Contract, amendment: Amendment) -> None:
    """This function will write an amendment so that no charge is ever in force twice.

    What ends, ends first; then what goes on after all, and what begins.
    """
    for item_id, ends_at in sorted(amendment.ends.items(), key=lambda end: end[1] is None):
        values: dict[str, Any] = {"ends_at": ends_at}
        if item_id in amendment.credit:
            values["credit_on_end"] = amendment.credit[item_id]
        control_session.execute(
            update(SubscriptionItem)
            .where(SubscriptionItem.id == item_id)
            .values(**values)
            .execution_options(synchronize_session=False)
        )
    if amendment.begins:
        control_session.execute(insert(SubscriptionItem), _rows(contract, amendment.begins))
    subscription = contract.subscription
    today = clock.today(contract.now, contract.timezone)
    subscription.next_bill_on = min(subscription.next_bill_on or today, today)
    notify(control_session, "invoicing")
    control_session.flush()


def _rows(contract: Contract, items: Sequence[Item]) -> list[dict[str, Any]]:
    return [
        {
            "id": item.item_id,
            "subscription_id": contract.subscription.id,
            "price_id": item.price_id,
            "charge": item.charge.code,
            "quantity": item.quantity,
            "starts_at": item.starts_at,
            "ends_at": item.ends_at,
            "anchor_on": item.anchor_on,
            "credit_on_end": item.credit_on_end,
            "created_at": contract.now,
        }
        for item in items
    ]


def _forget_ahead(subscription: Subscription) -> None:
    subscription.next_change_at = None
    subscription.next_plan_version_id = None
    subscription.next_state = None


def _note(
    control_session: Session,
    contract: Contract,
    action: str,
    actor: Actor,
    why: str | None,
    **details: Any,
) -> None:
    audit.append(
        control_session=control_session,
        actor=actor,
        action=f"subscription.{action}",
        subject_kind="subscription",
        subject_id=contract.subscription.id,
        tenant_id=contract.subscription.tenant_id,
        why=why,
        details=details,
        now=contract.now,
    )
