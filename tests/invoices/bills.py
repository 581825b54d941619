"""Bills composed without a database: charges over one month, coupons and credits by plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from invoices import composing, rating, vat
from invoices.charges import Charge, Offered
from invoices.composing import Account, Composed
from invoices.discounts import Coupon, Redeemed
from invoices.periods import Period, bounds
from invoices.pricing import Pricing
from invoices.rating import Facts, Stretch, UsageTotal
from invoices.schedule import DueBill, Item, Span
from invoices.spending import Grant

MONTH = Period(date(2026, 3, 1), date(2026, 4, 1))
DAY = MONTH.start


def charge(code: str, pricing: Pricing | str, **fields: Any) -> Charge:
    """A charge of a pricing, or of a flat amount in major units."""
    if isinstance(pricing, str):
        pricing = Pricing(model="flat", unit_amount=Decimal(pricing))
    names = {"name_ko": code, "name_en": code}
    return Charge(code=code, pricing=pricing, **names | fields)


def usage(code: str, pricing: Pricing, **fields: Any) -> Charge:
    """A charge for what is used up by the piece, counted by a meter of its own name."""
    return charge(code, pricing, meter=code, timing="arrears", **fields)


def compose(
    charges: Sequence[Charge | tuple[Charge, str]],
    *,
    coupons: Sequence[Coupon] = (),
    credit: int = 0,
    currency: str = "USD",
    used: Mapping[str, str] | None = None,
    terms: vat.Terms = composing.NO_VAT,
) -> Composed:
    """One bill for a month of these charges, each alone or with the quantity that it met."""
    spans, prices, facts = [], {}, {}
    for place, each in enumerate(charges, start=1):
        one, quantity = each if isinstance(each, tuple) else (each, "1")
        span = _span(place, one, Decimal(quantity))
        spans.append(span)
        prices[span.item.price_id] = Offered(
            price_id=span.item.price_id,
            plan_code="plan",
            plan_version=1,
            position=place,
            charge=one,
        )
        facts[place] = _facts(span, Decimal(quantity))
    account = Account(
        currency=currency,
        terms=terms,
        prices=prices,
        facts=lambda span: facts[span.item.position],
        coupons=[
            Redeemed(redemption_id=UUID(int=number), coupon=each, starts_on=DAY)
            for number, each in enumerate(coupons, start=1)
        ],
        grants=[Grant(UUID(int=99), credit, "purchase", None)] if credit else [],
    )
    return composing.compose(bill=DueBill(DAY, MONTH, tuple(spans)), account=account)


def of_kind(composed: Composed, kind: str) -> list[int]:
    """The amounts of a kind of lines, in minor units."""
    return [line.amount_minor for line in composed.lines if line.kind == kind]


def _span(place: int, one: Charge, quantity: Decimal) -> Span:
    begins, ends = bounds(MONTH, "UTC")
    item = Item(
        item_id=UUID(int=place),
        price_id=UUID(int=place),
        charge=one,
        position=place,
        quantity=quantity,
        starts_at=begins,
        ends_at=None,
        anchor_on=DAY,
    )
    return Span(item, "charge", MONTH, begins, ends, Stretch.whole(MONTH), ends)


def _facts(span: Span, quantity: Decimal) -> Facts:
    if span.item.charge.meter is None:
        return rating.NO_FACTS
    return Facts(
        total=UsageTotal(
            meter=span.item.charge.meter,
            meter_version=1,
            start=span.start,
            end=span.end,
            quantity=quantity,
            transactions=0,
            sha256="0" * 64,
        )
    )
