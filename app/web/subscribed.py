"""What a tenant is subscribed to, as pages show it: charges in force, add-ons, what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.orm import contains_eager

from app.base import clock
from app.base.config import settings
from app.base.errors import Forbidden
from app.web.db import control
from app.web.format import number
from app.web.i18n import gettext, language
from app.web.wishes import VERBS
from invoices import amending, catalogue, items, periods, price_words, subscriptions
from invoices.charges import Charge, Offered
from invoices.models import PlanVersion, Price, Subscription
from invoices.schedule import Item

_VERSION = (
    select(PlanVersion)
    .outerjoin(PlanVersion.prices)
    .where(PlanVersion.id == bindparam("version"))
    .options(contains_eager(PlanVersion.prices))
    .order_by(Price.position)
)


class NotByYourself(Forbidden):
    """The contract leaves this change to our staff."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A subscription with its items, where they come from, and the moment looked at."""

    subscription: Subscription
    version: PlanVersion
    items: list[Item]
    prices: dict[UUID, Offered]
    now: datetime

    @property
    def today(self) -> date:
        """The contract's own day."""
        return clock.today(self.now, self.subscription.timezone)

    @property
    def live(self) -> list[Item]:
        """What is in force, without what is asked for once."""
        found = amending.live(self.items, self.now)
        return sorted(
            (item for item in found if not item.charge.once), key=lambda item: item.position
        )

    @property
    def coming(self) -> list[Item]:
        """What begins later."""
        later = (
            item
            for item in self.items
            if item.starts_at > self.now and item.ends_at != item.starts_at
        )
        return sorted(later, key=lambda item: (item.starts_at, item.position))

    @property
    def bought(self) -> list[Item]:
        """What is in force and sold by quantity."""
        return [item for item in self.live if by_quantity(item.charge)]

    @property
    def removable(self) -> list[Item]:
        """The add-ons that are in force and go on."""
        return [item for item in self.live if item.charge.optional and item.ends_at is None]

    @property
    def addable(self) -> list[Price]:
        """What the plan offers besides and is not in force."""
        taken = {item.charge.code for item in amending.live(self.items, self.now)}
        return [
            price
            for price in self.version.prices
            if (price.optional or price.kind == "one_off") and price.charge not in taken
        ]

    @property
    def running_end(self) -> date | None:
        """The day on which the next period begins, as long as one is running."""
        if self.subscription.state == "paused" or not self.live:
            return None
        zone = self.subscription.timezone
        return amending.period_on(items=self.items, at=self.now, timezone=zone).end

    @property
    def ahead(self) -> str:
        """The right that was used for what lies ahead and can be taken back; empty for nothing."""
        if self.subscription.state != "active":
            return ""
        if self.subscription.ends_on is not None:
            return "cancel"
        if self.subscription.next_plan_version_id is not None:
            return "plan"
        ends = amending.withdraw(self.items, self.now).ends
        changed = [item for item in self.items if item.item_id in ends]
        if not changed:
            return ""
        begun = {item.charge.code for item in self.coming}
        return "quantity" if any(item.charge.code in begun for item in changed) else "addons"

    def possible(self) -> list[str]:
        """This function will list the verbs that make sense now; each is checked when it is done.

        A subscription that has not begun, or is paused, can only be ended or resumed.
        """
        ending = self.subscription.ends_on is not None
        if self.subscription.state != "active":
            paused = self.subscription.state == "paused"
            return [*(["resume"] if paused else []), *([] if ending else ["cancel"])]
        wanted = {
            "plan": not ending,
            "quantity": bool(self.bought),
            "add": bool(self.addable),
            "remove": bool(self.removable),
            "take-back": bool(self.ahead),
            "billing-day": not ending,
            "pause": not ending,
            "cancel": not ending,
        }
        return [code for code, makes_sense in wanted.items() if makes_sense]

    def charge_name(self, code: str) -> str:
        """This function will name a charge of the plan, or of what is in force."""
        for item in self.items:
            if item.charge.code == code:
                return name_of(item.charge)
        price = catalogue.price_of(self.version, code)
        return name_of(price) if price else code


def standing(*, tenant_id: UUID, now: datetime) -> Standing | None:
    """This function will read what a tenant is subscribed to; a trial is to nothing."""
    subscription = subscriptions.active(control_session=control(), tenant_id=tenant_id)
    if subscription is None:
        return None
    version = control().scalars(_VERSION, {"version": subscription.plan_version_id}).unique().one()
    found, prices = items.of_subscriptions(
        control_session=control(),
        subscription_ids=[subscription.id],
        known=items.offered_by(version),
    )
    return Standing(subscription, version, found[subscription.id], prices, now)


def customer_rights() -> frozenset[str]:
    """This function will return what customers may do by themselves, by the setting."""
    return frozenset(word.strip() for word in settings().customer_may.split(",") if word.strip())


def customer_may(code: str, standing: Standing) -> bool:
    """This function will tell whether customers may do a verb by themselves."""
    right = VERBS[code].may
    if right == "ahead":
        # Whoever may make a change may take it back.
        return standing.ahead in customer_rights() if standing.ahead else bool(customer_rights())
    return right in customer_rights()


def by_quantity(charge: Charge) -> bool:
    """This function will tell whether a number of a charge is bought: not metered, not flat."""
    return charge.meter is None and not charge.once and charge.pricing.model != "flat"


def name_of(named: Any) -> str:
    """This function will name a plan version, a price or a charge in the reader's language."""
    return str(named.name_ko if language() == "ko" else named.name_en)


def price_of(charge: Charge, currency: str) -> str:
    """This function will say what a charge costs, in the reader's language."""
    return price_words.charge(charge, currency, language()).price


def headline(version: PlanVersion) -> str:
    """This function will say what a plan costs at first sight, for a choice between plans."""
    charges = [catalogue.charge_of(price) for price in version.prices]
    return price_words.headline(charges, version.currency, language()).sentence


def rows(standing: Standing) -> list[dict[str, Any]]:
    """This function will list the charges in force and to come, as a table prints them."""
    return [
        *(_row(item, standing, begun=True) for item in standing.live),
        *(_row(item, standing, begun=False) for item in standing.coming),
    ]


def _row(item: Item, standing: Standing, *, begun: bool) -> dict[str, Any]:
    zone = standing.subscription.timezone
    return {
        "id": item.item_id,
        "code": item.charge.code,
        "name": name_of(item.charge),
        "price": price_of(item.charge, standing.subscription.currency),
        "quantity": quantity_words(item.charge, item.quantity),
        "from": periods.local_day(item.starts_at, zone),
        "until": periods.local_day(item.ends_at, zone) if item.ends_at else None,
        "begun": begun,
        "sold": begun and by_quantity(item.charge),
        "optional": begun and item.charge.optional and item.ends_at is None,
    }


def quantity_words(charge: Charge, quantity: Decimal) -> str:
    """This function will say how much of a charge is bought, or that usage decides."""
    if charge.meter is not None:
        return gettext("by usage")
    if not by_quantity(charge) and quantity == 1:
        return ""
    unit = charge.unit_ko if language() == "ko" else charge.unit_en
    return f"{number(quantity)} {unit}".strip()
