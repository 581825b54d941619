"""Coupons on a bill: order, shares that add up, terms in time, and units off the top."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices import discounts
from invoices.discounts import KINDS, Coupon, Discount, Line, Redeemed, Repriced

DAY = date(2026, 3, 1)
MINOR = st.integers(0, 10**12)


def coupon(kind: str, value: str | int, **terms: object) -> Coupon:
    field = {
        "percentage": "percent",
        "amount": "amount_minor",
        "free_units": "units",
        "months_free": "months",
    }[kind]
    typed = int(value) if field in ("amount_minor", "months") else Decimal(value)
    if kind == "months_free":
        terms = {"duration": "months", **terms}
    return Coupon(
        code=f"{kind.upper()}-{value}",
        name_ko="쿠폰",
        name_en="Coupon",
        kind=kind,
        **{field: typed, **terms},  # type: ignore[arg-type]
    )


def redeemed(terms: Coupon, number: int = 1, **more: object) -> Redeemed:
    return Redeemed(
        redemption_id=UUID(int=number),
        coupon=terms,
        **{"starts_on": DAY, **more},  # type: ignore[arg-type]
    )


def line(position: int, amount_minor: int, **more: object) -> Line:
    values: dict[str, object] = {"plan": "team", "charge": f"charge_{position}", "starts_on": DAY}
    return Line(position=position, amount_minor=amount_minor, **values | more)  # type: ignore[arg-type]


def take(
    lines: Sequence[Line], *coupons: Coupon | Redeemed, bill_on: date = DAY, currency: str = "KRW"
) -> list[Discount]:
    return discounts.discount(
        redeemed=[
            each if isinstance(each, Redeemed) else redeemed(each, number)
            for number, each in enumerate(coupons, start=1)
        ],
        lines=lines,
        bill_on=bill_on,
        currency=currency,
    )


def amounts(found: Sequence[Discount]) -> list[int]:
    return [each.amount_minor for each in found]


class TestACoupon:
    def test_takes_a_percentage_off_the_sum_and_rounds_once(self) -> None:
        # 15 % of 90 is 13.5; a line at a time it would be three times 4.5, rounded to 15.
        found = take([line(n, 30) for n in (1, 2, 3)], coupon("percentage", "15"))
        assert amounts(found) == [14]
        assert [share["amount_minor"] for share in found[0].evidence["lines"]] == [5, 5, 4]

    def test_takes_an_amount_off_no_further_than_nothing(self) -> None:
        assert amounts(take([line(1, 700), line(2, 200)], coupon("amount", 1000))) == [900]

    def test_is_not_used_where_there_is_nothing_to_take(self) -> None:
        assert take([line(1, 0)], coupon("amount", 1000)) == []

    def test_touches_only_the_charges_and_plans_in_its_scope(self) -> None:
        lines = [line(1, 1000, charge="base"), line(2, 500, charge="seats")]
        found = take(lines, coupon("percentage", "50", charges=("seats",)))
        assert amounts(found) == [250]
        assert take(lines, coupon("percentage", "50", plans=("business",))) == []

    def test_of_another_currency_takes_nothing(self) -> None:
        assert take([line(1, 1000)], coupon("amount", 100, currency="USD")) == []

    def test_takes_effect_by_priority_and_sees_what_is_left(self) -> None:
        lines = [line(1, 10000)]
        percent, amount = coupon("percentage", "20"), coupon("amount", 500)
        assert amounts(take(lines, amount, percent)) == [2000, 500]
        first = coupon("amount", 500, priority=1)
        assert amounts(take(lines, percent, first)) == [500, 1900]

    def test_leaves_it_to_the_longest_redeemed_at_one_priority(self) -> None:
        later = redeemed(coupon("amount", 700), 1)
        earlier = redeemed(coupon("amount", 600), 2, starts_on=date(2026, 2, 1))
        found = take([line(1, 1000)], later, earlier)
        assert [each.redeemed for each in found] == [earlier, later]
        assert amounts(found) == [600, 400]


class TestItsTime:
    def test_once_is_the_first_bill_it_was_used_on(self) -> None:
        once = redeemed(coupon("percentage", "10"))
        assert once.good_on(DAY)
        used = redeemed(coupon("percentage", "10"), used_from=DAY)
        assert not used.good_on(date(2026, 4, 1))

    def test_months_are_counted_from_the_first_bill(self) -> None:
        three = coupon("percentage", "10", duration="months", months=3)
        used = redeemed(three, used_from=date(2026, 3, 31))
        good = [date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31), date(2026, 6, 29)]
        assert all(used.good_on(day) for day in good)
        assert not used.good_on(date(2026, 6, 30))

    def test_for_ever_ends_only_where_it_is_released(self) -> None:
        ever = coupon("percentage", "10", duration="forever")
        assert redeemed(ever, used_from=DAY).good_on(date(2099, 1, 1))
        released = redeemed(ever, used_from=DAY, ends_on=date(2026, 5, 1))
        assert released.good_on(date(2026, 4, 30))
        assert not released.good_on(date(2026, 5, 1))

    def test_a_bill_of_before_it_was_redeemed_is_left_alone(self) -> None:
        assert take([line(1, 1000)], coupon("amount", 100), bill_on=date(2026, 2, 28)) == []


class TestMonthsFree:
    def test_begin_with_the_first_period_after_and_free_what_recurs(self) -> None:
        lines = [
            line(1, 30000),
            line(2, 4000, starts_on=date(2026, 2, 1)),  # usage of the month before
            line(3, 9000, recurring=False),  # a set-up fee
        ]
        found = take(lines, coupon("months_free", 2))
        assert amounts(found) == [30000]
        assert (found[0].used_from, found[0].evidence["until"]) == (DAY, "2026-05-01")

    def test_free_the_usage_of_a_free_month_that_is_billed_after_it(self) -> None:
        two = redeemed(coupon("months_free", 2), used_from=DAY)
        lines = [
            line(1, 30000, starts_on=date(2026, 5, 1)),
            line(2, 4000, starts_on=date(2026, 4, 1)),
        ]
        assert amounts(take(lines, two, bill_on=date(2026, 5, 1))) == [4000]

    def test_leave_the_month_after_alone(self) -> None:
        one = redeemed(coupon("months_free", 1), used_from=DAY)
        lines = [line(1, 30000, starts_on=date(2026, 4, 1))]
        assert take(lines, one, bill_on=date(2026, 4, 1)) == []


class TestFreeUnits:
    @staticmethod
    def graduated(position: int, quantity: int, *, held: bool = True) -> Line:
        """Ten at 100, the rest at 50."""

        def cost(units: int) -> int:
            return min(units, 10) * 100 + max(0, units - 10) * 50

        def without(free: Decimal) -> Repriced:
            taken = min(int(free), quantity)
            return Repriced(cost(quantity - taken), Decimal(taken), [])

        return line(position, cost(quantity), charge="calls", held=held, without=without)

    def test_come_off_the_dearest_end_of_nothing_but_the_top(self) -> None:
        free = coupon("free_units", 5, charges=("calls",))
        assert amounts(take([self.graduated(1, 12)], free)) == [2 * 50 + 3 * 100]

    def test_used_by_the_piece_are_given_once_over_all_stretches(self) -> None:
        lines = [self.graduated(n, q, held=False) for n, q in ((1, 3), (2, 4))]
        free = coupon("free_units", 5, charges=("calls",))
        (found,) = take(lines, free)
        assert [share["units"] for share in found.evidence["lines"]] == ["3", "2"]

    def test_of_what_is_held_are_told_apart_for_they_are_missing_nowhere_else(self) -> None:
        lines = [self.graduated(1, 3), self.graduated(2, 4, held=False)]
        (found,) = take(lines, coupon("free_units", 5, charges=("calls",)))
        told = [(share["units"], share.get("held")) for share in found.evidence["lines"]]
        assert told == [("3", True), ("4", None)]

    def test_held_over_time_are_given_to_each_stretch(self) -> None:
        lines = [self.graduated(n, 8) for n in (1, 2)]
        free = coupon("free_units", 5, charges=("calls",))
        (found,) = take(lines, free)
        assert [share["units"] for share in found.evidence["lines"]] == ["5", "5"]

    def test_never_cost_anything_where_fewer_are_dearer(self) -> None:
        dearer = line(1, 100, charge="calls", without=lambda _: Repriced(180, Decimal(1), []))
        assert take([dearer], coupon("free_units", 1, charges=("calls",))) == []


class TestSharesAndEvidence:
    @given(st.lists(MINOR, min_size=1, max_size=8), st.data())
    def test_shares_add_up_and_exceed_no_base(self, bases: list[int], data: st.DataObject) -> None:
        amount = data.draw(st.integers(0, sum(bases)))
        shares = discounts.deal_out(amount, bases)
        assert sum(shares) == (amount if sum(bases) else 0)
        assert all(0 <= share <= base for share, base in zip(shares, bases, strict=True))
        whole = sum(bases)
        assert all(
            abs(share * whole - amount * base) < whole
            for share, base in zip(shares, bases, strict=True)
            if whole
        )

    @given(
        st.lists(MINOR, min_size=1, max_size=6),
        st.lists(
            st.tuples(st.sampled_from(KINDS), st.integers(1, 100), st.integers(0, 2)), max_size=5
        ),
    )
    def test_no_line_falls_below_zero_and_each_discount_follows_from_its_evidence(
        self, minors: list[int], terms: list[tuple[str, int, int]]
    ) -> None:
        def without(amount: int) -> Line:
            return line(amount, minors[amount - 1], without=lambda free: Repriced(amount, free, []))

        found = take(
            [without(n) for n in range(1, len(minors) + 1)],
            *(coupon(kind, value, priority=rank) for kind, value, rank in terms),
        )
        for each in found:
            assert discounts.recompute(each.evidence) == -each.amount_minor < 0
            assert each.amount_minor == sum(x["amount_minor"] for x in each.evidence["lines"])
        off = dict.fromkeys(range(1, len(minors) + 1), 0)
        for share in (share for each in found for share in each.evidence["lines"]):
            off[share["line"]] += share["amount_minor"]
        assert all(off[n] <= minor for n, minor in enumerate(minors, start=1))

    def test_a_changed_share_is_found(self) -> None:
        (found,) = take([line(1, 1000), line(2, 500)], coupon("percentage", "10"))
        found.evidence["lines"][0]["amount_minor"] += 1
        with pytest.raises(ValueError, match=r"should be \[100, 50\]"):
            discounts.recompute(found.evidence)

    @given(st.integers(1, 10**9), st.data())
    def test_what_is_given_back_was_paid(self, charged: int, data: st.DataObject) -> None:
        off = data.draw(st.integers(0, charged))
        credited = data.draw(st.integers(0, charged))
        back = discounts.taken_back(
            charged_minor=charged, discount_minor=off, credited_minor=credited
        )
        assert 0 <= credited - back <= charged - off
        assert (
            discounts.taken_back(charged_minor=charged, discount_minor=off, credited_minor=charged)
            == off
        )
