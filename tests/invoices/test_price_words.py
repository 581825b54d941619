"""Prices in words: each model and kind, in both languages, exact to the last decimal."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given

from app.base.money import written
from invoices import billing_days, price_words
from invoices.periods import MONTHLY, QUARTERLY, YEARLY, Interval
from invoices.plan_terms import PlanTerms
from tests.invoices.plans import EVERYTHING, TEAM, plans

SAID = {
    "base": ("연 ₩1,200,000", "₩1,200,000 a year"),
    "setup": ("₩300,000 (시작할 때 한 번)", "₩300,000, once, at the start"),
    "visit": ("₩150,000 (추가할 때 한 번)", "₩150,000, once, when added"),
    "phone": ("1회선당 분기 ₩50,000", "₩50,000 a quarter for each line"),
    "seats": (
        "5명 포함, 초과 월 구간 요금 (구간마다 그 구간의 가격)",
        "5 seats included, then by tiers a month (each part at the price of its tier)",
    ),
    "storage": (
        "월 구간 요금 (도달한 구간의 가격을 전체에 적용)",
        "by tiers a month (all of it at the price of the tier reached)",
    ),
    "files": (
        "1,000개 묶음마다 ₩700, 최대 2주마다 ₩90,000",
        "₩700 for every 1,000 files begun, at most ₩90,000 every 2 weeks",
    ),
    "steps": (
        "월 구간 요금 (도달한 구간의 정액)",
        "by tiers a month (one amount for the tier reached)",
    ),
    "fee": (
        "금액의 2.5% + 거래 1건당 ₩100, 최소 월 ₩1,000",
        "2.5% of the amount plus ₩100 for each transaction, at least ₩1,000 a month",
    ),
    "least": ("월 최소 ₩500,000", "at least ₩500,000 a month"),
}


@pytest.mark.parametrize("charge", EVERYTHING.charges, ids=lambda charge: charge.code)
def test_every_kind_of_charge_is_said_in_both_languages(charge: object) -> None:
    code = charge.code  # type: ignore[attr-defined]
    said = [price_words.charge(charge, "KRW", each).price for each in ("ko", "en")]  # type: ignore[arg-type]
    assert tuple(said) == SAID[code]


def test_tiers_say_how_far_they_reach_and_what_they_cost() -> None:
    seats = EVERYTHING.charges[4]
    rows = [
        [(tier.reach, tier.price) for tier in price_words.charge(seats, "KRW", language).tiers]
        for language in ("ko", "en")
    ]
    assert rows == [
        [
            ("100명까지", "1명당 ₩9,000"),
            ("100명 초과 500명까지", "1명당 ₩7,000.5 + 정액 ₩10,000"),
            ("500명 초과", "1명당 ₩5,000"),
        ],
        [
            ("up to 100 seats", "₩9,000 for each seat"),
            ("above 100 up to 500 seats", "₩7,000.5 for each seat + ₩10,000 flat"),
            ("above 500 seats", "₩5,000 for each seat"),
        ],
    ]


class TestHeadline:
    @pytest.mark.parametrize(
        ("charges", "sentence"),
        [
            (TEAM.charges, "₩190,000 a month"),
            ((replace(TEAM.charges[0], code="twice"), *TEAM.charges), "₩380,000 a month"),
            (TEAM.charges[1:], "By use"),
            ((EVERYTHING.charges[4], EVERYTHING.charges[9]), "at least ₩500,000 a month"),
            ((replace(EVERYTHING.charges[3], optional=False),), "₩50,000 a quarter for each line"),
        ],
    )
    def test_is_what_is_sure_to_be_paid(self, charges: tuple[object, ...], sentence: str) -> None:
        found = price_words.headline(charges, "KRW", "en")  # type: ignore[arg-type]
        assert found.sentence == sentence

    def test_leaves_out_an_interval_that_it_said_just_before(self) -> None:
        words = price_words.plan(TEAM, "en")
        assert [text for text, _ in price_words.points(words.points)] == [
            "10 seats included, then ₩15,000 for each seat",
            "100 GB included, then ₩200 for each GB",
        ]


@given(plans())
def test_any_plan_can_be_said(terms: PlanTerms) -> None:
    for language in ("ko", "en"):
        words = price_words.plan(terms, language)
        said = {each.code for each in (*words.points, *words.extras)} | set(words.headline.charges)
        assert said == {charge.code for charge in terms.charges}
        assert words.headline.sentence.strip()
        assert len(price_words.points(words.points)) == len(words.points)


@pytest.mark.parametrize(
    ("units", "currency", "text"),
    [
        ("190000", "KRW", "₩190,000"),
        ("0.000000000001", "USD", "$0.000000000001"),
        ("9" * 26 + ".1", "KRW", "₩99" + ",999" * 8 + ".1"),
        ("-7.5", "USD", "\N{MINUS SIGN}$7.50"),
        ("1.500000000000", "BHD", "1.500 BHD"),
    ],
)
def test_money_keeps_every_decimal_that_a_price_has(units: str, currency: str, text: str) -> None:
    assert written(Decimal(units), currency) == text


@pytest.mark.parametrize(
    ("interval", "anchor", "ko", "en"),
    [
        (MONTHLY, date(2026, 3, 10), "매월 10일", "each month on day 10"),
        (
            MONTHLY,
            date(2026, 3, 31),
            "매월 31일 (그 날이 없는 달은 말일)",
            "each month on day 31 (the last day of a shorter month)",
        ),
        (QUARTERLY, date(2026, 3, 1), "3개월마다 1일", "every 3 months on day 1"),
        (YEARLY, date(2026, 3, 10), "매년 3월 10일", "each year on 10 March"),
        (Interval(2, "week"), date(2026, 3, 10), "2주마다 화요일", "every 2 weeks on Tuesday"),
    ],
)
def test_billing_days_are_said(interval: Interval, anchor: date, ko: str, en: str) -> None:
    assert billing_days.words([interval, interval], anchor, "ko") == ko
    assert billing_days.words([interval], anchor, "en") == en


@pytest.mark.parametrize(
    ("many", "one"),
    [("seats", "seat"), ("GB", "GB"), ("entries", "entry"), ("boxes", "box"), ("bus", "bus")],
)
def test_one_of_many_is_said_right(many: str, one: str) -> None:
    assert price_words.singular(many) == one


class TestVat:
    def test_is_said_where_a_price_includes_it_or_bears_none(self) -> None:
        base = TEAM.charges[0]
        for fields, ko, en in (
            ({"vat_included": True}, "(부가세 포함)", "(VAT included)"),
            ({"vat": "exempt"}, "(면세)", "(VAT exempt)"),
        ):
            one = replace(base, **fields)
            assert price_words.charge(one, "KRW", "ko").line.endswith(ko)
            assert price_words.headline([one], "KRW", "en").sentence.endswith(en)
        assert "VAT" not in price_words.charge(base, "KRW", "en").line
