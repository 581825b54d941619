"""Amending a subscription: what a change does to its items. Pure.

A change only ends items and begins others; what it costs follows from the schedule, for a preview
as for the bill. Changes that lie ahead and have not come yet are withdrawn by the next one: a
subscription has one future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from app.base import ids
from app.base.errors import Conflict, Invalid
from invoices import periods
from invoices.charges import Offered
from invoices.periods import Period
from invoices.schedule import Item, begins_period

# How long what is asked for once is in force: long enough to take a double click for one wish.
ONCE = timedelta(minutes=1)


class NothingChanges(Conflict):
    """The subscription is like that already."""


class QuantityUnsound(Invalid):
    """Nobody can buy so much of that charge."""


class NotBought(Invalid):
    """The charge is counted by a meter, or asked for once: no quantity of it is bought."""


@dataclass(frozen=True, slots=True)
class Amendment:
    """What a change does: items that end at another moment than they did, and items that begin.

    `ends` maps an item to its new end (None: it goes on after all).
    """

    ends: Mapping[UUID, datetime | None]
    begins: tuple[Item, ...]
    credit: Mapping[UUID, bool] = field(default_factory=dict)

    def applied_to(self, items: Sequence[Item]) -> list[Item]:
        """This function will return the items as they are after the change."""
        changed = [
            replace(
                item,
                ends_at=self.ends.get(item.item_id, item.ends_at),
                credit_on_end=self.credit.get(item.item_id, item.credit_on_end),
            )
            for item in items
        ]
        return [*changed, *self.begins]


def live(items: Sequence[Item], at: datetime) -> list[Item]:
    """This function will return the items that are in force at a moment."""
    return [
        item
        for item in items
        if item.starts_at <= at and (item.ends_at is None or item.ends_at > at)
    ]


def withdraw(items: Sequence[Item], at: datetime) -> Amendment:
    """This function will take back what lies ahead: later items never begin, present ones go on.

    Of what goes on, time that a later end cuts off is given back as ever: how it was to end before
    is forgotten with that end.
    """
    ends: dict[UUID, datetime | None] = {}
    for item in items:
        if item.charge.once:
            continue
        if item.starts_at > at and item.ends_at != item.starts_at:
            ends[item.item_id] = item.starts_at
        elif item.starts_at <= at and item.ends_at is not None and item.ends_at > at:
            ends[item.item_id] = None
    return Amendment(ends, (), {item_id: True for item_id, end in ends.items() if end is None})


def to_plan(
    *,
    items: Sequence[Item],
    prices: Sequence[Offered],
    at: datetime,
    anchor_on: date,
    timezone: str,
) -> Amendment:
    """This function will move a subscription to a plan's charges from a moment on.

    What was bought of a charge stays bought where the new plan has that charge too; add-ons the
    new plan does not offer end. A charge that is not prorated changes over with its own period.

    Raises: NothingChanges.
    """
    current = {item.charge.code: item for item in live(items, at) if not item.charge.once}
    wanted = [
        price
        for price in prices
        if not price.charge.once and (not price.charge.optional or price.charge.code in current)
    ]
    if {item.price_id for item in current.values()} == {price.price_id for price in wanted}:
        raise NothingChanges("The subscription is on that plan already.")
    ends: dict[UUID, datetime | None] = {}
    begins = []
    for item in current.values():
        if all(item.price_id != price.price_id for price in wanted):
            ends[item.item_id] = _moment(item, at, timezone)
    for price in wanted:
        old = current.get(price.charge.code)
        if old is not None and old.price_id == price.price_id:
            continue
        starts_at = at if old is None else ends[old.item_id] or at
        quantity = old.quantity if old is not None else Decimal(1)
        begun = _item(price, quantity, starts_at, anchor_on)
        begins.append(begun if old is None else _following(old, begun, timezone))
    return Amendment(ends, tuple(begins))


def _following(old: Item, begun: Item, timezone: str) -> Item:
    """What is never cut, and follows on what was not either, begins with a period of its own.

    It counts by the subscription's day where one begins then, or goes on by the old one's: a part
    of a period would cost a whole one.
    """
    if not old.charge.proration == begun.charge.proration == "none":
        return begun
    own = periods.local_day(begun.starts_at, timezone)
    counted = (replace(begun, anchor_on=day) for day in (begun.anchor_on, old.anchor_on, own))
    return next(each for each in counted if begins_period(each, each.starts_at, timezone))


def to_quantity(
    *, items: Sequence[Item], code: str, quantity: Decimal, at: datetime, timezone: str
) -> Amendment:
    """This function will buy more or less of a charge from a moment on.

    Raises: NotBought, QuantityUnsound, NothingChanges.
    """
    if quantity < 0 or quantity != quantity.to_integral_value():
        raise QuantityUnsound("Give a whole number, 0 or more.", field="quantity")
    item = next((each for each in live(items, at) if each.charge.code == code), None)
    if item is None or item.charge.meter is not None or item.charge.once:
        raise NotBought("No quantity of that charge is bought.", field="charge")
    if item.charge.pricing.model == "flat":
        raise NotBought("That charge costs the same whatever the quantity.", field="charge")
    if item.quantity == quantity:
        raise NothingChanges("That is the quantity already.", field="quantity")
    moment = _moment(item, at, timezone)
    ends: dict[UUID, datetime | None] = {}
    begins = []
    if item.ends_at is None or moment < item.ends_at:
        ends[item.item_id] = moment
        begins.append(replace(item, item_id=ids.uuid7(), quantity=quantity, starts_at=moment))
    for later in items:
        # What takes its place later takes the new quantity along.
        if later.charge.code == code and later.starts_at > at and later.ends_at is None:
            ends[later.item_id] = later.starts_at
            begins.append(replace(later, item_id=ids.uuid7(), quantity=quantity))
    if not begins:
        raise NothingChanges("That charge ends before the change would come.", field="quantity")
    return Amendment(ends, tuple(begins))


def add(
    *,
    items: Sequence[Item],
    price: Offered,
    quantity: Decimal,
    at: datetime,
    anchor_on: date,
    until: datetime | None = None,
) -> Amendment:
    """This function will add an optional charge from a moment on.

    Raises: NothingChanges, NotBought, QuantityUnsound.
    """
    if not (price.charge.optional or price.charge.kind == "one_off"):
        raise NotBought("That charge is part of the plan: it can't be added.", field="charge")
    if quantity <= 0 or quantity != quantity.to_integral_value():
        raise QuantityUnsound("Give a whole number, 1 or more.", field="quantity")
    if any(item.charge.code == price.charge.code for item in live(items, at)):
        raise NothingChanges("That was added already.", field="charge")
    if price.charge.once:
        until = at + ONCE
    added = replace(_item(price, quantity, at, anchor_on), ends_at=until)
    return Amendment({}, (added,))


def remove(*, items: Sequence[Item], code: str, at: datetime) -> Amendment:
    """This function will end an optional charge at a moment.

    Raises: NotBought.
    """
    item = next((each for each in live(items, at) if each.charge.code == code), None)
    if item is None or not item.charge.optional:
        raise NotBought("There is no such add-on.", field="charge")
    return Amendment({item.item_id: at}, ())


def end_all(*, items: Sequence[Item], at: datetime, credit: bool) -> Amendment:
    """This function will end everything at a moment, with or without giving back what is unused."""
    ending = [item for item in items if item.ends_at is None or item.ends_at > at]
    return Amendment(
        {item.item_id: max(item.starts_at, at) for item in ending},
        (),
        {item.item_id: credit for item in ending},
    )


def rest_all(*, items: Sequence[Item], at: datetime, timezone: str) -> Amendment:
    """This function will let everything that is in force rest from a moment on: a pause begins.

    What is never cut is in force until the period is over that it is paid for.
    """
    ends: dict[UUID, datetime | None] = {
        item.item_id: at if item.charge.once else _moment(item, at, timezone) for item in items
    }
    return Amendment(ends, (), dict.fromkeys(ends, True))


def begin_again(*, items: Sequence[Item], rested_at: datetime, at: datetime) -> Amendment:
    """This function will begin anew from a moment on what rests since another: a pause is over.

    What is never cut, and paid for beyond that moment, goes on instead: a period is paid for once.
    """
    ends: dict[UUID, datetime | None] = {}
    begins = []
    for item in items:
        if item.charge.once or not _rests(item, rested_at):
            continue
        if item.ends_at is not None and item.ends_at > at:
            ends[item.item_id] = None
        else:
            again = replace(item, item_id=ids.uuid7(), starts_at=at, ends_at=None)
            begins.append(replace(again, credit_on_end=True))
    return Amendment(ends, tuple(begins))


def _rests(item: Item, rested_at: datetime) -> bool:
    """Whether a pause ended an item: at once, or with its period where none is cut."""
    if item.ends_at is None or item.starts_at >= item.ends_at:
        return False
    kept = item.charge.proration == "none" and item.starts_at <= rested_at < item.ends_at
    return kept or item.ends_at == rested_at


def to_anchor(*, items: Sequence[Item], at: datetime, anchor_on: date) -> Amendment:
    """This function will count everybody's periods from another day, from a moment on.

    What is never cut keeps its own day: its period would be paid for again, in whole.

    Raises: NothingChanges.
    """
    current = [item for item in live(items, at) if not item.charge.once]
    moving = [item for item in current if item.charge.proration != "none"]
    if not moving:
        raise NothingChanges(
            "Nothing of this plan is prorated: it keeps its day.", field="billing_day"
        )
    if all(item.anchor_on == anchor_on for item in moving):
        raise NothingChanges("That is the billing day already.", field="billing_day")
    begins = tuple(
        replace(item, item_id=ids.uuid7(), starts_at=at, ends_at=None, anchor_on=anchor_on)
        for item in moving
    )
    return Amendment({item.item_id: at for item in moving}, begins)


def period_on(*, items: Sequence[Item], at: datetime, timezone: str) -> Period:
    """This function will return the running period of the charge that the plan is named for.

    That is the first in the price list that recurs and is not optional.
    """
    main = min(
        (item for item in live(items, at) if not item.charge.once and not item.charge.optional),
        key=lambda item: item.position,
    )
    return grid_period(main, at, timezone)


def grid_period(item: Item, at: datetime, timezone: str) -> Period:
    """This function will return the whole period of an item's grid that a moment lies in."""
    day = periods.local_day(at, timezone)
    number = periods.number_on(item.anchor_on, day, item.charge.interval)
    return periods.period(item.anchor_on, number, item.charge.interval)


def _moment(item: Item, at: datetime, timezone: str) -> datetime:
    """When a change of an item takes effect: at once, or with its period where none is cut."""
    if item.charge.proration != "none":
        return at
    begins, ends = periods.bounds(grid_period(item, at, timezone), timezone)
    return at if at == begins else ends


def _item(price: Offered, quantity: Decimal, starts_at: datetime, anchor_on: date) -> Item:
    return Item(
        item_id=ids.uuid7(),
        price_id=price.price_id,
        charge=price.charge,
        position=price.position,
        quantity=quantity,
        starts_at=starts_at,
        ends_at=None,
        anchor_on=anchor_on,
    )
