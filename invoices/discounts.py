"""Discounts: what coupons take off a bill, each line's share of it, and how. Pure.

Coupons take effect one after the other, by priority; at the same priority free units come first,
then free months, percentages and amounts, and the longest redeemed before the rest. Each sees what
the ones before it left of the lines in its scope, and no line falls below zero.

A percentage is rounded once, half a unit up, on the sum of its lines; percentages and amounts are
then dealt out by largest remainder, so a discount is always the sum of its lines' shares.

A coupon's time is counted by the days of bills, never by the day a run gets to them: `once` is the
first bill that it takes something off, `months` are counted from that bill's day, and months free
from the first period that is free.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal, localcontext
from typing import Any
from uuid import UUID

from app.base.money import Rounding, round_minor
from invoices.fingerprints import plain_decimal
from invoices.periods import months_after

# In the order in which they take effect at one priority.
KINDS = ("free_units", "months_free", "percentage", "amount")
DURATIONS = ("once", "months", "forever")
ROUNDING = Rounding.HALF_UP
_PRECISION = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """What a coupon takes off: one of `percent`, `amount_minor`, `units` and `months` by kind.

    `plans` and `charges` narrow it by code; empty means all of them, the top-up to a commitment
    among them. `months` is how long a coupon of months lasts, or how many are free.
    """

    code: str
    name_ko: str
    name_en: str
    kind: str
    percent: Decimal = Decimal(0)
    amount_minor: int = 0
    currency: str | None = None
    units: Decimal = Decimal(0)
    plans: tuple[str, ...] = ()
    charges: tuple[str, ...] = ()
    duration: str = "once"
    months: int = 0
    priority: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """A coupon that a tenant has, good for bills of `[starts_on, ends_on)`.

    `used_from` is where its months began: the day of the first bill that it took something off,
    of months free the first day that was free. None before its first use. `since` is when it was
    redeemed: no bill that was made before had it.
    """

    redemption_id: UUID
    coupon: Coupon
    starts_on: date
    ends_on: date | None = None
    used_from: date | None = None
    since: datetime | None = None

    def lasts_until(self) -> date | None:
        """This function will return the day its months are over, if they began and do end."""
        if self.used_from is None or not self.coupon.months:
            return None
        return months_after(self.used_from, self.coupon.months)

    def good_on(self, bill_on: date) -> bool:
        """This function will tell whether a bill of that day may still be discounted."""
        if bill_on < self.starts_on or (self.ends_on is not None and bill_on >= self.ends_on):
            return False
        if self.coupon.kind == "months_free":
            return True  # usage of a free month is billed after it
        if self.coupon.duration == "once":
            return self.used_from is None
        until = self.lasts_until()
        return until is None or bill_on < until


@dataclass(frozen=True, slots=True)
class Repriced:
    """What a line would cost with fewer units: its amount, and how many units were taken off."""

    amount_minor: int
    taken: Decimal
    steps: list[list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line that may be discounted; `without` prices it again with so many units fewer.

    `held` is a quantity held over time: each stretch of it has the free units for its own days.
    What is used up by the piece has them once.
    """

    position: int
    plan: str
    charge: str
    amount_minor: int
    starts_on: date
    recurring: bool = True
    held: bool = True
    without: Callable[[Decimal], Repriced] | None = None


@dataclass(frozen=True, slots=True)
class Discount:
    """What one coupon takes off one bill; `evidence` is JSON from which `recompute` gets it."""

    redeemed: Redeemed
    amount_minor: int
    used_from: date
    evidence: dict[str, Any]


@dataclass(slots=True)
class _Left:
    """What is left of each line by position, as coupon after coupon takes from it."""

    minor: dict[int, int] = field(default_factory=dict)


_Shares = list[dict[str, Any]]


def discount(
    *, redeemed: Sequence[Redeemed], lines: Sequence[Line], bill_on: date, currency: str
) -> list[Discount]:
    """This function will take coupons off the lines of a bill, in the order they take effect.

    A coupon that takes nothing off is not used by this bill and left out.
    """
    left = _Left({line.position: max(0, line.amount_minor) for line in lines})
    found: list[Discount] = []
    for each in sorted(redeemed, key=order):
        if not each.good_on(bill_on) or each.coupon.currency not in (None, currency):
            continue
        scope = [line for line in lines if covers(each.coupon, line) and left.minor[line.position]]
        taken = _TAKE[each.coupon.kind](each, scope, left, bill_on)
        if taken is not None:
            found.append(taken)
            for share in taken.evidence["lines"]:
                left.minor[share["line"]] -= share["amount_minor"]
    return found


def deal_out(amount_minor: int, bases: Sequence[int]) -> list[int]:
    """This function will split an amount by bases: rounded down, then a unit each to the largest
    remainders, of equal ones to the first. The shares add up to the amount.
    """
    whole = sum(bases)
    if not whole:
        return [0] * len(bases)
    shares = [amount_minor * base // whole for base in bases]
    rest = amount_minor - sum(shares)
    by_remainder = sorted(
        range(len(bases)), key=lambda place: -(amount_minor * bases[place] % whole)
    )
    for place in by_remainder[:rest]:
        shares[place] += 1
    return shares


def taken_back(*, charged_minor: int, discount_minor: int, credited_minor: int) -> int:
    """This function will return how much of a discount goes with what is given back of its line.

    Nobody gets back more than was paid: all of it for the whole line, a part in proportion, its
    fraction of a unit left to the customer.
    """
    return discount_minor * credited_minor // charged_minor


def recompute(evidence: Mapping[str, Any]) -> int:
    """This function will work a discount line's amount out again from its evidence alone.

    What it returns is the line's `amount_minor`: below zero, above it for what is taken back.

    Raises: ValueError when the shares are not what the terms and bases give.
    """
    if evidence["rule"] == "discount_returned":
        return taken_back(
            charged_minor=evidence["charged_minor"],
            discount_minor=evidence["discount_minor"],
            credited_minor=evidence["credited_minor"],
        )
    bases: list[int] = [share["base_minor"] for share in evidence["lines"]]
    given = [share["amount_minor"] for share in evidence["lines"]]
    if evidence["rule"] == "months_free":
        shares = bases
    elif evidence["rule"] == "free_units":
        shares = [
            saved(share["base_minor"], share["full_minor"], share["without_minor"])
            for share in evidence["lines"]
        ]
    elif evidence["rule"] == "percentage":
        shares = deal_out(percent_of(Decimal(evidence["percent"]), sum(bases)), bases)
    else:
        shares = deal_out(min(evidence["off_minor"], sum(bases)), bases)
    if shares != given:
        raise ValueError(f"the shares should be {shares}, but are {given}")
    return -sum(shares)


def order(redeemed: Redeemed) -> tuple[int, int, date, UUID]:
    """This function will return what coupons are sorted by to take effect in their order."""
    coupon = redeemed.coupon
    return coupon.priority, KINDS.index(coupon.kind), redeemed.starts_on, redeemed.redemption_id


def covers(coupon: Coupon, line: Line) -> bool:
    """This function will tell whether a line is among those that a coupon is for."""
    return (not coupon.plans or line.plan in coupon.plans) and (
        not coupon.charges or line.charge in coupon.charges
    )


def _by_percentage(
    redeemed: Redeemed, scope: Sequence[Line], left: _Left, bill_on: date
) -> Discount | None:
    based = [(line, left.minor[line.position]) for line in scope]
    percent = redeemed.coupon.percent
    amount_minor = percent_of(percent, sum(base for _, base in based))
    terms = {"percent": plain_decimal(percent), "rounding": ROUNDING.value}
    return _dealt(redeemed, based, amount_minor, bill_on, terms)


def percent_of(percent: Decimal, base_minor: int) -> int:
    """This function will return a percentage of an amount, rounded."""
    with localcontext(prec=_PRECISION):
        return round_minor(base_minor * percent / 100, ROUNDING)


def _by_amount(
    redeemed: Redeemed, scope: Sequence[Line], left: _Left, bill_on: date
) -> Discount | None:
    based = [(line, left.minor[line.position]) for line in scope]
    off_minor = redeemed.coupon.amount_minor
    amount_minor = min(off_minor, sum(base for _, base in based))
    return _dealt(redeemed, based, amount_minor, bill_on, {"off_minor": off_minor})


def _dealt(
    redeemed: Redeemed,
    based: Sequence[tuple[Line, int]],
    amount_minor: int,
    bill_on: date,
    terms: dict[str, Any],
) -> Discount | None:
    if not amount_minor:
        return None
    dealt = deal_out(amount_minor, [base for _, base in based])
    shares: _Shares = [
        _share(line, base, share) for (line, base), share in zip(based, dealt, strict=True)
    ]
    return _taken(redeemed, shares, bill_on, terms)


def _by_months(
    redeemed: Redeemed, scope: Sequence[Line], left: _Left, _bill_on: date
) -> Discount | None:
    """Free are the recurring charges whose periods begin within the months."""
    begun = [line for line in scope if line.recurring and line.starts_on >= redeemed.starts_on]
    if not begun:
        return None
    first = redeemed.used_from or min(line.starts_on for line in begun)
    until = months_after(first, redeemed.coupon.months)
    free = [line for line in begun if first <= line.starts_on < until]
    shares: _Shares = [
        _share(line, left.minor[line.position], left.minor[line.position]) for line in free
    ]
    if not shares:
        return None
    terms = {
        "months": redeemed.coupon.months,
        "from": first.isoformat(),
        "until": until.isoformat(),
    }
    return _taken(redeemed, shares, first, terms)


def _by_units(
    redeemed: Redeemed, scope: Sequence[Line], left: _Left, bill_on: date
) -> Discount | None:
    """The units come off the top of the quantity: what is saved is price(q) - price(q - free)."""
    once = redeemed.coupon.units
    shares: _Shares = []
    for line in scope:
        units = redeemed.coupon.units if line.held else once
        if line.without is None or not units:
            continue
        priced = line.without(units)
        base = left.minor[line.position]
        off_minor = saved(base, line.amount_minor, priced.amount_minor)
        if not off_minor:
            continue
        if not line.held:
            once -= priced.taken
        shares.append(
            _share(line, base, off_minor)
            | {
                "units": plain_decimal(priced.taken),
                "full_minor": line.amount_minor,
                "without_minor": priced.amount_minor,
                "steps": priced.steps,
            }
            | ({"held": True} if line.held else {})
        )
    if not shares:
        return None
    return _taken(redeemed, shares, bill_on, {"off_units": plain_decimal(redeemed.coupon.units)})


def saved(base_minor: int, full_minor: int, without_minor: int) -> int:
    """This function will return what free units take off a line, of which `base_minor` is left.

    Fewer units may cost more where volume is cheaper: nobody pays for being given some.
    """
    return max(0, min(base_minor, full_minor - without_minor))


def _share(line: Line, base_minor: int, amount_minor: int) -> dict[str, Any]:
    return {
        "line": line.position,
        "charge": line.charge,
        "base_minor": base_minor,
        "amount_minor": amount_minor,
    }


def _taken(redeemed: Redeemed, shares: _Shares, used_from: date, terms: dict[str, Any]) -> Discount:
    coupon = redeemed.coupon
    evidence = {
        "rule": coupon.kind,
        "coupon": coupon.code,
        "redemption": str(redeemed.redemption_id),
        "priority": coupon.priority,
        **terms,
        "base_minor": sum(share["base_minor"] for share in shares),
        "lines": shares,
    }
    return Discount(redeemed, sum(share["amount_minor"] for share in shares), used_from, evidence)


_TAKE: dict[str, Callable[[Redeemed, Sequence[Line], _Left, date], Discount | None]] = {
    "free_units": _by_units,
    "months_free": _by_months,
    "percentage": _by_percentage,
    "amount": _by_amount,
}
