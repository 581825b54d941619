"""From raw facts to quantities, and from quantities to amounts, in fractions. No engine."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import ceil, floor

from tests.model.days import DAY, midnight
from tests.model.histories import History, Level, Priced, Sent

ZERO = Fraction(0)


def rounded(amount: Fraction, how: str) -> int:
    """A fraction of a unit is dropped, counted as one, or as one from the half on."""
    size = abs(amount)
    half = size - floor(size) == Fraction(1, 2)
    whole = {
        "down": floor(size),
        "up": ceil(size),
        "half_up": floor(size + Fraction(1, 2)),
        "half_even": 2 * floor(size / 2 + Fraction(1, 2)) if half else floor(size + Fraction(1, 2)),
    }[how]
    return whole if amount >= 0 else -whole


def dealt(amount: int, among: Sequence[int]) -> list[int]:
    """An amount in shares that are as its parts; the largest remainders get the rest."""
    exact = [Fraction(amount * each, sum(among)) for each in among]
    off = [int(share) for share in exact]
    by_remainder = sorted(range(len(off)), key=lambda place: off[place] - exact[place])
    for place in by_remainder[: amount - sum(off)]:
        off[place] += 1
    return off


def read(history: History, meter: str, day: date) -> Fraction:
    """What a daily meter reads: the most seats at once, gigabytes over the day, files added."""
    start, end = midnight(day, history.zone), midnight(day + DAY, history.zone)
    levels: Sequence[Level] = history.seats if meter == "seats" else history.bytes
    if meter == "files_added":
        return Fraction(sum(start <= each.at < end and each.delta > 0 for each in levels))
    level = sum(each.delta for each in levels if each.at < start)
    most, since, held = level, start, Fraction(0)
    for each in levels:
        if start <= each.at < end:
            held += level * Fraction((each.at - since) / timedelta(microseconds=1))
            level, since = level + each.delta, each.at
            most = max(most, level)
    held += level * Fraction((end - since) / timedelta(microseconds=1))
    if meter == "seats":
        return Fraction(most)
    gigabyte_days = held / Fraction((end - start) / timedelta(microseconds=1)) / 10**9
    return Fraction(rounded(gigabyte_days * 10**12, "half_even"), 10**12)


def over_days(aggregation: str, quantities: Sequence[Fraction]) -> Fraction:
    """The quantity of a period from that of its days; an average in whole thousandths."""
    if not quantities:
        return Fraction(0)
    if aggregation == "average":
        return Fraction(floor(sum(quantities) / len(quantities) * 1000), 1000)
    return {"peak": max(quantities), "sum": sum(quantities), "last": quantities[-1]}[aggregation]


def total(
    events: Sequence[Sent], charge: Priced, start: datetime, end: datetime, known: datetime
) -> tuple[Fraction, int]:
    """What events come to in a time, by what they said at a moment, and how many they are."""
    told = [said for each in events if (said := each.known(known)) is not None]
    told = [each for each in told if charge.group in (None, each.customer)]
    told.sort(key=lambda each: each.at)
    found = [each for each in told if start <= each.at < end]
    values = [Fraction(each.value) for each in found] or [Fraction(0)]
    quantity = {
        "count": lambda: Fraction(len(found)),
        "sum": lambda: sum(values, Fraction(0)),
        "max": lambda: max(values),
        "min": lambda: min(values),
        "latest": lambda: values[-1],
        "unique": lambda: Fraction(len({each.customer for each in found})),
        "weighted_sum": lambda: average_level(told, start, end),
    }[str(charge.meter)]()
    return quantity, len(found)


def average_level(told: Sequence[Sent], start: datetime, end: datetime) -> Fraction:
    """Each customer's level holds until their next event; all levels over the time, by its length.

    What was set before the time holds in it.
    """
    held, tick = ZERO, timedelta(microseconds=1)
    for customer in {each.customer for each in told}:
        level, since = ZERO, start
        for each in told:
            if each.customer == customer and each.at < end:
                held += level * Fraction((max(each.at, since) - since) // tick)
                level, since = Fraction(each.value), max(each.at, since)
        held += level * Fraction((end - since) // tick)
    average = held / Fraction((end - start) // tick)
    return Fraction(rounded(average * 10**12, "half_even"), 10**12)


def by_piece(charge: Priced) -> bool:
    """Whether units are used up one by one; of all else half of the time costs half."""
    return charge.meter is not None and charge.aggregation in (None, "sum")


def price(charge: Priced, quantity: Fraction, events: int, part: Fraction) -> Fraction:
    """What a quantity costs in a whole period; only what is included shrinks with the part."""
    units = beyond_included(charge, quantity, part)
    amount = {
        "flat": lambda: Fraction(charge.unit),
        "per_unit": lambda: units * Fraction(charge.unit),
        "package": lambda: ceil(units / Fraction(charge.package_size or 1)) * Fraction(charge.unit),
        "percentage": lambda: (
            units * Fraction(charge.percent or 0) / 100 + events * Fraction(charge.fixed)
        ),
        "graduated": lambda: graduated(charge, units),
        "volume": lambda: volume(charge, units),
        "stairstep": lambda: volume(charge, units),
    }[charge.model]()
    if charge.minimum is not None:
        amount = max(amount, Fraction(charge.minimum))
    if charge.maximum is not None:
        amount = min(amount, Fraction(charge.maximum))
    return amount


def beyond_included(charge: Priced, quantity: Fraction, part: Fraction) -> Fraction:
    """The units that cost; a share of what is included is counted up at its twelfth decimal."""
    included = Fraction(ceil(Fraction(charge.included) * part * 10**12), 10**12)
    return max(ZERO, max(ZERO, quantity) - included)


def graduated(charge: Priced, units: Fraction) -> Fraction:
    """Each tier costs its own units, and its flat part once it is entered."""
    amount, bottom = Fraction(0), Fraction(0)
    for tier in charge.tiers:
        top = units if tier.up_to is None else min(units, Fraction(tier.up_to))
        if top > bottom:
            amount += (top - bottom) * Fraction(tier.unit) + Fraction(tier.flat)
            bottom = top
    return amount


def volume(charge: Priced, units: Fraction) -> Fraction:
    """All units cost what the tier says that the last of them lies in."""
    for tier in charge.tiers:
        if tier.up_to is None or units <= tier.up_to:
            return units * Fraction(tier.unit) + (Fraction(tier.flat) if units else 0)
    raise AssertionError("the last tier has no end")
