"""Contracts: a subscription under its lock with its items, and how an amendment is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from app.base import audit, clock
from app.base.audit import Actor
from app.base.db import notify
from app.base.errors import Invalid
from invoices import amending, periods
from invoices import items as subscription_items
from invoices.amending import Amendment
from invoices.models import Subscription, SubscriptionItem
from invoices.schedule import Item
from invoices.subscriptions import NoSubscription

WHENS = ("now", "period_end")


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

    def moment(self, when: str | date) -> datetime:
        """This function will return when a change takes effect; a day to come begins at midnight.

        Raises: Invalid for an unknown `when`.
        """
        if isinstance(when, date):
            return max(self.now, periods.midnight(when, self.timezone))
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


def write(control_session: Session, contract: Contract, amendment: Amendment) -> None:
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


def forget_ahead(subscription: Subscription) -> None:
    """This function will forget what was to come with items that now come differently."""
    subscription.next_change_at = None
    subscription.next_plan_version_id = None
    subscription.next_state = None


def note(
    control_session: Session,
    contract: Contract,
    action: str,
    actor: Actor,
    why: str | None,
    **details: Any,
) -> None:
    """This function will write down who changed a subscription, when and why."""
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
