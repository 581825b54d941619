"""Figures as accountants read them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from invoices.documents import figures


class TestMoney:
    def test_in_won_has_no_decimals(self):
        assert figures.money(1_234_000, "KRW") == "₩1,234,000"

    def test_below_zero_has_a_true_minus(self):
        assert figures.money(-1_234, "KRW") == "−₩1,234"
        assert figures.figure(-30_000) == "−30,000"

    def test_in_dollars_has_cents(self):
        assert figures.money(1_250, "USD") == "$12.50"
        assert figures.figure(Decimal(1_250), "USD") == "12.50"

    def test_keeps_a_price_below_one_won(self):
        assert figures.figure(Decimal("0.5")) == "0.5"
        assert figures.figure(Decimal("9193.50")) == "9,193.5"
        assert figures.figure(Decimal("0.125"), "USD") == "0.00125"


class TestAQuantity:
    @pytest.mark.parametrize(
        ("value", "printed"),
        [("1", "1"), ("237.50", "237.5"), ("1E+3", "1,000"), ("0.000", "0"), ("-2", "−2")],
    )
    def test_has_no_trailing_zeros(self, value, printed):
        assert figures.quantity(Decimal(value)) == printed


class TestDigitCells:
    def test_are_filled_from_the_right(self):
        assert figures.cells(60_048, 10) == [""] * 5 + list("60048")

    def test_hold_zero(self):
        assert figures.cells(0, 3) == ["", "", "0"]

    def test_put_the_minus_before_the_first_digit(self):
        assert figures.cells(-42, 5) == ["", "", "−", "4", "2"]

    def test_give_way_to_one_piece_rather_than_lose_a_digit(self):
        assert figures.cells(100_000_000_000, 11) == []
        assert len(figures.cells(99_999_999_999, 11)) == 11


class TestSpelledWon:
    @pytest.mark.parametrize(
        ("amount", "spelled"),
        [
            (0, "일금 영원정"),
            (1_234_000, "일금 일백이십삼만사천원정"),
            (660_535, "일금 육십육만오백삼십오원정"),
            (100_000_000, "일금 일억원정"),
            (10_000_100_001, "일금 일백억일십만일원정"),
            (-11_000, "일금 마이너스 일만일천원정"),
        ],
    )
    def test_reads_as_receipts_do(self, amount, spelled):
        assert figures.spelled_won(amount) == spelled


class TestDatesAndNumbers:
    def test_a_period_shows_its_first_and_last_day(self):
        assert figures.span(date(2026, 11, 1), date(2026, 12, 1)) == "2026-11-01 ~ 2026-11-30"

    def test_a_day_follows_the_language(self):
        assert figures.day(date(2026, 12, 1), "ko") == "2026년 12월 1일"
        assert figures.day(date(2026, 12, 1), "en") == "1 Dec 2026"

    def test_a_korean_business_number_gets_its_hyphens_and_a_foreign_one_stays(self):
        assert figures.registration("1248100998") == "124-81-00998"
        assert figures.registration("DE 123456789", "DE") == "DE 123456789"
        assert figures.registration("1234567890", "US") == "1234567890"
