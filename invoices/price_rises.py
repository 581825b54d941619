"""Whether a change costs more, and how far ahead anybody can agree to that. Pure.

Source: 전자상거래법 §13⑥ (in force 2025-02-14): consent within the 30 days before free turns into
paid, or a price rises.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from app.base.errors import Invalid
from invoices.charges import Charge
from invoices.plan_terms import PlanTerms

# The law's: consent given earlier does not count.
WITHIN_DAYS = 30


class TooFarAhead(Invalid):
    """What costs more would begin on a day for which nobody can agree yet."""


def check_day(*, begins_on: date, today: date) -> None:
    """This function will refuse a dearer change that begins more than 30 days from now.

    Raises: TooFarAhead (field `when`).
    """
    if begins_on > today + timedelta(days=WITHIN_DAYS):
        raise TooFarAhead(
            "What costs more can be agreed to within the 30 days before it begins. Choose at once,"
            " or come back nearer to the day.",
            field="when",
        )


def rises(old: PlanTerms, new: PlanTerms) -> bool:
    """This function will tell whether anybody could pay more under new terms than under old ones.

    In doubt it says so: only the same charges at the same or lower amounts are surely no dearer.
    """
    before = {each.code: each for each in old.charges}
    for each in new.charges:
        known = before.get(each.code)
        if known is None:
            if not each.optional:
                return True
        elif _dearer(known, each):
            return True
    return False


def _dearer(old: Charge, new: Charge) -> bool:
    if _shape(old) != _shape(new) or (old.optional and not new.optional):
        return True
    pairs: list[tuple[Decimal | None, Decimal | None]] = [
        (old.pricing.unit_amount, new.pricing.unit_amount),
        # What is included may only grow.
        (new.pricing.included, old.pricing.included),
    ]
    for mine, theirs in zip(old.pricing.tiers, new.pricing.tiers, strict=True):
        pairs += [
            (mine.unit_amount, theirs.unit_amount),
            (mine.flat_amount, theirs.flat_amount),
        ]
    return any((b or Decimal(0)) > (a or Decimal(0)) for a, b in pairs)


def _shape(each: Charge) -> tuple[object, ...]:
    """Everything of a charge but the amounts that `_dearer` compares."""
    pricing = each.pricing
    amounts = ("unit_amount", "included", "tiers")
    rest = tuple(
        (name, getattr(pricing, name)) for name in pricing.__slots__ if name not in amounts
    )
    tiers = tuple(tier.up_to for tier in pricing.tiers)
    return (
        each.kind,
        each.timing,
        each.interval,
        each.meter,
        each.aggregation,
        tuple(sorted(each.group.items())),
        each.proration,
        each.rounding,
        rest,
        tiers,
    )
