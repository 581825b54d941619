"""Drawing what a customer has with us: money, and coupons. The latter also over late usage."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random

from tests.model.histories import EVENTS, Coupon, Gift, History, Priced
from tests.model.using import corrected, stragglers


def gifts(money: Random, start: datetime, days: int, currency: str) -> tuple[Gift, ...]:
    found = []
    for _ in range(money.choice((0, 0, 1, 3))):
        at = start + timedelta(seconds=money.randrange(days * 43_200))
        expires_on = (at + timedelta(days=money.randrange(1, days))).date()
        found.append(
            Gift(
                at=at,
                amount=money.choice((100, 20_000, 500_000, 123_456_789)),
                priority=money.choice((0, 50, 100, 100)),
                expires_on=expires_on if money.random() < 0.6 else None,
            )
        )
    return tuple(sorted(found, key=lambda gift: gift.at))


def coupons(
    money: Random, start: datetime, days: int, plans: dict[str, tuple[Priced, ...]]
) -> tuple[Coupon, ...]:
    codes = sorted({charge.code for plan in plans.values() for charge in plan})
    found = []
    for number in range(money.choice((0, 0, 1, 2, 4))):
        kind = money.choice(("free_units", "months_free", "percentage", "percentage", "amount"))
        at = start + timedelta(seconds=money.randrange(days * 30_000))
        duration = money.choice(("once", "months", "forever"))
        if kind == "months_free":
            duration = "months"
        found.append(
            Coupon(
                code=f"coupon{number}",
                at=at,
                kind=kind,
                value=_value(money, kind),
                starts_on=at.date(),
                ends_on=at.date() + timedelta(days=days // 2) if money.random() < 0.3 else None,
                charges=tuple(money.sample(codes, 1)) if money.random() < 0.4 else (),
                plans=(money.choice("ab"),) if money.random() < 0.2 else (),
                duration=duration,
                months=money.randrange(1, 4) if duration == "months" else 0,
                priority=money.choice((1, 100, 100)),
            )
        )
    return tuple(sorted(found, key=lambda coupon: coupon.at))


def _value(money: Random, kind: str) -> Decimal:
    if kind == "percentage":
        return Decimal(money.choice(("10", "33.3333", "50", "100", "0.5")))
    if kind == "amount":
        return Decimal(money.choice((1, 777, 50_000)))
    return Decimal(money.choice(("1", "2.5", "20")))


def discounted(random: Random, history: History, days: int) -> History:
    """Coupons over most of what a customer uses, and events of it that come or change late."""
    codes = sorted(
        {charge.code for plan in history.plans.values() for charge in plan
         if charge.meter in EVENTS}
    )  # fmt: skip
    if not codes:
        return history
    found = list(history.coupons)
    for number in range(random.choice((1, 1, 2, 3))):
        kind = random.choice(("free_units", "months_free", "percentage", "percentage", "amount"))
        at = history.start + timedelta(seconds=random.randrange(days * 20_000))
        duration = random.choice(("once", "months", "forever", "forever"))
        if kind == "months_free":
            duration = "months"
        found.append(
            Coupon(
                code=f"late{number}",
                at=at,
                kind=kind,
                value=_value(random, kind),
                starts_on=at.date() - timedelta(days=random.choice((0, 0, 40))),
                ends_on=at.date() + timedelta(days=days) if random.random() < 0.2 else None,
                charges=(random.choice(codes),) if random.random() < 0.6 else (),
                duration=duration,
                months=random.randrange(1, 6) if duration == "months" else 0,
                priority=random.choice((1, 100, 100)),
            )
        )
    events = (*history.events, *stragglers(random, history.start, days))
    return replace(
        history,
        coupons=tuple(sorted(found, key=lambda coupon: coupon.at)),
        events=tuple(sorted(corrected(random, events), key=lambda event: event.at)),
    )
