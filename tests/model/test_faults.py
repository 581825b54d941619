"""Faults planted in the engine: each is found by the seeds that bin/test tries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from app.base.money import exponent
from invoices import (
    commitments,
    corrected_discounts,
    late_usage,
    periods,
    pricing,
    proration,
    rating,
    schedule,
)
from invoices.bill_lines import BillLine
from invoices.charges import Charge
from invoices.periods import Period
from invoices.pricing import Pricing, Step
from invoices.rating import RatedLine, Stretch, UsageTotal
from tests.model.comparing import difference
from tests.model.test_model import CHUNKS

Plant = pytest.MonkeyPatch


def _each_part_is_rounded_alone(plant: Plant) -> None:
    def part_minor(
        *, full_minor_exact: Decimal, share: tuple[Fraction, Fraction], rounding: Any
    ) -> int:
        return proration.round_share(full_minor_exact, share[1] - share[0], rounding)

    plant.setattr(proration, "part_minor", part_minor)


def _a_tier_ends_before_its_last_unit(plant: Plant) -> None:
    def volume(listed: Pricing, quantity: Decimal, _transactions: int) -> list[Step]:
        for number, tier in enumerate(listed.tiers, start=1):
            if tier.up_to is None or quantity < tier.up_to:
                return pricing._tier_steps(number, tier, quantity)
        raise AssertionError("the last tier is open")

    plant.setitem(pricing._STEPS, "volume", volume)
    plant.setitem(pricing._STEPS, "stairstep", volume)


def _a_credit_is_rounded_apart_from_its_charge(plant: Plant) -> None:
    right = rating.credit

    def credit(*, charge: Charge, currency: str, stretch: Stretch, **rest: Any) -> RatedLine:
        line = right(charge=charge, currency=currency, stretch=stretch, **rest)
        full = Decimal(line.evidence["exact_minor"])
        part = stretch.share[1] - stretch.share[0]
        return replace(line, amount_minor=-proration.round_share(full, part, charge.rounding))

    plant.setattr(rating, "credit", credit)


def _an_average_is_taken_over_thirty_days(plant: Plant) -> None:
    def average(quantities: Sequence[Decimal]) -> Decimal:
        return sum(quantities, Decimal(0)) / 30

    plant.setitem(rating._COMBINED, "average", average)


def _every_day_has_24_hours(plant: Plant) -> None:
    right = proration._position

    def position(policy: str, period: Period, timezone: str, moment: datetime) -> Fraction:
        begins, ends = periods.bounds(period, timezone)
        if policy == "second" and begins < moment < ends:
            return Fraction((moment - begins) // timedelta(seconds=1), period.days * 86_400)
        return right(policy, period, timezone, moment)

    plant.setattr(proration, "_position", position)


def _a_short_month_shortens_those_after_it(plant: Plant) -> None:
    def start_of(anchor: Any, number: int, interval: Any = periods.MONTHLY) -> Any:
        if interval.days is not None:
            return anchor + timedelta(days=interval.days * number)
        day = anchor
        for _ in range(abs(number)):
            day = periods.months_after(day, interval.months if number > 0 else -interval.months)
        return day

    plant.setattr(periods, "start_of", start_of)


def _what_is_used_up_keeps_its_whole_allowance(plant: Plant) -> None:
    right = pricing.price

    def price(**terms: Any) -> pricing.Priced:
        return right(**terms | {"share": 1})

    plant.setattr(rating.pricing, "price", price)


def _three_decimals_are_taken_for_two(plant: Plant) -> None:
    plant.setattr(rating, "exponent", lambda currency: min(2, exponent(currency)))


def _what_an_outage_missed_is_billed_as_one(plant: Plant) -> None:
    right = schedule.agenda

    def agenda(**terms: Any) -> schedule.Agenda:
        found = right(**terms)
        return schedule.Agenda(found.bills[-1:], found.next_bill_on)

    plant.setattr(schedule, "agenda", agenda)


def _what_came_late_is_forgotten(plant: Plant) -> None:
    right = late_usage.line_of

    def line_of(*, was: late_usage.Closed, is_: UsageTotal, **rest: Any) -> BillLine:
        return right(was=was, is_=replace(is_, quantity=was.total.quantity), **rest)

    plant.setattr(late_usage, "line_of", line_of)


def _nobody_looks_when_no_bill_comes(plant: Plant) -> None:
    plant.setattr(late_usage, "look_on", lambda **_: None)


def _a_minimum_forgets_what_came_late(plant: Plant) -> None:
    plant.setattr(commitments.ToppedUp, "with_", lambda self, _changed: self)


def _what_came_late_has_no_coupons(plant: Plant) -> None:
    plant.setattr(corrected_discounts, "correct", lambda **_: None)


def _an_amount_is_had_again_by_what_came_late(plant: Plant) -> None:
    nothing = corrected_discounts.Share()
    plant.setattr(corrected_discounts.Discounted, "elsewhere", lambda *_: nothing)


FAULTS: list[Callable[[Plant], None]] = [
    _each_part_is_rounded_alone,
    _a_tier_ends_before_its_last_unit,
    _a_credit_is_rounded_apart_from_its_charge,
    _an_average_is_taken_over_thirty_days,
    _every_day_has_24_hours,
    _a_short_month_shortens_those_after_it,
    _what_is_used_up_keeps_its_whole_allowance,
    _three_decimals_are_taken_for_two,
    _what_an_outage_missed_is_billed_as_one,
    _what_came_late_is_forgotten,
    _nobody_looks_when_no_bill_comes,
    _a_minimum_forgets_what_came_late,
    _what_came_late_has_no_coupons,
    _an_amount_is_had_again_by_what_came_late,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_a_planted_fault_is_found(fault: Callable[[Plant], None], monkeypatch: Plant) -> None:
    fault(monkeypatch)
    assert any(difference(seed) for seeds in CHUNKS for seed in seeds)
