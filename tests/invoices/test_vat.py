"""VAT on a bill: on top of prices or within them, by charge and by customer, to the last won."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.money import Rounding
from invoices import vat
from invoices.charges import Charge, ChargeUnsound, check
from invoices.composing import Composed
from invoices.discounts import Coupon
from invoices.vat import EXEMPT, TAXABLE, ZERO_RATED, Part, Terms
from tests.invoices import bills
from tests.invoices.bills import charge

KOREA = Terms(percent=10)
AMOUNTS = st.integers(min_value=-(10**9), max_value=10**9)
PARTS = st.builds(
    Part,
    amount_minor=AMOUNTS,
    treatment=st.sampled_from([TAXABLE, ZERO_RATED, EXEMPT]),
).flatmap(
    lambda part: st.builds(
        Part,
        amount_minor=st.just(part.amount_minor),
        treatment=st.just(part.treatment),
        included=st.booleans() if part.treatment == TAXABLE else st.just(False),
    )
)


def compose(*charges: Charge, terms: Terms = KOREA, **more: Any) -> Composed:
    return bills.compose(list(charges), currency="KRW", terms=terms, **more)


class TestAPriceThatIncludesVat:
    def test_is_what_the_customer_pays(self) -> None:
        # The split that a Korean gateway prints for 15,000 won.
        bill = compose(charge("base", "15000", vat_included=True))
        assert (bill.subtotal_minor, bill.tax_minor) == (13_636, 1_364)

    def test_says_what_was_taken_out_of_it(self) -> None:
        (line,) = compose(charge("base", "15000", vat_included=True)).lines
        assert line.amount_minor == 13_636
        assert line.evidence["vat"] == {
            "supplies": {"taxable": 13_636},
            "included": [13_636, 1_364],
        }

    def test_is_taxed_once_on_the_sum_of_all_such_prices(self) -> None:
        charges = [charge(f"c{n}", "1004", vat_included=True) for n in range(7)]
        bill = compose(*charges)
        total = 7 * 1004
        net = int((Decimal(total) / Decimal("1.1")).quantize(Decimal(1), ROUND_HALF_UP))
        assert bill.tax_minor == total - net
        assert sum(bill.taxes.lines_minor) == bill.tax_minor
        assert bill.subtotal_minor + bill.tax_minor == total

    def test_follows_the_named_rounding(self) -> None:
        up = Terms(percent=10, included_rounding=Rounding.UP)
        down = Terms(percent=10, included_rounding=Rounding.DOWN)
        one = charge("base", "10000", vat_included=True)
        assert compose(one, terms=up).tax_minor == 909
        assert compose(one, terms=down).tax_minor == 910

    def test_is_all_supply_value_where_nothing_is_taxed(self) -> None:
        for treatment in (ZERO_RATED, EXEMPT):
            bill = compose(
                charge("base", "15000", vat_included=True), terms=Terms(treatment=treatment)
            )
            assert (bill.subtotal_minor, bill.tax_minor) == (15_000, 0)

    def test_leaves_nothing_owed_when_credit_covers_it(self) -> None:
        bill = compose(charge("base", "15000", vat_included=True), credit=50_000)
        assert (bill.subtotal_minor, bill.tax_minor) == (0, 0)
        assert [line.amount_minor for line in bill.lines] == [13_636, -13_636]

    def test_bears_tax_on_what_credit_leaves(self) -> None:
        bill = compose(charge("base", "11000", vat_included=True), credit=4_000)
        assert (bill.subtotal_minor, bill.tax_minor) == (6_000, 600)

    def test_that_is_too_small_for_any_tax_is_read_back_as_one(self) -> None:
        (line,) = compose(charge("base", "1", vat_included=True)).lines
        again = vat.stated(amount_minor=1, evidence=line.evidence, terms=KOREA)
        assert (again.included_minor, again.on_top_minor) == (1, 0)

    def test_stands_beside_one_that_excludes_it(self) -> None:
        bill = compose(charge("in", "15000", vat_included=True), charge("out", "19999"))
        assert bill.subtotal_minor == 13_636 + 19_999
        assert bill.taxes.lines_minor == (1_364, 1_999)


class TestADiscount:
    def test_is_a_part_of_the_price_as_it_is_written(self) -> None:
        bill = compose(
            charge("base", "15000", vat_included=True), coupons=[bills_coupon(Decimal(10))]
        )
        assert bill.subtotal_minor + bill.tax_minor == 13_500

    def test_over_several_treatments_is_taken_off_each(self) -> None:
        bill = compose(
            charge("book", "10000", vat=EXEMPT),
            charge("base", "11000", vat_included=True),
            charge("extra", "10000"),
            coupons=[bills_coupon(Decimal(50))],
        )
        found = {
            name: sum(
                line.evidence.get("vat", {}).get("supplies", {}).get(name, 0) for line in bill.lines
            )
            for name in (EXEMPT,)
        }
        assert found == {EXEMPT: 5_000}
        assert (bill.subtotal_minor, bill.tax_minor) == (15_000, 1_000)


class TestACharge:
    def test_that_is_exempt_bears_no_tax(self) -> None:
        bill = compose(charge("book", "10000", vat=EXEMPT), charge("base", "10000"))
        assert bill.taxes.lines_minor == (0, 1_000)

    def test_that_is_exempt_stays_so_for_a_zero_rated_customer(self) -> None:
        bill = compose(charge("book", "10000", vat=EXEMPT), terms=Terms(treatment=ZERO_RATED))
        assert bill.lines[0].evidence["vat"] == {"supplies": {"exempt": 10_000}}

    def test_of_the_usual_kind_says_nothing_of_vat(self) -> None:
        bill = compose(charge("base", "10000"), credit=500)
        assert all("vat" not in line.evidence for line in bill.lines)

    def test_takes_credit_in_proportion_to_its_treatment(self) -> None:
        bill = compose(charge("book", "10000", vat=EXEMPT), charge("base", "30000"), credit=20_000)
        (prepaid,) = [line for line in bill.lines if line.kind == "prepaid"]
        assert prepaid.evidence["vat"]["supplies"] == {"exempt": -5_000, "taxable": -15_000}
        assert bill.tax_minor == 1_500

    @pytest.mark.parametrize("wrong", [{"vat": "by word"}, {"vat": EXEMPT, "vat_included": True}])
    def test_contradicts_itself_by_an_unknown_or_untaxed_inclusion(
        self, wrong: dict[str, Any]
    ) -> None:
        with pytest.raises(ChargeUnsound):
            check(charge("base", "10", **wrong))


class TestLines:
    @given(
        lines=st.lists(st.lists(PARTS, min_size=1, max_size=3), max_size=8),
        percent=st.sampled_from([0, 10, 19]),
        treatment=st.sampled_from([TAXABLE, ZERO_RATED, EXEMPT]),
        rounding=st.sampled_from(Rounding),
    )
    def test_add_up_to_the_tax_and_to_the_prices(
        self, lines: list[list[Part]], percent: int, treatment: str, rounding: Rounding
    ) -> None:
        terms = Terms(
            treatment=treatment,
            percent=percent if treatment == TAXABLE else 0,
            rounding=rounding,
            included_rounding=rounding,
        )
        supplies = vat.supplies(lines=lines, terms=terms)
        found = vat.taxes(lines=supplies, terms=terms)
        assert sum(found.lines_minor) == found.total_minor
        for parts, supply in zip(lines, supplies, strict=True):
            assert supply.amount_minor + supply.included_tax_minor == sum(
                part.amount_minor for part in parts
            )
        subtotal = sum(supply.amount_minor for supply in supplies)
        if subtotal >= 0:
            assert subtotal + found.total_minor >= 0

    @given(
        lines=st.lists(st.lists(PARTS, min_size=1, max_size=2), min_size=1, max_size=6),
        share=st.integers(min_value=0, max_value=100),
    )
    def test_are_prepaid_without_a_won_left_over(self, lines: list[list[Part]], share: int) -> None:
        supplies = vat.supplies(lines=lines, terms=KOREA)
        subtotal = sum(supply.amount_minor for supply in supplies)
        amounts = [-(subtotal * share // 100)] if subtotal > 0 else [-subtotal]
        settled = vat.settled(lines=supplies, amounts_minor=amounts)
        assert [each.amount_minor for each in settled] == amounts
        found = vat.taxes(lines=[*supplies, *settled], terms=KOREA)
        assert sum(found.lines_minor) == found.total_minor
        assert subtotal + amounts[0] + found.total_minor >= 0

    @given(lines=st.lists(st.lists(PARTS, min_size=1, max_size=3), min_size=1, max_size=6))
    def test_are_read_back_from_their_evidence_as_they_were(self, lines: list[list[Part]]) -> None:
        supplies = vat.supplies(lines=lines, terms=KOREA)
        again = [
            vat.stated(
                amount_minor=supply.amount_minor, evidence=supply.evidence(KOREA), terms=KOREA
            )
            for supply in supplies
        ]
        before, after = vat.taxes(lines=supplies, terms=KOREA), vat.taxes(lines=again, terms=KOREA)
        assert before == after
        assert vat.of_bill(lines=supplies) == vat.of_bill(lines=again)


def bills_coupon(percent: Decimal) -> Any:
    return Coupon(code="SALE", name_ko="할인", name_en="Sale", kind="percentage", percent=percent)
