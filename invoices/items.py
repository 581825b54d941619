"""Items: the charges in force of many subscriptions, read in bulk as the schedule takes them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from sqlalchemy import ColumnElement, and_, bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from app.base import bulk
from invoices import billed_commitments, catalogue, vat_lines
from invoices.amending import ONCE
from invoices.charges import Offered
from invoices.commitments import Asked
from invoices.models import (
    BilledSpan,
    InvoiceLine,
    PlanVersion,
    Price,
    Subscription,
    SubscriptionItem,
)
from invoices.schedule import Billed, Item, begins_period

# Years of spans: their ends come apart, because a range each would take longer to read.
_BILLED = select(
    BilledSpan.item_id, BilledSpan.kind, func.lower(BilledSpan.span), func.upper(BilledSpan.span)
).where(
    BilledSpan.subscription_id.in_(bindparam("subscriptions", expanding=True)),
    BilledSpan.state != "void",
)
# An item's spans never overlap: they are one range from its beginning where nothing is missing.
_covered = func.range_agg(BilledSpan.span)
_BILLED_THROUGH = (
    select(BilledSpan.item_id, func.upper(_covered).label("until"))
    .join(SubscriptionItem, SubscriptionItem.id == BilledSpan.item_id)
    .where(
        BilledSpan.subscription_id.in_(bindparam("subscriptions", expanding=True)),
        BilledSpan.kind == "charge",
        BilledSpan.state != "void",
        SubscriptionItem.ends_at.is_(None),
    )
    .group_by(BilledSpan.item_id, SubscriptionItem.starts_at)
    .having(
        _covered
        == func.tstzmultirange(func.tstzrange(SubscriptionItem.starts_at, func.upper(_covered)))
    )
)
_BILLED_OF = _BILLED.where(BilledSpan.item_id.in_(bindparam("items", expanding=True)))
_OF_SUBSCRIPTIONS = (
    select(
        SubscriptionItem.id,
        SubscriptionItem.subscription_id,
        SubscriptionItem.price_id,
        SubscriptionItem.quantity,
        SubscriptionItem.starts_at,
        SubscriptionItem.ends_at,
        SubscriptionItem.anchor_on,
        SubscriptionItem.credit_on_end,
    )
    .where(SubscriptionItem.subscription_id.in_(bindparam("subscriptions", expanding=True)))
    .order_by(SubscriptionItem.starts_at, SubscriptionItem.id)
)
_OFFERED = (
    select(Price, PlanVersion.plan_code, PlanVersion.version)
    .join(PlanVersion, PlanVersion.id == Price.plan_version_id)
    .where(Price.id.in_(bindparam("prices", expanding=True)))
)


def offered(*, control_session: Session, price_ids: Collection[UUID]) -> dict[UUID, Offered]:
    """This function will read prices with their plans; a few serve any number of subscribers."""
    rows = control_session.execute(_OFFERED, {"prices": list(price_ids)})
    return {price.id: _offer(price, plan_code, version) for price, plan_code, version in rows}


def offered_by(version: PlanVersion) -> dict[UUID, Offered]:
    """This function will return the prices of a version, which is at hand with them already."""
    return {price.id: _offer(price, version.plan_code, version.version) for price in version.prices}


def _offer(price: Price, plan_code: str, version: int) -> Offered:
    return Offered(
        price_id=price.id,
        plan_code=plan_code,
        plan_version=version,
        position=price.position,
        charge=catalogue.charge_of(price),
    )


def begin(
    *,
    control_session: Session,
    subscription: Subscription,
    version: PlanVersion,
    starts_at: datetime,
    now: datetime,
    quantities: Mapping[str, Decimal] = MappingProxyType({}),
) -> list[SubscriptionItem]:
    """This function will put a plan's charges in force, its set-up fees among them.

    `quantities` says how much of a charge is bought, 1 where it says nothing. Optional charges
    begin when somebody adds them.
    """
    rows = [
        SubscriptionItem(
            subscription_id=subscription.id,
            price_id=price.id,
            charge=price.charge,
            quantity=quantities.get(price.charge, Decimal(1)),
            starts_at=starts_at,
            ends_at=starts_at + ONCE if price.kind == "setup" else None,
            anchor_on=subscription.anchor_on,
            created_at=now,
        )
        for price in version.prices
        if not price.optional and price.kind != "one_off"
    ]
    control_session.add_all(rows)
    control_session.flush()
    return rows


def end(*, control_session: Session, subscription_id: UUID, at: datetime) -> None:
    """This function will end every item of a subscription that is in force beyond a moment.

    An item that would begin only later never does.
    """
    beyond = or_(SubscriptionItem.ends_at.is_(None), SubscriptionItem.ends_at > at)
    control_session.execute(
        update(SubscriptionItem)
        .where(SubscriptionItem.subscription_id == subscription_id, beyond)
        .values(ends_at=func.greatest(SubscriptionItem.starts_at, at))
        .execution_options(synchronize_session=False)
    )


def of_subscriptions(
    *,
    control_session: Session,
    subscription_ids: Collection[UUID],
    known: Mapping[UUID, Offered] = MappingProxyType({}),
) -> tuple[dict[UUID, list[Item]], dict[UUID, Offered]]:
    """This function will return each subscription's items, past and to come, and their prices.

    Prices that are `known` are not read again.
    """
    rows = control_session.execute(
        _OF_SUBSCRIPTIONS, {"subscriptions": list(subscription_ids)}
    ).all()
    asked = {row.price_id for row in rows}
    prices = {price_id: known[price_id] for price_id in asked & known.keys()}
    if unknown := asked - known.keys():
        prices |= offered(control_session=control_session, price_ids=unknown)
    found: dict[UUID, list[Item]] = defaultdict(list)
    for row in rows:
        price = prices[row.price_id]
        found[row.subscription_id].append(
            Item(
                item_id=row.id,
                price_id=row.price_id,
                charge=price.charge,
                position=price.position,
                quantity=row.quantity,
                starts_at=row.starts_at,
                ends_at=row.ends_at,
                anchor_on=row.anchor_on,
                credit_on_end=row.credit_on_end,
            )
        )
    return found, prices


def billed(*, control_session: Session, subscription_ids: Collection[UUID]) -> Billed:
    """This function will return what was billed of these subscriptions' items and not voided."""
    rows = control_session.execute(_BILLED, {"subscriptions": list(subscription_ids)})
    return taken(rows)


def ahead(
    *, control_session: Session, subscription: Subscription, items: Sequence[Item]
) -> tuple[list[Item], Billed]:
    """This function will cut off what was billed without a gap, whole periods of it, from items.

    What is left has the same bills to come as the whole. So years of spans need not be read: only
    those of items that end, or were not billed throughout.
    """
    told = {"subscriptions": [subscription.id]}
    through: dict[UUID, datetime] = dict(control_session.execute(_BILLED_THROUGH, told).all())
    found, behind = [], []
    for item in items:
        until = through.get(item.item_id)
        if until is not None and begins_period(item, until, subscription.timezone):
            found.append(replace(item, starts_at=until))
        else:
            found.append(item)
            behind.append(item.item_id)
    spans = control_session.execute(_BILLED_OF, told | {"items": behind}) if behind else ()
    return found, taken(spans)


def charged(item_ids: Collection[UUID]) -> ColumnElement[bool]:
    """This function will return the condition that a billed span charges for one of some items.

    By their subscriptions, as spans are indexed: by their items all there are would be read.
    """
    theirs = select(SubscriptionItem.subscription_id)
    return and_(
        BilledSpan.subscription_id.in_(theirs.where(bulk.among(SubscriptionItem.id, item_ids))),
        bulk.among(BilledSpan.item_id, item_ids),
        BilledSpan.kind == "charge",
    )


def billed_amounts(
    *, control_session: Session, subscription_ids: Collection[UUID]
) -> dict[UUID, list[Asked]]:
    """This function will return what each billed span of these subscriptions came to.

    What late usage changed about one since stands beside it.
    """
    found: dict[UUID, list[Asked]] = defaultdict(list)
    if not subscription_ids:
        return found
    rows = control_session.execute(
        select(
            BilledSpan.subscription_id,
            BilledSpan.item_id,
            BilledSpan.span,
            vat_lines.priced_minor().label("amount_minor"),
        )
        .join(InvoiceLine, InvoiceLine.id == BilledSpan.line_id)
        .where(
            bulk.among(BilledSpan.subscription_id, subscription_ids),
            BilledSpan.state != "void",
            InvoiceLine.kind != "commitment",
        )
    )
    for row in rows:
        found[row.subscription_id].append(
            Asked(row.item_id, row.span.lower, row.span.upper, row.amount_minor)
        )
    for subscription_id, asked in billed_commitments.changes(
        control_session=control_session, subscription_ids=subscription_ids
    ):
        found[subscription_id].append(asked)
    return found


def taken(spans: Iterable[tuple[UUID, str, datetime, datetime]]) -> Billed:
    """This function will sort billed spans by their items, as the schedule looks them up."""
    found: dict[UUID, dict[tuple[str, datetime], datetime]] = defaultdict(dict)
    for item_id, kind, start, end in spans:
        found[item_id][kind, start] = end
    return found
