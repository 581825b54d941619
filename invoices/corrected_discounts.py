"""Corrected discounts: what coupons make of what is corrected after its bill. Pure.

A line that is corrected had coupons on its bill. They are asked again, in their order: what each
makes of the line as it is now, less what it made of it as it was billed, goes with the correction.
So nobody gets back what a coupon had paid, and what comes late costs what it would have cost in
time. The other lines of that bill keep their shares, as they do when a line is given back: what one
of them has of an amount, or of free units, is not there for another.

Source: docs/decisions/corrections-keep-their-coupons.md
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from invoices import discounts
from invoices.discounts import Line, Redeemed
from invoices.fingerprints import plain_decimal
from invoices.periods import months_after

# What the evidence of such a line calls itself.
RULE = "discount_corrected"
# What a line is for, whatever bill it stands on: an item, and from when on.
LineKey = tuple[UUID, datetime]


@dataclass(frozen=True, slots=True)
class Share:
    """What one coupon took off one line; `units` are the free ones that it did it by."""

    amount_minor: int = 0
    units: Decimal = Decimal(0)


@dataclass(slots=True)
class Discounted:
    """One bill as coupons left it: what each of them has taken off which line, by now.

    `places` are the lines' positions. `redeemed` are the coupons that the customer has or had, in
    any order; `began` says of months free on that bill when they began.
    """

    invoice: str
    bill_on: date
    made_at: datetime
    places: dict[LineKey, int] = field(default_factory=dict)
    shares: dict[UUID, dict[LineKey, Share]] = field(default_factory=dict)
    began: dict[UUID, date] = field(default_factory=dict)
    redeemed: Sequence[Redeemed] = ()

    def share(self, redemption_id: UUID, key: LineKey) -> Share:
        """This function will return what a coupon has taken off a line by now."""
        return self.shares.get(redemption_id, {}).get(key, Share())

    def elsewhere(self, redemption_id: UUID, key: LineKey) -> Share:
        """This function will add up what a coupon has taken off the other lines."""
        others = [
            share for place, share in self.shares.get(redemption_id, {}).items() if place != key
        ]
        return Share(
            sum(share.amount_minor for share in others),
            sum((share.units for share in others), Decimal(0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """A line of an earlier bill that is corrected; `line.amount_minor` is what it comes to now."""

    key: LineKey
    was_minor: int
    line: Line


def correct(
    *, corrected: Corrected, discounted: Discounted, currency: str
) -> dict[str, Any] | None:
    """This function will say what coupons make of a corrected line, and bring its bill up to date.

    What it returns is the evidence of the line that charges or gives back the difference. None
    where every coupon takes off what it took off before.
    """
    key, line = corrected.key, corrected.line
    was_left, left = corrected.was_minor, line.amount_minor
    told: list[dict[str, Any]] = []
    shares: dict[UUID, Share] = {}
    for each in sorted(discounted.redeemed, key=discounts.order):
        if each.coupon.currency not in (None, currency) or not _goes_with(each, line, discounted):
            continue
        was = discounted.share(each.redemption_id, key)
        share, terms = _anew(each, corrected, discounted, (was_left, left))
        told.append(
            {
                "rule": each.coupon.kind,
                "coupon": each.coupon.code,
                "redemption": str(each.redemption_id),
                **terms,
                "was": _told(was, was_left),
                "is": _told(share, left),
            }
        )
        shares[each.redemption_id] = share
        was_left, left = was_left - was.amount_minor, left - share.amount_minor
    changed = any(
        share.amount_minor != discounted.share(redemption_id, key).amount_minor
        for redemption_id, share in shares.items()
    )
    return _noted(corrected, discounted, shares, told) if changed else None


def was_good(redeemed: Redeemed, discounted: Discounted) -> bool:
    """This function will tell whether a coupon belongs to a bill that was made before.

    One that took something off it does. So does one that was there and had begun, or has no time
    that could begin, and only found nothing to be taken off; one that is good once waits for more.
    """
    if redeemed.redemption_id in discounted.shares:
        return True
    if redeemed.since is not None and redeemed.since > discounted.made_at:
        return False
    coupon, began = redeemed.coupon, redeemed.used_from
    if coupon.kind == "months_free":
        begun = began is not None  # when, is held against the line
    elif coupon.duration == "months":
        begun = began is not None and began <= discounted.bill_on
    else:
        begun = coupon.duration == "forever"
    return begun and redeemed.good_on(discounted.bill_on)


def _goes_with(redeemed: Redeemed, line: Line, discounted: Discounted) -> bool:
    if not discounts.covers(redeemed.coupon, line) or not was_good(redeemed, discounted):
        return False
    kind = redeemed.coupon.kind
    if kind == "months_free":
        first, until = _months(redeemed, discounted)
        begun = redeemed.starts_on <= line.starts_on and first <= line.starts_on < until
        return line.recurring and begun
    return kind != "free_units" or line.without is not None


def _months(redeemed: Redeemed, discounted: Discounted) -> tuple[date, date]:
    first = discounted.began.get(redeemed.redemption_id) or redeemed.used_from
    if first is None:
        raise ValueError("free months that have not begun belong to no bill")
    return first, months_after(first, redeemed.coupon.months)


def _anew(
    redeemed: Redeemed, corrected: Corrected, discounted: Discounted, bases: tuple[int, int]
) -> tuple[Share, dict[str, Any]]:
    """What a coupon makes of what the ones before it leave, `bases` then and now; and its terms."""
    coupon, key, line = redeemed.coupon, corrected.key, corrected.line
    was_base, base = bases
    elsewhere = discounted.elsewhere(redeemed.redemption_id, key)
    began: dict[str, Any] = {}
    if redeemed.used_from is not None and redeemed.redemption_id not in discounted.shares:
        began["began"] = redeemed.used_from.isoformat()
    if coupon.kind == "months_free":
        first, until = _months(redeemed, discounted)
        return Share(base), began | {"from": first.isoformat(), "until": until.isoformat()}
    if coupon.kind == "percentage":
        # What the share was dealt stays in it: only the difference is worked out.
        was_minor = discounted.share(redeemed.redemption_id, key).amount_minor
        then, now = (discounts.percent_of(coupon.percent, each) for each in (was_base, base))
        share = Share(min(base, max(0, was_minor + now - then)))
        return share, began | {"percent": plain_decimal(coupon.percent)}
    if coupon.kind == "amount":
        left_minor = max(0, coupon.amount_minor - elsewhere.amount_minor)
        return Share(min(base, left_minor)), began | {
            "off_minor": coupon.amount_minor,
            "left_minor": left_minor,
        }
    units = coupon.units if line.held else max(Decimal(0), coupon.units - elsewhere.units)
    terms = began | {"off_units": plain_decimal(coupon.units), "left_units": plain_decimal(units)}
    if line.without is None or not units:
        return Share(), terms
    priced = line.without(units)
    saved = discounts.saved(base, line.amount_minor, priced.amount_minor)
    terms |= {"without_minor": priced.amount_minor, "steps": priced.steps}
    return Share(saved, priced.taken if saved else Decimal(0)), terms


def _told(share: Share, base_minor: int) -> dict[str, Any]:
    told: dict[str, Any] = {"base_minor": base_minor, "amount_minor": share.amount_minor}
    return told | ({"units": plain_decimal(share.units)} if share.units else {})


def _noted(
    corrected: Corrected,
    discounted: Discounted,
    shares: dict[UUID, Share],
    told: list[dict[str, Any]],
) -> dict[str, Any]:
    key = corrected.key
    was_minor = sum(each["was"]["amount_minor"] for each in told)
    for redemption_id, share in shares.items():
        discounted.shares.setdefault(redemption_id, {})[key] = share
    for each in told:
        if "from" in each:
            discounted.began.setdefault(UUID(each["redemption"]), date.fromisoformat(each["from"]))
    item_id, start = key
    return {
        "rule": RULE,
        "line": corrected.line.position,
        "invoice": discounted.invoice,
        "invoice_line": discounted.places[key],
        "item": str(item_id),
        "from": start.astimezone(UTC).isoformat(),
        "was_minor": was_minor,
        "is_minor": sum(share.amount_minor for share in shares.values()),
        "coupons": told,
    }
