"""Money, time and numbers as people read them, in both languages."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from importlib import import_module
from pkgutil import walk_packages

import pytest
from flask import Flask
from wtforms import Form, IntegerField

import app.base
import invoices
import tenants
from app.base.money import Money
from app.base.states import Machine
from app.web import format as shown
from app.web.chips import chip_face, known
from app.web.i18n import force_locale
from app.web.look import STATES
from app.web.parts import chart_bars, field_errors, field_spec, url_with

FRIDAY = datetime(2026, 11, 20, 5, 5, tzinfo=UTC)


class TestMoney:
    @pytest.mark.parametrize(
        ("amount", "currency", "text"),
        [
            (1234000, "KRW", "₩1,234,000"),
            (-500, "KRW", "−₩500"),
            (0, "KRW", "₩0"),
            (1250, "USD", "$12.50"),
            (Money(5, "USD"), "KRW", "$0.05"),
            (None, "KRW", "–"),
        ],
    )
    def test_shows_its_sign_and_its_grouping(
        self, amount: int | Money | None, currency: str, text: str
    ) -> None:
        assert shown.money(amount, currency) == text


class TestNumbers:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1284, "1,284"),
            (-3, "−3"),
            (Decimal("1204.5"), "1,204.5"),
            (Decimal("12.000"), "12"),
            (Decimal("1E+3"), "1,000"),
            (None, "–"),
        ],
    )
    def test_are_grouped_exact_and_signed(self, value: int | Decimal | None, text: str) -> None:
        assert shown.number(value) == text

    @pytest.mark.parametrize(
        ("size", "text"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (1234567890, "1.2 GB"),
            (250_000_000, "250 MB"),
            (5 * 10**15, "5,000 TB"),
        ],
    )
    def test_of_bytes_are_decimal(self, size: int, text: str) -> None:
        assert shown.filesize(size) == text

    def test_of_businesses_and_phones_are_written_as_people_do(self) -> None:
        assert shown.brn("1234567891") == "123-45-67891"
        assert shown.brn("FR40303265045") == "FR40303265045"
        assert shown.phone("+821012345678") == "010-1234-5678"
        assert shown.phone("+14155550132") == "+1 415-555-0132"
        assert shown.phone("ask for me") == "ask for me"


class TestTime:
    def test_is_told_in_seoul_with_its_weekday(self, look_app: Flask) -> None:
        with look_app.test_request_context(headers={"Accept-Language": "ko"}):
            assert shown.moment(FRIDAY) == "2026-11-20 (금) 14:05"
            assert shown.day(date(2026, 11, 22)) == "2026-11-22 (일)"
            assert shown.moment(datetime(2026, 11, 20, 16, 0, tzinfo=UTC)).startswith("2026-11-21")
        with look_app.test_request_context(headers={"Accept-Language": "en"}):
            assert shown.moment(FRIDAY) == "2026-11-20 (Fri) 14:05"

    def test_without_a_zone_is_refused(self) -> None:
        with pytest.raises(ValueError, match="without a zone"):
            shown.moment(FRIDAY.replace(tzinfo=None))

    @pytest.mark.parametrize(
        ("gap", "korean", "english"),
        [
            (timedelta(seconds=59), "방금", "just now"),
            (timedelta(minutes=1), "1분 전", "1 minute ago"),
            (timedelta(hours=-5, minutes=-59), "5시간 뒤", "in 5 hours"),
            (timedelta(days=3), "3일 전", "3 days ago"),
        ],
    )
    def test_from_now_stands_beside_the_exact_one(
        self, look_app: Flask, gap: timedelta, korean: str, english: str
    ) -> None:
        for code, words in (("ko", korean), ("en", english)):
            with look_app.test_request_context(), force_locale(code):
                text = shown.ago(FRIDAY, FRIDAY + gap)
                assert words in text
                assert "2026-11-20" in text


def machines() -> list[Machine]:
    """Every state machine that a room or the floor declares."""
    modules = [
        import_module(found.name)
        for package in (app.base, tenants, invoices)
        for found in walk_packages(package.__path__, f"{package.__name__}.")
    ]
    found = {
        value.name: value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, Machine)
    }
    return list(found.values())


class TestChips:
    def test_know_every_state_of_every_machine(self) -> None:
        strangers = [
            (machine.name, state)
            for machine in machines()
            for state in machine.states
            if not known(machine.name, state)
        ]
        assert strangers == []
        assert {"application", "tenant", "invoice"} <= {machine.name for machine in machines()}

    def test_stand_on_the_look_page_in_every_state(self) -> None:
        shown_there = {(name, state) for name, states in STATES.items() for state in states}
        everything = {(machine.name, state) for machine in machines() for state in machine.states}
        assert everything - shown_there == set()

    def test_show_an_unforeseen_state_by_its_own_name(self) -> None:
        assert chip_face("kite", "up_high").word == "Up high"


class TestFields:
    def test_refuse_a_word_they_do_not_know(self) -> None:
        with pytest.raises(TypeError, match="lable"):
            field_spec(None, {"name": "x", "lable": "X"})

    def test_tell_where_an_error_stands(self) -> None:
        class Count(Form):  # type: ignore[misc]
            seats = IntegerField()

        form = Count(data={})
        form.seats.errors = ["Enter a number"]
        assert field_errors(form) == [("seats", "Enter a number")]
        assert field_spec(form.seats, {}).describedby == "seats-error"


class TestAddresses:
    def test_keep_what_is_not_changed_and_begin_at_the_first_page(self, look_app: Flask) -> None:
        with look_app.test_request_context("/_/look/?state=paid&state=void&page=7&lang=en"):
            assert url_with(sort="-due") == "/_/look/?state=paid&state=void&sort=-due"
            assert url_with(state=None) == "/_/look/"
            assert url_with(lang="ko") == "/_/look/?state=paid&state=void&page=7&lang=ko"
        with look_app.test_request_context("/_/look/frame/집?q=a%26b"):
            assert url_with(page=2) == "/_/look/frame/%EC%A7%91?q=a%26b&page=2"


class TestChart:
    def test_fills_its_box_and_lets_no_bar_vanish(self) -> None:
        bars = chart_bars([0, 5, 10], 160, 36)
        assert [bar["height"] for bar in bars] == [1.5, 18, 36]
        assert bars[-1]["x"] + bars[-1]["width"] <= 160
        assert chart_bars([], 160, 36) == []
        assert len(chart_bars([0, 0], 160, 36)) == 2
