"""The catalogue as a file: exact both ways, and every fault named where it stands."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices import catalogue_file
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.catalogue_difference import changes
from invoices.catalogue_file import CatalogueFile, CatalogueUnsound
from invoices.charges import Meter
from invoices.plan_terms import PlanTerms
from tests.invoices.plans import EVERYTHING, TEAM, dearer, plans

METERS = {
    "seats": Meter(by_day=True),
    "api_calls": Meter(by_day=False, group_by=("region",)),
}
SMALL = """\
plans:
  - plan: small
    currency: KRW
    position: 1
    names: {ko: 작은, en: Small}
    limits: {seats: 5, storage_gb: 10}
    charges:
      - charge: base
        names: {ko: 기본료, en: Base fee}
        price: {model: flat, unit_amount: 10000}
"""
USED = """\
      - charge: used
        names: {ko: 사용량, en: Used}
        timing: arrears
"""


def faults(text: str) -> list[str]:
    """Every fault of a text as an operator reads it."""
    with pytest.raises(CatalogueUnsound) as refused:
        catalogue_file.read(text, meters=METERS)
    return [str(fault) for fault in refused.value.faults]


class TestReadingBackWhatWasWritten:
    def test_gives_the_same_terms_for_the_default_price_list(self) -> None:
        written = catalogue_file.write(CatalogueFile(DEFAULT_PLANS, ("old", "older")))
        assert catalogue_file.read(written) == CatalogueFile(DEFAULT_PLANS, ("old", "older"))

    def test_gives_the_same_terms_for_every_kind_of_charge(self) -> None:
        written = catalogue_file.write(
            CatalogueFile((EVERYTHING,)), remarks={("everything", "KRW"): "version 3"}
        )
        assert "# version 3" in written
        assert catalogue_file.read(written).plans == (EVERYTHING,)

    @settings(max_examples=50)
    @given(st.lists(plans(), max_size=2, unique_by=lambda terms: terms.plan_code))
    def test_gives_the_same_terms_for_any_plan(self, found: list[PlanTerms]) -> None:
        written = catalogue_file.write(CatalogueFile(tuple(found)))
        assert catalogue_file.read(written).plans == tuple(found)

    def test_keeps_numbers_that_no_float_holds(self) -> None:
        amount = "12345678901234567890123456.123456789012"
        text = SMALL.replace("10000", amount)
        price = catalogue_file.read(text).plans[0].charges[0].pricing
        assert price.unit_amount == Decimal(amount)

    def test_takes_words_for_what_is_written_and_not_for_what_yaml_makes_of_them(self) -> None:
        text = SMALL.replace("ko: 작은, en: Small", "ko: no, en: 1.50")
        terms = catalogue_file.read(text).plans[0]
        assert (terms.name_ko, terms.name_en) == ("no", "1.50")


class TestFaults:
    @pytest.mark.parametrize(
        ("old", "new", "said"),
        [
            ("position: 1", "position: first", "line 4, column 15: plans.small-KRW.position: "),
            ("    position: 1\n", "", "position: position is missing: write it here."),
            ("seats: 5", "seats: 5, seat: 6", "There is no seat here. Is it seats?"),
            ("seats: 5", "seats: 0", "A plan allows at least one seat and some storage."),
            ("storage_gb: 10", "storage_gb: 0.0000000001", "at most 9 decimals"),
            ("10000}", "10,000}", "line 10, column "),
            ("10000}", "1e4}", "no commas, no exponent"),
            ("10000}", "0777}", "as a plain number"),
            ("10000}", "-1}", "unit_amount: -1 is below zero"),
            ("10000}", "[1]}", "unit_amount is a single value, not a list."),
            ("10000}", "}", "unit_amount is empty: write a value."),
            (", unit_amount: 10000}", "}", "unit_amount is missing: write it here."),
            ("model: flat", "model: flatt", "price.model: Choose a model from flat"),
            ("model: flat", "model: package", "A package price needs a package_size."),
            ("plan: small", "plan: Small", "plans.Small-KRW.plan: Use small letters"),
            ("currency: KRW", "currency: won", "Name the currency by its three letters"),
            ("charge: base", "charge: base\n        charge: b", "charge is written twice here"),
            ("charge: base", "charge: base\n        every: 3 days", "Write week, month, quarter"),
            ("charge: base", "charge: base\n        every: 99 years", "Bill every 1 to 5 years."),
            ("charge: base", "charge: base\n        optional: yes", "optional is true or false."),
            ("charge: base", "charge: base\n        rounding: off", "Choose one of down, up"),
            ("charge: base", "charge: base\n        kind: gift", "Choose one of recurring"),
            (
                "charge: base",
                "charge: base\n        kind: setup",
                "at least one charge that recurs",
            ),
            ("names: {ko: 작은, en: Small}", "names: Small", "names has fields of its own"),
            ("    charges:\n", "    charges: none\n    x:\n", "charges is a list"),
            (
                "    charges:\n",
                "    features: {sso: ''}\n    charges:\n",
                "A feature is on, off or",
            ),
            (
                "    charges:\n",
                "    feature_names: {sso: {ko: 로그인, en: Login}}\n    charges:\n",
                "This plan has no feature called sso.",
            ),
            (
                "    charges:\n",
                "    features: {sso: true}\n    feature_names: {sso: {ko: 로그인}}\n    charges:\n",
                "feature_names.sso.en",
            ),
            ("    charges:\n", "    quotas: {calls: {soft: x}}\n    charges:\n", "plain number"),
            (
                "    charges:\n",
                "    quotas: {api_calls: {}}\n    charges:\n",
                "a soft bound, a hard",
            ),
            (
                "    charges:\n",
                "    quotas: {calls: {soft: 1, alerts: [x]}}\n    charges:\n",
                "as whole numbers",
            ),
            ("plans:\n", "plans:\n  - 5\n", "Each of plans has fields"),
            ("plans:\n", "retired: [small]\nplans:\n", "both on offer and retired"),
            ("plans:\n", "plan:\n", "There is no plan here. Is it plans?"),
            ("plans:\n", "plans: &p\n", "anchors and aliases are not read here"),
            ("    currency", "\tcurrency", "Indent with spaces: a tab can't be read."),
        ],
    )
    def test_is_named_with_its_line_its_column_its_field_and_what_to_do(
        self, old: str, new: str, said: str
    ) -> None:
        assert old in SMALL
        found = faults(SMALL.replace(old, new, 1))
        assert any(said in fault for fault in found), found
        assert all(fault.startswith("line ") for fault in found)

    @pytest.mark.parametrize(
        ("charge", "said"),
        [
            ("meter: nothing\n        aggregation: peak", "Nothing reads a meter called nothing"),
            ("meter: seats", "say what of them counts"),
            ("meter: api_calls\n        aggregation: sum", "leave the aggregation out"),
            ("meter: api_calls\n        group: {plan: x}", "not grouped by plan"),
            ("meter: api_calls\n        group: x", "group has fields of its own"),
        ],
    )
    def test_knows_the_meters_there_are(self, charge: str, said: str) -> None:
        text = (
            f"{SMALL}{USED}        {charge}\n        price: {{model: per_unit, unit_amount: 1}}\n"
        )
        (found,) = faults(text)
        assert said in found
        assert "line 1" in found
        assert catalogue_file.read(text).plans if "has fields" not in said else True

    def test_stands_at_the_tier_that_is_wrong_counted_from_one(self) -> None:
        tiers = "[{up_to: 10, unit_amount: 2}, {up_to: 5, unit_amount: 1}, {unit_amount: 0}]"
        meter = "        meter: seats\n        aggregation: peak\n"
        price = f"        price:\n          model: volume\n          tiers: {tiers}\n"
        (found,) = faults(SMALL + USED + meter + price)
        column = f"          tiers: {tiers}".index("5,") + 1
        assert found == (
            f"line 18, column {column}: plans.small-KRW.charges.used.price.tiers.2.up_to:"
            " Tier 2 must end above 10: tiers rise."
        )

    def test_are_all_told_at_once_in_the_order_of_the_lines(self) -> None:
        text = SMALL.replace("position: 1", "position: x").replace("10000", "ten")
        found = faults(text.replace("en: Base fee", "english: Base fee"))
        assert [fault.split(",")[0] for fault in found] == ["line 4", "line 9", "line 9", "line 10"]

    def test_a_plan_stands_once_and_at_one_position(self) -> None:
        (again,) = faults(SMALL + SMALL.partition("\n")[2])
        assert "small in KRW is written twice" in again
        other = SMALL.partition("\n")[2].replace("KRW", "USD").replace("position: 1", "position: 2")
        (moved,) = faults(SMALL + other)
        assert "a plan has one position" in moved

    @pytest.mark.parametrize(
        "text",
        ["", "- a", "just words", "plans: " + "[" * 1000, "plans:\n  - a\x00b", "a: *x", "\u0007"],
    )
    def test_of_a_text_that_is_no_price_list_ends_with_a_sentence(self, text: str) -> None:
        assert len(faults(text)) == 1

    def test_a_huge_file_is_refused_before_it_is_read(self) -> None:
        assert "larger than" in faults("#" * 600_000)[0]


class TestDifference:
    def test_says_each_value_before_and_after(self) -> None:
        (change,) = changes(TEAM, dearer(TEAM))
        assert str(change) == "~ charges.base.price.unit_amount: 190000 → 210000"

    def test_of_a_charge_that_comes_and_one_that_goes(self) -> None:
        without = replace(TEAM, charges=TEAM.charges[:2])
        gone = [str(change) for change in changes(TEAM, without)]
        assert "- charges.storage.price.unit_amount: 200" in gone
        assert all(line.startswith("- charges.storage.") for line in gone)
        come = [str(change) for change in changes(without, TEAM)]
        assert "+ charges.storage.price.unit_amount: 200" in come

    def test_sees_another_order_and_no_other_spelling(self) -> None:
        turned = replace(TEAM, charges=tuple(reversed(TEAM.charges)))
        assert [change.path for change in changes(TEAM, turned)] == ["charges"]
        assert changes(TEAM, replace(TEAM, position=7)) == []

    @given(plans(), plans())
    def test_is_empty_exactly_when_the_terms_are_equal(
        self, one: PlanTerms, other: PlanTerms
    ) -> None:
        assert changes(one, one) == []
        beside = replace(
            other, plan_code=one.plan_code, currency=one.currency, position=one.position
        )
        assert (changes(one, beside) == []) == (one == beside)
