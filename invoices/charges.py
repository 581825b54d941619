"""A charge: what a plan version asks for one thing, how often and by which pricing. Pure.

The catalogue stores charges, subscriptions put them in force, rating prices them: all three pass
around this dataclass and none its table's row.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID

from app.base.errors import Invalid
from app.base.money import Rounding
from invoices import pricing
from invoices.periods import MONTHLY, Interval
from invoices.pricing import Pricing
from invoices.proration import PRORATIONS
from invoices.vat import TAXABLE, TREATMENTS

# recurring: every interval; setup: once, when the subscription starts; one_off: once, when it is
# added; commitment: what the other charges of a period are topped up to.
KINDS = ("recurring", "setup", "one_off", "commitment")
TIMINGS = ("advance", "arrears")
# How the daily readings of a period become its quantity.
AGGREGATIONS = ("peak", "average", "sum", "last")
# What is held at a time is paid for by time; what is used up is paid for by the piece.
HELD = frozenset({"peak", "average", "last"})
NAME_LENGTH_MAX = 100
CODE = re.compile(r"[a-z][a-z0-9_]{0,39}")


class ChargeUnsound(Invalid):
    """A charge contradicts itself; `field` names what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One charge: amounts in major units, `pricing.included` in the meter's unit (seats, GB).

    `meter` names what counts it; without one the quantity is what the subscriber bought. Daily
    readings need an `aggregation`; meters of pushed events bring their own. `group` picks the part
    of a grouped meter that is priced, by property.
    """

    code: str
    name_ko: str
    name_en: str
    pricing: Pricing
    unit_ko: str = ""
    unit_en: str = ""
    kind: str = "recurring"
    timing: str = "advance"
    interval: Interval = MONTHLY
    meter: str | None = None
    aggregation: str | None = None
    group: Mapping[str, str] = field(default_factory=dict)
    proration: str = "day"
    rounding: Rounding = Rounding.DOWN
    optional: bool = False
    # How VAT treats it, whoever buys it, and whether its price includes the tax.
    vat: str = TAXABLE
    vat_included: bool = False

    @property
    def once(self) -> bool:
        """Whether it is asked for a single time."""
        return self.kind in ("setup", "one_off")

    @property
    def by_time(self) -> bool:
        """Whether half of a period costs half: true for all but what is used up by the piece."""
        return self.meter is None or self.aggregation in HELD

    @property
    def from_readings(self) -> bool:
        """Whether daily readings say its quantity."""
        return self.meter is not None and self.aggregation is not None


@dataclass(frozen=True, slots=True)
class Meter:
    """What a charge has to know of its meter: whether it reads days, and what groups it keeps.

    `held` says that pushed events tell a level (its peak, last or average) and not pieces.
    """

    by_day: bool
    group_by: tuple[str, ...] = ()
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A price as it is charged, with the plan version that it belongs to."""

    price_id: UUID
    plan_code: str
    plan_version: int
    position: int
    charge: Charge


def check(charge: Charge) -> None:
    """This function will refuse a charge that contradicts itself.

    Raises: ChargeUnsound, PricingUnsound.
    """
    if not CODE.fullmatch(charge.code):
        raise ChargeUnsound(
            "Use small letters, digits and underscores, 40 at most, a letter first.", field="charge"
        )
    if not charge.name_ko.strip() or not charge.name_en.strip():
        raise ChargeUnsound("Name the charge in Korean and English.", field="name")
    for words in (charge.name_ko, charge.name_en, charge.unit_ko, charge.unit_en):
        if len(words.splitlines()) > 1 or len(words) > NAME_LENGTH_MAX:
            raise ChargeUnsound(
                f"Keep names and units to one line of {NAME_LENGTH_MAX} characters.", field="name"
            )
    _one_of(charge.kind, KINDS, "kind")
    _one_of(charge.timing, TIMINGS, "timing")
    _one_of(charge.proration, PRORATIONS, "proration")
    _one_of(charge.vat, TREATMENTS, "vat")
    if charge.vat_included and charge.vat != TAXABLE:
        raise ChargeUnsound(
            "Only the price of a taxable charge includes VAT.", field="vat_included"
        )
    if charge.aggregation is not None:
        _one_of(charge.aggregation, AGGREGATIONS, "aggregation")
    pricing.check(charge.pricing)
    _check_together(charge)


def check_meter(charge: Charge, meters: Mapping[str, Meter]) -> None:
    """This function will refuse a charge whose meter is unknown or counts in another way.

    Raises: ChargeUnsound.
    """
    if charge.meter is None:
        return
    meter = meters.get(charge.meter)
    if meter is None:
        raise ChargeUnsound(
            f"Nothing reads a meter called {charge.meter}; there are {', '.join(sorted(meters))}.",
            field="meter",
        )
    if meter.by_day and charge.aggregation is None:
        raise ChargeUnsound(
            f"This meter reads days: say what of them counts, {', '.join(AGGREGATIONS)}.",
            field="aggregation",
        )
    if not meter.by_day and charge.aggregation is not None:
        raise ChargeUnsound(
            "This meter counts by its own rule: leave the aggregation out.", field="aggregation"
        )
    if meter.held and charge.proration != "none":
        raise ChargeUnsound(
            "This meter tells a level, which two halves of a period would both pay in full:"
            " choose none, and changes wait for the period's end.",
            field="proration",
        )
    for name in charge.group:
        if name not in meter.group_by:
            raise ChargeUnsound(f"This meter is not grouped by {name}.", field=f"group.{name}")


def _one_of(value: str, known: tuple[str, ...], name: str) -> None:
    if value not in known:
        raise ChargeUnsound(f"Choose one of {', '.join(known)}.", field=name)


def _check_together(charge: Charge) -> None:
    if charge.meter is None:
        if charge.aggregation is not None or charge.group:
            raise ChargeUnsound(
                "Only a metered charge has an aggregation or a group.", field="meter"
            )
        if charge.pricing.model == "percentage":
            raise ChargeUnsound("A percentage needs a meter of what it is taken of.", field="meter")
    elif charge.timing != "arrears":
        raise ChargeUnsound("Usage is known only afterwards: bill it in arrears.", field="timing")
    elif charge.kind != "recurring":
        raise ChargeUnsound("Usage recurs: it is no one-off and no commitment.", field="kind")
    if charge.once and charge.timing != "advance":
        raise ChargeUnsound(
            "What is asked for once is asked for at once: in advance.", field="timing"
        )
    if charge.kind == "commitment" and (
        charge.timing != "arrears" or charge.pricing.model != "flat" or charge.optional
    ):
        raise ChargeUnsound(
            "A commitment is a flat amount in arrears that every subscriber has.", field="kind"
        )
    if charge.kind == "setup" and charge.optional:
        raise ChargeUnsound("A set-up fee belongs to the plan: it can't be optional.", field="kind")
