"""VAT: how it applies to a buyer and to a charge, taken out of a price or put on top. Pure.

A price excludes VAT or includes it. What excludes it bears one tax on the sum of a bill; out of
what includes it, the tax is taken once from their sum, so that the customer pays the very price.
Each line has its share, and what the fractions leave over goes to the last line that bears any.

Source: VAT Act §29, §30. Dropping fractions of a won on top of a price (절사), and rounding the
supply value of one that includes tax to the nearest, are customary and named settings.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from typing import Any

from app.base.money import Rounding, round_minor
from invoices.discounts import deal_out

TAXABLE, ZERO_RATED, EXEMPT = "taxable", "zero_rated", "exempt"
TREATMENTS = (TAXABLE, ZERO_RATED, EXEMPT)
_PRECISION = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How VAT applies to one buyer's bills. Anything but `taxable` goes for all they buy."""

    treatment: str = TAXABLE
    percent: int = 0
    rounding: Rounding = Rounding.DOWN
    included_rounding: Rounding = Rounding.HALF_UP

    def of(self, treatment: str) -> str:
        """This function will say how a charge is treated for this buyer.

        What the law exempts stays exempt, whoever buys it.
        """
        if EXEMPT in (self.treatment, treatment):
            return EXEMPT
        return self.treatment if self.treatment != TAXABLE else treatment


@dataclass(frozen=True, slots=True)
class Part:
    """So much of a line, as it was priced, at one treatment; `included`: VAT is in the price."""

    amount_minor: int
    treatment: str = TAXABLE
    included: bool = False


@dataclass(frozen=True, slots=True)
class Supply:
    """A line's supply value by treatment, without tax; `included` is what of it came out of prices
    that include VAT, and the tax that came out with it.
    """

    by_treatment: Mapping[str, int]
    included_minor: int = 0
    included_tax_minor: int = 0

    @property
    def amount_minor(self) -> int:
        """The supply value of the line."""
        return sum(self.by_treatment.values())

    @property
    def on_top_minor(self) -> int:
        """What of it bears tax on top."""
        return self.by_treatment.get(TAXABLE, 0) - self.included_minor

    def evidence(self, terms: Terms) -> dict[str, Any]:
        """This function will write it as a line's evidence; nothing where the buyer's terms say it
        all.
        """
        included = bool(self.included_minor or self.included_tax_minor)
        if set(self.by_treatment) <= {terms.treatment} and not included:
            return {}
        told: dict[str, Any] = {"supplies": dict(sorted(self.by_treatment.items()))}
        if included:
            told["included"] = [self.included_minor, self.included_tax_minor]
        return {"vat": told}


@dataclass(frozen=True, slots=True)
class Taxes:
    """The tax on a bill: `lines_minor` are the shares of its lines and add up to `total_minor`."""

    total_minor: int
    lines_minor: tuple[int, ...]


@dataclass(slots=True)
class _Buckets:
    """What settling lines are dealt over: the bill by treatment, what includes VAT apart."""

    supplies: dict[tuple[str, bool], int] = field(default_factory=lambda: defaultdict(int))
    included_tax_minor: int = 0


def supplies(*, lines: Sequence[Sequence[Part]], terms: Terms) -> list[Supply]:
    """This function will take the tax out of what includes it, and leave the rest as it is.

    Of all that includes VAT the tax is `total - round(total / 1.1)`; each line has its own by the
    same rule, and the last of them what is left over.
    """
    places = [
        (place, part.amount_minor)
        for place, parts in enumerate(lines)
        for part in parts
        if _included(part, terms)
    ]
    nets = _without_tax([amount for _, amount in places], terms)
    taken: dict[int, tuple[int, int]] = {}
    for (place, gross), net in zip(places, nets, strict=True):
        before = taken.get(place, (0, 0))
        taken[place] = before[0] + net, before[1] + gross - net
    found = []
    for place, parts in enumerate(lines):
        net, tax = taken.get(place, (0, 0))
        by_treatment: dict[str, int] = defaultdict(int)
        for part in parts:
            if not _included(part, terms):
                by_treatment[terms.of(part.treatment)] += part.amount_minor
        if place in taken:
            by_treatment[TAXABLE] += net
        found.append(Supply(dict(by_treatment), net, tax))
    return found


def _included(part: Part, terms: Terms) -> bool:
    """Where nothing is taxed, the whole price is the supply value."""
    return part.included and terms.percent > 0 and terms.of(part.treatment) == TAXABLE


def _without_tax(amounts_minor: Sequence[int], terms: Terms) -> list[int]:
    def net(gross: int) -> int:
        with localcontext(prec=_PRECISION):
            return round_minor(
                Decimal(gross) * 100 / (100 + terms.percent), terms.included_rounding
            )

    nets = [net(amount) for amount in amounts_minor]
    charged = [place for place, amount in enumerate(amounts_minor) if amount]
    if charged:
        nets[charged[-1]] += net(sum(amounts_minor)) - sum(nets)
    return nets


def settled(*, lines: Sequence[Supply], amounts_minor: Sequence[int]) -> list[Supply]:
    """This function will deal what prepays a bill, or is carried over, over its treatments.

    In proportion to what each comes to, so that exempt supplies are prepaid as taxable ones are.
    """
    buckets = _Buckets()
    for line in lines:
        for treatment, amount in line.by_treatment.items():
            included = line.included_minor if treatment == TAXABLE else 0
            buckets.supplies[treatment, False] += amount - included
        buckets.supplies[TAXABLE, True] += line.included_minor
        buckets.included_tax_minor += line.included_tax_minor
    found = []
    for amount in amounts_minor:
        supply = _dealt(buckets, amount)
        for treatment, share in supply.by_treatment.items():
            included = supply.included_minor if treatment == TAXABLE else 0
            buckets.supplies[treatment, False] += share - included
        buckets.supplies[TAXABLE, True] += supply.included_minor
        buckets.included_tax_minor += supply.included_tax_minor
        found.append(supply)
    return found


def _dealt(buckets: _Buckets, amount_minor: int) -> Supply:
    """One amount over what is left: taken from what is asked, or put to what is given back."""
    keys = [key for key, value in buckets.supplies.items() if value * amount_minor < 0]
    shares = deal_out(abs(amount_minor), [abs(buckets.supplies[key]) for key in keys])
    sign = 1 if amount_minor > 0 else -1
    by_treatment: dict[str, int] = defaultdict(int)
    included = tax = 0
    for key, share in zip(keys, shares, strict=True):
        treatment, is_included = key
        by_treatment[treatment] += sign * share
        if is_included:
            included = sign * share
            left = buckets.supplies[key] + included
            kept = Decimal(buckets.included_tax_minor) * left / buckets.supplies[key]
            tax = round_minor(kept, Rounding.HALF_UP) - buckets.included_tax_minor
    return Supply({name: each for name, each in by_treatment.items() if each}, included, tax)


def stated(*, amount_minor: int, evidence: Mapping[str, Any], terms: Terms) -> Supply:
    """This function will read a stored line as the supply that it was."""
    told = evidence.get("vat")
    if told is None:
        return Supply({terms.treatment: amount_minor})
    return Supply(told["supplies"], *told.get("included", (0, 0)))


def taxes(*, lines: Sequence[Supply], terms: Terms) -> Taxes:
    """This function will return the tax on a bill and each line's share of it.

    On top it is taken once on the sum; each line gets its own, rounded alike, and the last that
    bears any has what the fractions leave over. A bill gives no more tax back than it asks for
    besides: its total is never below zero.
    """

    def on_top(amount_minor: int) -> int:
        return round_minor(Decimal(amount_minor) * terms.percent / 100, terms.rounding)

    included = sum(line.included_tax_minor for line in lines)
    subtotal = sum(line.amount_minor for line in lines)
    total = included + on_top(sum(line.on_top_minor for line in lines))
    if subtotal >= 0:
        total = max(total, -subtotal)
    shares = [line.included_tax_minor + on_top(line.on_top_minor) for line in lines]
    bearing = [place for place, line in enumerate(lines) if line.on_top_minor] or [
        place for place, line in enumerate(lines) if line.included_minor
    ]
    if bearing:
        shares[bearing[-1]] += total - sum(shares)
    return Taxes(total, tuple(shares))


def taxes_on_top(*, amounts_minor: Sequence[int], rate_percent: int, rounding: Rounding) -> Taxes:
    """This function will tax amounts that exclude VAT, all at one rate."""
    terms = Terms(percent=rate_percent, rounding=rounding)
    return taxes(lines=[Supply({TAXABLE: amount}) for amount in amounts_minor], terms=terms)


def of_bill(*, lines: Sequence[Supply]) -> frozenset[str]:
    """This function will return the treatments that stand on a bill."""
    return frozenset(
        treatment for line in lines for treatment, amount in line.by_treatment.items() if amount
    )
