"""Pricing: exact at every edge, explained step by step, and refused when it cannot be charged."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, Inexact
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices import fingerprints, pricing
from invoices.pricing import MODELS, TIERS_MAX, Priced, Pricing, PricingUnsound, Step, Tier

TINY = Decimal("0.000000000001")
LARGEST = Decimal("9" * 26 + "." + "9" * 12)

QUANTITIES = st.decimals(min_value=0, max_value=10**9, places=6)
AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=12)
SIZES = st.decimals(min_value="0.001", max_value=10**6, places=3)


def tier(up_to: str | None, unit_amount: str = "0", flat_amount: str = "0") -> Tier:
    return Tier(
        up_to=None if up_to is None else Decimal(up_to),
        unit_amount=Decimal(unit_amount),
        flat_amount=Decimal(flat_amount),
    )


TIERS = (tier("10", "5", "1"), tier("20", "4", "2"), tier(None, "3", "4"))
STAIRS = (tier("10", "0", "100"), tier("20", "0", "150"), tier(None, "0", "180"))


def price(given_pricing: Pricing, quantity: str | int | Decimal = 0, **more: Any) -> Priced:
    pricing.check(given_pricing)
    return pricing.price(pricing=given_pricing, quantity=Decimal(quantity), **more)


def amount(given_pricing: Pricing, quantity: str | int | Decimal, **more: Any) -> Decimal:
    return price(given_pricing, quantity, **more).amount


@st.composite
def tiers(draw: st.DrawFn, flat_amounts: st.SearchStrategy[Decimal] = AMOUNTS) -> tuple[Tier, ...]:
    sizes = draw(st.lists(SIZES, max_size=4))
    bounds: list[Decimal | None] = [*accumulate(sizes), None]
    return tuple(
        Tier(up_to=up_to, unit_amount=draw(AMOUNTS), flat_amount=draw(flat_amounts))
        for up_to in bounds
    )


@st.composite
def pricings(draw: st.DrawFn, models: tuple[str, ...] = MODELS) -> Pricing:
    model = draw(st.sampled_from(models))
    ladder = draw(tiers()) if model in pricing.TIERED else ()
    if model == "stairstep":
        ladder = tuple(replace(each, unit_amount=Decimal(0)) for each in ladder)
    bounds = sorted([draw(AMOUNTS), draw(AMOUNTS)])
    return Pricing(
        model=model,
        unit_amount=draw(AMOUNTS) if model in ("flat", "per_unit", "package") else Decimal(0),
        tiers=ladder,
        package_size=draw(SIZES) if model == "package" else None,
        rate_percent=draw(AMOUNTS) if model == "percentage" else None,
        fixed_amount=draw(AMOUNTS) if model == "percentage" else Decimal(0),
        included=draw(QUANTITIES) if model != "flat" else Decimal(0),
        minimum_amount=draw(st.sampled_from([None, bounds[0]])),
        maximum_amount=draw(st.sampled_from([None, bounds[1]])),
    )


class TestEveryModel:
    def test_flat_costs_its_amount_whatever_is_used(self) -> None:
        base = Pricing(model="flat", unit_amount=Decimal(30))
        assert [amount(base, quantity) for quantity in ("0", "1", "99.5")] == [30, 30, 30]
        assert price(base, 99).billed_quantity == 1

    def test_per_unit_keeps_all_twelve_decimals(self) -> None:
        tokens = Pricing(model="per_unit", unit_amount=TINY)
        assert amount(tokens, "1234567.000001") == Decimal("0.000001234567000001")

    @pytest.mark.parametrize(
        ("quantity", "expected"),
        [
            ("0", "0"),
            ("0.000000000001", "1.000000000005"),
            ("10", "51"),
            ("10.000000000001", "53.000000000004"),
            ("20", "93"),
            ("20.000000000001", "97.000000000003"),
            ("30", "127"),
        ],
    )
    def test_graduated_fills_one_tier_after_the_other(self, quantity: str, expected: str) -> None:
        assert amount(Pricing(model="graduated", tiers=TIERS), quantity) == Decimal(expected)

    @pytest.mark.parametrize(
        ("quantity", "expected"),
        [
            ("0", "0"),
            ("0.000000000001", "1.000000000005"),
            ("10", "51"),
            ("10.000000000001", "42.000000000004"),
            ("20", "82"),
            ("20.000000000001", "64.000000000003"),
            ("30", "94"),
        ],
    )
    def test_volume_charges_everything_at_the_tier_it_reaches(
        self, quantity: str, expected: str
    ) -> None:
        assert amount(Pricing(model="volume", tiers=TIERS), quantity) == Decimal(expected)

    @pytest.mark.parametrize(
        ("quantity", "expected"),
        [("0", 0), (TINY, 100), ("10", 100), ("10.1", 150), ("20", 150), ("21", 180)],
    )
    def test_a_stair_costs_the_same_all_along(self, quantity: str | Decimal, expected: int) -> None:
        assert amount(Pricing(model="stairstep", tiers=STAIRS), quantity) == expected

    @pytest.mark.parametrize(
        ("quantity", "packages"),
        [("0", 0), (TINY, 1), ("2.5", 1), (Decimal("2.5") + TINY, 2), ("5", 2), ("5.1", 3)],
    )
    def test_a_package_that_was_begun_is_paid_for(
        self, quantity: str | Decimal, packages: int
    ) -> None:
        boxes = Pricing(model="package", unit_amount=Decimal(7), package_size=Decimal("2.5"))
        assert price(boxes, quantity).billed_quantity == packages
        assert amount(boxes, quantity) == 7 * packages

    def test_a_percentage_adds_a_fixed_part_for_each_transaction(self) -> None:
        fee = Pricing(model="percentage", rate_percent=Decimal("2.9"), fixed_amount=Decimal("0.3"))
        assert amount(fee, "1000", transactions=4) == Decimal("30.2")
        assert amount(fee, "0", transactions=4) == Decimal("1.2")
        assert amount(fee, "0") == 0

    def test_included_units_come_before_tiers_and_packages(self) -> None:
        steps = Pricing(model="graduated", tiers=TIERS, included=Decimal(100))
        assert amount(steps, 100) == 0
        assert amount(steps, 110) == amount(replace(steps, included=Decimal(0)), 10)
        boxes = Pricing(
            model="package",
            unit_amount=Decimal(5),
            package_size=Decimal(100),
            included=Decimal(100),
        )
        assert [amount(boxes, quantity) for quantity in (100, 101, 200, 201)] == [0, 5, 5, 10]

    def test_an_allowance_of_a_part_of_a_period_is_rounded_in_the_customers_favour(self) -> None:
        calls = Pricing(model="per_unit", unit_amount=Decimal(1), included=Decimal(100))
        assert amount(calls, 60, share=Fraction(1, 2)) == 10
        third = price(calls, 100, share=Fraction(1, 3))
        assert third.amount == Decimal("66.666666666666")
        assert third.amount < Fraction(200, 3)

    def test_more_was_corrected_than_used_costs_nothing_but_the_minimum(self) -> None:
        calls = Pricing(model="per_unit", unit_amount=Decimal(1))
        assert amount(calls, -5) == 0
        assert amount(replace(calls, minimum_amount=Decimal(3)), -5) == 3

    @pytest.mark.parametrize(
        ("quantity", "expected"), [(0, 20), (19, 20), (20, 20), (21, 21), (50, 50), (51, 50)]
    )
    def test_a_charge_stays_between_its_minimum_and_maximum(
        self, quantity: int, expected: int
    ) -> None:
        bounded = Pricing(
            model="per_unit",
            unit_amount=Decimal(1),
            minimum_amount=Decimal(20),
            maximum_amount=Decimal(50),
        )
        assert amount(bounded, quantity) == expected


class TestSteps:
    def test_a_person_with_a_calculator_gets_our_figure(self) -> None:
        steps = Pricing(
            model="graduated", tiers=TIERS, included=Decimal(5), maximum_amount=Decimal(60)
        )
        assert price(steps, 20).steps == (
            Step("included", Decimal(5), Decimal(0), Decimal(0)),
            Step("tier:1", Decimal(10), Decimal(5), Decimal(50)),
            Step("tier_flat:1", Decimal(1), Decimal(1), Decimal(1)),
            Step("tier:2", Decimal(5), Decimal(4), Decimal(20)),
            Step("tier_flat:2", Decimal(1), Decimal(2), Decimal(2)),
            Step("maximum", Decimal(1), Decimal(-13), Decimal(-13)),
        )

    @pytest.mark.parametrize("model", MODELS)
    def test_nothing_used_is_explained_too(self, model: str) -> None:
        given_pricing = Pricing(
            model=model,
            tiers={"stairstep": STAIRS}.get(model, TIERS) if model in pricing.TIERED else (),
            package_size=Decimal(10) if model == "package" else None,
            rate_percent=Decimal(1) if model == "percentage" else None,
        )
        result = price(given_pricing, 0)
        assert result.amount == 0
        assert result.steps

    @given(pricings(), QUANTITIES, st.integers(0, 10**6), st.fractions(0, 1))
    def test_they_add_up_to_the_amount(
        self, given_pricing: Pricing, quantity: Decimal, transactions: int, share: Fraction
    ) -> None:
        result = price(given_pricing, quantity, transactions=transactions, share=share)
        exact = [Fraction(step.quantity) * Fraction(step.unit_amount) for step in result.steps]
        assert exact == [Fraction(step.amount) for step in result.steps]
        assert sum(exact) == Fraction(result.amount)
        assert result.amount >= 0

    @given(pricings(models=("per_unit", "graduated", "volume")), QUANTITIES)
    def test_every_unit_is_in_one_of_them(self, given_pricing: Pricing, quantity: Decimal) -> None:
        counted = [
            step.quantity
            for step in price(given_pricing, quantity).steps
            if step.rule in ("included", "per_unit") or step.rule.startswith("tier:")
        ]
        # A tier without a price of each unit shows its flat part only.
        if all(each.unit_amount for each in given_pricing.tiers):
            assert sum(map(Fraction, counted)) == Fraction(quantity)


class TestProperties:
    @given(
        pricings(models=("flat", "per_unit", "graduated", "package", "percentage")),
        st.tuples(QUANTITIES, QUANTITIES),
    )
    def test_more_use_never_costs_less(
        self, given_pricing: Pricing, quantities: tuple[Decimal, Decimal]
    ) -> None:
        less, more = sorted(quantities)
        assert amount(given_pricing, less) <= amount(given_pricing, more)

    @given(tiers(flat_amounts=st.just(Decimal(0))))
    def test_graduated_tiers_without_flat_parts_have_no_jump(
        self, ladder: tuple[Tier, ...]
    ) -> None:
        steps = Pricing(model="graduated", tiers=ladder)
        for before, after in pairwise(ladder):
            assert before.up_to is not None
            at_bound, beyond = amount(steps, before.up_to), amount(steps, before.up_to + TINY)
            assert Fraction(beyond) - Fraction(at_bound) == Fraction(TINY) * Fraction(
                after.unit_amount
            )

    @given(tiers())
    def test_a_graduated_jump_is_the_flat_part_of_the_tier_entered(
        self, ladder: tuple[Tier, ...]
    ) -> None:
        steps = Pricing(model="graduated", tiers=ladder)
        for before, after in pairwise(ladder):
            assert before.up_to is not None
            jump = Fraction(amount(steps, before.up_to + TINY)) - Fraction(
                amount(steps, before.up_to)
            )
            assert jump == Fraction(after.flat_amount) + Fraction(TINY) * Fraction(
                after.unit_amount
            )

    @given(AMOUNTS, QUANTITIES)
    def test_one_tier_is_the_same_as_per_unit(self, each: Decimal, quantity: Decimal) -> None:
        one = (Tier(up_to=None, unit_amount=each),)
        plain = amount(Pricing(model="per_unit", unit_amount=each), quantity)
        assert amount(Pricing(model="volume", tiers=one), quantity) == plain
        assert amount(Pricing(model="graduated", tiers=one), quantity) == plain

    @given(pricings())
    def test_parameters_are_read_back_as_they_were_written(self, given_pricing: Pricing) -> None:
        written = pricing.parameters(given_pricing)
        read = pricing.from_parameters(
            model=given_pricing.model,
            unit_amount=given_pricing.unit_amount,
            included=given_pricing.included,
            parameters=written,
        )
        assert read == given_pricing
        assert fingerprints.canonical_json(pricing.parameters(read)) == (
            fingerprints.canonical_json(written)
        )

    def test_the_largest_numbers_are_multiplied_to_the_last_digit(self) -> None:
        largest = Pricing(model="per_unit", unit_amount=LARGEST)
        assert Fraction(amount(largest, LARGEST)) == Fraction(LARGEST) ** 2

    def test_what_would_need_rounding_raises_instead(self) -> None:
        largest = Pricing(model="per_unit", unit_amount=LARGEST)
        with pytest.raises(Inexact):
            amount(largest, "9" * 34 + "." + "9" * 12)


class TestCheck:
    @pytest.mark.parametrize(
        ("unsound", "field"),
        [
            (Pricing(model="matrix"), "model"),
            (Pricing(model="graduated"), "tiers"),
            (Pricing(model="volume", tiers=(tier("1"),) * (TIERS_MAX + 1)), "tiers"),
            (Pricing(model="flat", tiers=TIERS), "tiers"),
            (Pricing(model="volume", tiers=(tier("10", "1"),)), "tiers.0.up_to"),
            (Pricing(model="volume", tiers=(tier(None, "1"), tier(None, "1"))), "tiers.0.up_to"),
            (Pricing(model="volume", tiers=(tier("0", "1"), tier(None))), "tiers.0.up_to"),
            (
                Pricing(model="graduated", tiers=(tier("9"), tier("9"), tier(None))),
                "tiers.1.up_to",
            ),
            (Pricing(model="graduated", tiers=(tier("-1"), tier(None))), "tiers.0.up_to"),
            (Pricing(model="graduated", tiers=(tier(None, "-1"),)), "tiers.0.unit_amount"),
            (Pricing(model="graduated", tiers=(tier(None, "1", "-1"),)), "tiers.0.flat_amount"),
            (Pricing(model="stairstep", tiers=(tier(None, "1", "5"),)), "tiers.0.unit_amount"),
            (Pricing(model="volume", tiers=TIERS, unit_amount=Decimal(1)), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal(-1)), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal("NaN")), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal("Infinity")), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal("1e26")), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal("1e-13")), "unit_amount"),
            (Pricing(model="per_unit", unit_amount=Decimal("1e999999")), "unit_amount"),
            (Pricing(model="package", unit_amount=Decimal(1)), "package_size"),
            (Pricing(model="package", package_size=Decimal(0)), "package_size"),
            (Pricing(model="package", package_size=Decimal(-1)), "package_size"),
            (Pricing(model="per_unit", package_size=Decimal(10)), "package_size"),
            (Pricing(model="percentage"), "rate_percent"),
            (Pricing(model="percentage", rate_percent=Decimal(-1)), "rate_percent"),
            (Pricing(model="flat", rate_percent=Decimal(0)), "rate_percent"),
            (Pricing(model="flat", fixed_amount=Decimal(1)), "fixed_amount"),
            (Pricing(model="flat", included=Decimal(1)), "included"),
            (Pricing(model="per_unit", included=Decimal(-1)), "included"),
            (Pricing(model="flat", minimum_amount=Decimal(-1)), "minimum_amount"),
            (
                Pricing(model="flat", minimum_amount=Decimal(2), maximum_amount=Decimal(1)),
                "maximum_amount",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_the_parameter_at_fault_is_named(self, unsound: Pricing, field: str) -> None:
        with pytest.raises(PricingUnsound) as fault:
            pricing.check(unsound)
        assert fault.value.field == field
        assert fault.value.message.endswith(".")

    @given(pricings())
    def test_what_can_be_charged_passes(self, given_pricing: Pricing) -> None:
        pricing.check(given_pricing)

    @pytest.mark.parametrize(
        ("parameters", "field"),
        [
            ({"tier": []}, "tier"),
            ({"tiers": "10"}, "tiers"),
            ({"tiers": ["10"]}, "tiers.0"),
            ({"tiers": [{"up_to": None, "price": "1"}]}, "tiers.0.price"),
            ({"tiers": [{"up_to": "ten"}]}, "tiers.0.up_to"),
            ({"tiers": [{"unit_amount": 0.1}]}, "tiers.0.unit_amount"),
            ({"package_size": 100}, "package_size"),
            ({"rate_percent": "1,5"}, "rate_percent"),
        ],
    )
    def test_parameters_that_are_no_numbers_as_text_are_refused(
        self, parameters: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(PricingUnsound) as fault:
            pricing.from_parameters(
                model="volume",
                unit_amount=Decimal(0),
                included=Decimal(0),
                parameters=parameters,
            )
        assert fault.value.field == field
