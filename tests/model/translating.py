"""Charges, coupons and bills of histories in the engine's own words, and back."""

from __future__ import annotations

from collections.abc import Iterable

from app.base.money import Rounding
from invoices import charges, discounts
from invoices.charges import Charge
from invoices.composing import Composed
from invoices.periods import Interval
from invoices.pricing import Pricing, Tier
from invoices.schedule import DueBill
from tests.model.bills import Bill, Line
from tests.model.histories import Coupon, Priced


def charge_of(priced: Priced) -> Charge:
    """This function will write a charge of a history as the engine's own."""
    charge = Charge(
        code=priced.code,
        name_ko=priced.code,
        name_en=priced.code,
        kind=priced.kind,
        timing=priced.timing,
        interval=Interval(*priced.every),
        meter=priced.meter,
        aggregation=priced.aggregation,
        group={"customer": priced.group} if priced.group else {},
        proration=priced.proration,
        rounding=Rounding(priced.rounding),
        optional=priced.optional,
        pricing=Pricing(
            model=priced.model,
            unit_amount=priced.unit,
            tiers=tuple(
                Tier(up_to=tier.up_to, unit_amount=tier.unit, flat_amount=tier.flat)
                for tier in priced.tiers
            ),
            package_size=priced.package_size,
            rate_percent=priced.percent,
            fixed_amount=priced.fixed,
            included=priced.included,
            minimum_amount=priced.minimum,
            maximum_amount=priced.maximum,
        ),
    )
    charges.check(charge)
    return charge


def coupon_of(coupon: Coupon, currency: str) -> discounts.Coupon:
    """This function will write a coupon of a history as the engine's own."""
    by_kind = {
        "percentage": {"percent": coupon.value},
        "amount": {"amount_minor": int(coupon.value), "currency": currency},
        "free_units": {"units": coupon.value},
    }
    return discounts.Coupon(
        code=coupon.code,
        name_ko=coupon.code,
        name_en=coupon.code,
        kind=coupon.kind,
        plans=coupon.plans,
        charges=coupon.charges,
        duration=coupon.duration,
        months=coupon.months,
        priority=coupon.priority,
        **by_kind.get(coupon.kind, {}),  # type: ignore[arg-type]
    )


def in_order(lines: Iterable[Line]) -> tuple[Line, ...]:
    """This function will leave lines where they are, but corrections by what they are."""
    listed = list(lines)
    places = [place for place, line in enumerate(listed) if line.kind == "adjustment"]
    late = sorted(
        (listed[place] for place in places),
        key=lambda line: (line.charge, line.days, line.amount),
    )
    for place, line in zip(places, late, strict=True):
        listed[place] = line
    return tuple(listed)


def bill_of(*, bill: DueBill, composed: Composed) -> Bill:
    """This function will put a composed bill as the model says it, with its tax."""
    return Bill(
        bill.bill_on,
        in_order(
            Line(line.kind, line.charge, line.amount_minor, (line.period.start, line.period.end))
            for line in composed.lines
        ),
        composed.tax_minor,
        composed.subtotal_minor + composed.tax_minor,
        composed.carried_minor,
    )
