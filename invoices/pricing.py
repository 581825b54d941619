"""Pricing: from a quantity to an exact amount, by one of seven models. Pure.

Nothing here rounds an amount: the currency and its minor unit come later. Every step is a
quantity times a unit amount, so that a person with a calculator gets our figure from the steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, localcontext
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from app.base.errors import Invalid
from invoices.fingerprints import plain_decimal

MODELS: Final = ("flat", "per_unit", "graduated", "volume", "package", "stairstep", "percentage")
TIERED: Final = ("graduated", "volume", "stairstep")
TIERS_MAX: Final = 100
# What a NUMERIC(38, 12) holds; a quantity times an amount of this size needs 76 digits.
DECIMALS_MAX: Final = 12
_WHOLE_DIGITS_MAX: Final = 26
# Eighty digits hold every product; a result that would not fit raises instead of being rounded.
_EXACT: Final = Context(prec=80, traps=[Inexact, InvalidOperation, DivisionByZero])
_ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


class PricingUnsound(Invalid):
    """A price that cannot be charged; `field` names the parameter, `tiers.0.up_to` the first's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """Quantities above the tier before, up to and including `up_to`; None means all the rest."""

    up_to: Decimal | None
    unit_amount: Decimal = _ZERO
    flat_amount: Decimal = _ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    """How a charge is priced; amounts in major units (won, dollars), `check` says what is sound.

    `unit_amount` is the whole amount when flat, each unit's when per_unit, each package's when
    package; the other models do not use it. `included` units are free before the model sees the
    rest, so that tiers and packages start after them. `minimum_amount` and `maximum_amount` bound
    what the charge comes to in its period.
    """

    model: str
    unit_amount: Decimal = _ZERO
    tiers: tuple[Tier, ...] = ()
    package_size: Decimal | None = None
    rate_percent: Decimal | None = None
    fixed_amount: Decimal = _ZERO  # percentage: for each transaction
    included: Decimal = _ZERO
    minimum_amount: Decimal | None = None
    maximum_amount: Decimal | None = None


# The parameters that are one number each and have no column of their own.
_TEXTS: Final = (
    "package_size",
    "rate_percent",
    "fixed_amount",
    "minimum_amount",
    "maximum_amount",
)
# Which models use what not every model does.
_USED_BY: Final = {
    "unit_amount": ("flat", "per_unit", "package"),
    "tiers": TIERED,
    "package_size": ("package",),
    "rate_percent": ("percentage",),
    "fixed_amount": ("percentage",),
    "included": tuple(model for model in MODELS if model != "flat"),
}
_UNSET: Final = Pricing(model="")


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the sum: `quantity` × `unit_amount` = `amount`.

    `rule` is included, flat, per_unit, tier:N, tier_flat:N, package, percentage, transactions,
    minimum or maximum; N counts tiers from 1.
    """

    rule: str
    quantity: Decimal
    unit_amount: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Priced:
    """An exact amount in major units, which is the sum of its steps' amounts.

    `billed_quantity` is what the unit price was multiplied with: 1 when flat, whole packages when
    package, otherwise the units beyond those included.
    """

    amount: Decimal
    billed_quantity: Decimal
    steps: tuple[Step, ...]


def price(
    *,
    pricing: Pricing,
    quantity: Decimal,
    transactions: int = 0,
    share: Fraction | int = 1,
) -> Priced:
    """This function will price a quantity and say how, for a pricing that `check` let through.

    `share` is the part of its period that a charge was in force; it scales `included` and nothing
    else. A quantity below zero (corrections outweigh use) costs what nothing costs. Flat parts of
    tiers belong to use: nothing used owes none of them, a `minimum_amount` all the same.
    """
    with localcontext(_EXACT):
        used = max(_ZERO, quantity)
        free = min(used, _allowance(pricing.included, share))
        steps = _STEPS[pricing.model](pricing, used - free, transactions)
        billed_quantity = _ONE if pricing.model == "flat" else used - free
        if pricing.model == "package":
            billed_quantity = steps[0].quantity
        if pricing.included:
            steps.insert(0, _step("included", free, _ZERO))
        steps += _bounds(pricing, sum((step.amount for step in steps), _ZERO))
        amount = sum((step.amount for step in steps), _ZERO)
    return Priced(amount, billed_quantity, tuple(steps))


def _allowance(included: Decimal, share: Fraction | int) -> Decimal:
    """This function will take the share of a whole period's free units.

    Thirds have no decimal: the twelfth one is rounded up, in the customer's favour.
    """
    if share == 1:
        return included
    return Decimal(math.ceil(Fraction(included) * share * 10**DECIMALS_MAX)).scaleb(-DECIMALS_MAX)


def _step(rule: str, quantity: Decimal, unit_amount: Decimal) -> Step:
    return Step(rule, quantity, unit_amount, quantity * unit_amount)


def _flat(pricing: Pricing, _quantity: Decimal, _transactions: int) -> list[Step]:
    return [_step("flat", _ONE, pricing.unit_amount)]


def _per_unit(pricing: Pricing, quantity: Decimal, _transactions: int) -> list[Step]:
    return [_step("per_unit", quantity, pricing.unit_amount)]


def _graduated(pricing: Pricing, quantity: Decimal, _transactions: int) -> list[Step]:
    steps: list[Step] = []
    reached = _ZERO
    for number, tier in enumerate(pricing.tiers, start=1):
        top = quantity if tier.up_to is None else min(quantity, tier.up_to)
        steps += _tier_steps(number, tier, top - reached)
        if top == quantity:
            break
        reached = top
    return steps


def _volume(pricing: Pricing, quantity: Decimal, _transactions: int) -> list[Step]:
    """This function will charge everything at the one tier that the quantity falls in.

    Stairsteps are the same with flat parts only.
    """
    for number, tier in enumerate(pricing.tiers, start=1):
        if tier.up_to is None or quantity <= tier.up_to:
            return _tier_steps(number, tier, quantity)
    raise AssertionError("the last tier is open")


def _tier_steps(number: int, tier: Tier, quantity: Decimal) -> list[Step]:
    steps = []
    if tier.unit_amount or not tier.flat_amount:
        steps.append(_step(f"tier:{number}", quantity, tier.unit_amount))
    if tier.flat_amount:
        reached = _ONE if quantity else _ZERO
        steps.append(_step(f"tier_flat:{number}", reached, tier.flat_amount))
    return steps


def _package(pricing: Pricing, quantity: Decimal, _transactions: int) -> list[Step]:
    """This function will charge whole packages: one that was begun costs as much as a full one."""
    assert pricing.package_size is not None
    full, begun = divmod(quantity, pricing.package_size)
    return [_step("package", full + 1 if begun else full, pricing.unit_amount)]


def _percentage(pricing: Pricing, quantity: Decimal, transactions: int) -> list[Step]:
    """This function will charge a rate on a turnover and a fixed part for each transaction."""
    assert pricing.rate_percent is not None
    steps = [_step("percentage", quantity, pricing.rate_percent.scaleb(-2))]
    if pricing.fixed_amount:
        steps.append(_step("transactions", Decimal(transactions), pricing.fixed_amount))
    return steps


_STEPS: Final[dict[str, Callable[[Pricing, Decimal, int], list[Step]]]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "graduated": _graduated,
    "volume": _volume,
    "package": _package,
    "stairstep": _volume,
    "percentage": _percentage,
}


def _bounds(pricing: Pricing, amount: Decimal) -> list[Step]:
    """This function will add what lifts an amount to its minimum or takes it to its maximum."""
    if pricing.minimum_amount is not None and amount < pricing.minimum_amount:
        return [_step("minimum", _ONE, pricing.minimum_amount - amount)]
    if pricing.maximum_amount is not None and amount > pricing.maximum_amount:
        return [_step("maximum", _ONE, pricing.maximum_amount - amount)]
    return []


def check(pricing: Pricing) -> None:
    """This function will refuse a pricing that cannot be charged, or that says what it ignores.

    Raises: PricingUnsound with `field` and what to do, at the first fault found.
    """
    if pricing.model not in MODELS:
        raise PricingUnsound(f"Choose a model from {', '.join(MODELS)}.", field="model")
    if len(pricing.tiers) > TIERS_MAX:
        raise PricingUnsound(f"Use {TIERS_MAX} tiers at most.", field="tiers")
    for field, number in _numbers(pricing):
        _check_number(field, number)
    _check_used(pricing)
    if pricing.model in TIERED:
        _check_tiers(pricing)
    low, high = pricing.minimum_amount, pricing.maximum_amount
    if low is not None and high is not None and low > high:
        raise PricingUnsound(
            f"The maximum ({plain_decimal(high)}) lies below the minimum ({plain_decimal(low)}): "
            "raise it or leave one out.",
            field="maximum_amount",
        )


def _numbers(pricing: Pricing) -> Iterator[tuple[str, Decimal]]:
    for place, tier in enumerate(pricing.tiers):
        for name in ("up_to", "unit_amount", "flat_amount"):
            if (number := getattr(tier, name)) is not None:
                yield f"tiers.{place}.{name}", number
    for name in ("unit_amount", "included", *_TEXTS):
        if (number := getattr(pricing, name)) is not None:
            yield name, number


def _check_number(field: str, number: Decimal) -> None:
    if not number.is_finite():
        raise PricingUnsound(f"{number} is not a number that can be charged.", field=field)
    exponent = number.as_tuple().exponent
    assert isinstance(exponent, int)
    if exponent < -DECIMALS_MAX or number.adjusted() >= _WHOLE_DIGITS_MAX:
        raise PricingUnsound(
            f"Use at most {_WHOLE_DIGITS_MAX} digits before the point "
            f"and {DECIMALS_MAX} after it, and no larger exponent.",
            field=field,
        )
    if number < 0:
        raise PricingUnsound(
            f"{plain_decimal(number)} is below zero; to give money back, use a coupon or a credit.",
            field=field,
        )


def _check_used(pricing: Pricing) -> None:
    """This function will ask for what the model needs and refuse what it would ignore."""
    needed = {"package": "package_size", "percentage": "rate_percent"}.get(pricing.model)
    if needed and getattr(pricing, needed) is None:
        raise PricingUnsound(f"A {pricing.model} price needs a {needed}.", field=needed)
    for field, models in _USED_BY.items():
        if pricing.model not in models and getattr(pricing, field) != getattr(_UNSET, field):
            raise PricingUnsound(
                f"A {pricing.model} price has no use for {field}: leave it out.", field=field
            )
    if pricing.package_size == 0:
        raise PricingUnsound("A package holds more than nothing.", field="package_size")


def _check_tiers(pricing: Pricing) -> None:
    if not pricing.tiers:
        raise PricingUnsound(f"A {pricing.model} price needs at least one tier.", field="tiers")
    *bounded, last = pricing.tiers
    for place, tier in enumerate(bounded):
        if tier.up_to is None:
            raise PricingUnsound(
                f"Only the last tier is open: say where tier {place + 1} ends.",
                field=f"tiers.{place}.up_to",
            )
    if last.up_to is not None:
        raise PricingUnsound(
            f"The last tier must be open, or more than {plain_decimal(last.up_to)} has no price.",
            field=f"tiers.{len(bounded)}.up_to",
        )
    bounds = [_ZERO, *(tier.up_to for tier in bounded if tier.up_to is not None)]
    for place, (before, up_to) in enumerate(pairwise(bounds)):
        if up_to <= before:
            raise PricingUnsound(
                f"Tier {place + 1} must end above {plain_decimal(before)}: tiers rise.",
                field=f"tiers.{place}.up_to",
            )
    for place, tier in enumerate(pricing.tiers):
        if pricing.model == "stairstep" and tier.unit_amount:
            raise PricingUnsound(
                "A stair costs a flat_amount: use volume or graduated for a price of each unit.",
                field=f"tiers.{place}.unit_amount",
            )


def parameters(pricing: Pricing) -> dict[str, Any]:
    """This function will write as JSON what has no column of its own: exact texts, no numbers."""
    written: dict[str, Any] = {
        name: plain_decimal(number)
        for name in _TEXTS
        if (number := getattr(pricing, name)) != getattr(_UNSET, name)
    }
    if pricing.tiers:
        written["tiers"] = [
            {
                "up_to": None if tier.up_to is None else plain_decimal(tier.up_to),
                "unit_amount": plain_decimal(tier.unit_amount),
                "flat_amount": plain_decimal(tier.flat_amount),
            }
            for tier in pricing.tiers
        ]
    return written


def from_parameters(
    *, model: str, unit_amount: Decimal, included: Decimal, parameters: Mapping[str, Any]
) -> Pricing:
    """This function will read a pricing from its columns; `check` says whether it is sound.

    Raises: PricingUnsound for a parameter that is unknown or is not the text of a number.
    """
    _known("", parameters, {*_TEXTS, "tiers"})
    tiers = parameters.get("tiers", [])
    if not isinstance(tiers, list):
        raise PricingUnsound("Write the tiers as a list.", field="tiers")
    return Pricing(
        model=model,
        unit_amount=unit_amount,
        included=included,
        tiers=tuple(_tier(f"tiers.{place}", tier) for place, tier in enumerate(tiers)),
        **{
            name: _number(name, parameters[name])
            for name in _TEXTS
            if parameters.get(name) is not None
        },
    )


def _tier(field: str, tier: object) -> Tier:
    if not isinstance(tier, Mapping):
        raise PricingUnsound("Write a tier as up_to, unit_amount and flat_amount.", field=field)
    _known(f"{field}.", tier, {"up_to", "unit_amount", "flat_amount"})
    up_to = tier.get("up_to")
    return Tier(
        up_to=None if up_to is None else _number(f"{field}.up_to", up_to),
        unit_amount=_number(f"{field}.unit_amount", tier.get("unit_amount", "0")),
        flat_amount=_number(f"{field}.flat_amount", tier.get("flat_amount", "0")),
    )


def _known(prefix: str, given: Mapping[str, Any], names: set[str]) -> None:
    for name in given:
        if name not in names:
            raise PricingUnsound(
                f"There is no {name}; there are {', '.join(sorted(names))}.",
                field=f"{prefix}{name}",
            )


def _number(field: str, text: object) -> Decimal:
    """This function will read the text of a number; a float has lost its digits already."""
    if isinstance(text, str):
        try:
            return Decimal(text)
        except InvalidOperation:
            pass
    raise PricingUnsound(f"{text!r} is not a number written as text, such as '0.25'.", field=field)
