"""Bills with coupons and credits that other billing engines publish, composed by ours."""

from __future__ import annotations

from decimal import Decimal

import pytest

from app.base.money import Rounding
from invoices import vat
from invoices.composing import Composed
from invoices.discounts import Coupon
from invoices.pricing import Pricing
from tests.invoices.bills import charge, compose, of_kind, usage


def percent(value: str, *charges: str, priority: int = 100) -> Coupon:
    return Coupon(
        code=f"P{value}-{priority}",
        name_ko="할인",
        name_en="Percent",
        kind="percentage",
        percent=Decimal(value),
        charges=charges,
        priority=priority,
    )


def amount(minor: int, *charges: str, priority: int = 100) -> Coupon:
    return Coupon(
        code=f"A{minor}-{priority}",
        name_ko="할인",
        name_en="Amount",
        kind="amount",
        amount_minor=minor,
        currency="USD",
        charges=charges,
        priority=priority,
    )


def units(value: str, *charges: str) -> Coupon:
    return Coupon(
        code=f"U{value}",
        name_ko="무료",
        name_en="Free units",
        kind="free_units",
        units=Decimal(value),
        charges=charges,
    )


def tax_minor(composed: Composed, rate_percent: int) -> int:
    return vat.taxes_on_top(
        amounts_minor=[line.amount_minor for line in composed.lines],
        rate_percent=rate_percent,
        rounding=Rounding.HALF_UP,
    ).total_minor


class TestLago:
    """https://getlago.com/changelog/nvoice-calculation-method prints one bill by two methods.

    Ours is the first, 33: coupons and credits before tax. The second taxes 70 and takes 10 and 30
    off 77, which leaves 37. Lago itself put coupons before tax again later
    (https://getlago.com/changelog/coupons-before-tax), as VAT asks for: a discount at the time of
    supply is no part of the taxable amount. Credits stay before tax here, as they are at Stripe:
    they are a price paid ahead for the supply.
    """

    def test_takes_coupons_and_credits_off_before_tax(self) -> None:
        bill = compose(
            [charge("subscriptions", "50"), charge("usage", "20")],
            coupons=[amount(1000)],
            credit=3000,
        )
        assert bill.subtotal_minor == 3000
        assert tax_minor(bill, 10) == 300
        assert bill.subtotal_minor + tax_minor(bill, 10) == 3300

    def test_tops_up_to_a_commitment_before_any_discount(self) -> None:
        # https://docs.getlago.com/guide/plans/commitment: before coupons and credits, before tax.
        # The figures are of https://getlago.canny.io/feature-requests/p/set-minimum-spend-for-subscriptions
        each = Pricing(model="per_unit", unit_amount=Decimal(10))
        charges = [
            charge("fee", "50", timing="arrears"),
            (usage("calls", each), "3"),
            charge("minimum", "100", kind="commitment", timing="arrears"),
        ]
        assert of_kind(compose(charges), "commitment") == [2000]
        discounted = compose(charges, coupons=[percent("10")], credit=1500)
        assert of_kind(discounted, "commitment") == [2000]
        assert of_kind(discounted, "discount") == [-1000]
        assert discounted.subtotal_minor == 10000 - 1000 - 1500


class TestStripe:
    """https://docs.stripe.com/api/coupons/object, on `amount_off`."""

    @pytest.mark.parametrize(("subtotal", "total"), [("100", 0), ("300", 10000)])
    def test_takes_an_amount_off_but_no_further_than_zero(self, subtotal: str, total: int) -> None:
        assert compose([charge("fee", subtotal)], coupons=[amount(20000)]).subtotal_minor == total


class TestKillBill:
    """https://docs.killbill.io/latest/invoice_examples.html, a credit and an external charge."""

    def test_a_credit_of_20_leaves_80_of_100(self) -> None:
        bill = compose([charge("external", "100")], credit=2000)
        assert bill.subtotal_minor == 8000
        assert of_kind(bill, "prepaid") == [-2000]

    def test_a_credit_is_used_no_further_than_the_bill(self) -> None:
        bill = compose([charge("external", "100")], credit=12000)
        assert (bill.subtotal_minor, of_kind(bill, "prepaid")) == (0, [-10000])


class TestFlexprice:
    """https://docs.flexprice.io/docs/invoices/calculation: coupons on lines, on the bill, credits.

    Its tax is taken before credits, so only what is owed before tax is compared.
    """

    def test_discounts_a_line_then_the_bill_then_spends_credits(self) -> None:
        bill = compose(
            [charge("api_calls", "80"), charge("fee", "20")],
            coupons=[percent("25", "api_calls", priority=1), amount(1000, priority=2)],
            credit=500,
        )
        assert of_kind(bill, "discount") == [-2000, -1000]
        assert bill.subtotal_minor == 6500

    def test_two_coupons_of_10_percent_make_19(self) -> None:
        bill = compose([charge("fee", "100")], coupons=[percent("10"), percent("10")])
        assert bill.subtotal_minor == 8100

    def test_coupons_beyond_the_subtotal_leave_nothing_and_carry_nothing(self) -> None:
        bill = compose([charge("fee", "100")], coupons=[amount(8000), amount(8000, priority=101)])
        assert of_kind(bill, "discount") == [-8000, -2000]
        assert (bill.subtotal_minor, bill.carried_minor) == (0, 0)


class TestOpenMeter:
    """https://openmeter.io/docs/billing/invoicing/discounts: 500 units off 300, 250 and 100.

    There the three parts are bills of one period, here they are stretches of one bill.
    """

    def test_a_usage_discount_spreads_over_parts_until_it_is_used_up(self) -> None:
        each = Pricing(model="per_unit", unit_amount=Decimal(1))
        calls = usage("calls", each)
        bill = compose(
            [(calls, "300"), (calls, "250"), (calls, "100")], coupons=[units("500", "calls")]
        )
        (line,) = [line for line in bill.lines if line.kind == "discount"]
        left = {1: 300, 2: 250, 3: 100}
        for share in line.evidence["lines"]:
            left[share["line"]] -= int(share["units"])
        assert left == {1: 0, 2: 50, 3: 100}
        assert bill.subtotal_minor == 15000
