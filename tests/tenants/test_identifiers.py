import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.errors import Invalid
from tenants.identifiers import (
    PhoneWrong,
    RegistrationNumberWrong,
    brn_is_valid,
    normalise_brn,
    normalise_phone,
    normalise_registration_number,
)
from tests.naughty import NAUGHTY


class TestBusinessNumber:
    @pytest.mark.parametrize("number", ["124-81-00998", "120-81-47521", "204-86-31263"])
    def test_of_a_real_company_is_valid(self, number: str) -> None:
        assert brn_is_valid(number)
        assert normalise_brn(f" {number} ".strip()) == number.replace("-", "")

    @pytest.mark.parametrize("number", ["120-81-47522", "220-81-62518", "0000000000", "١٢٤٨١٠٠٩٩٨"])
    def test_with_a_wrong_check_digit_is_refused(self, number: str) -> None:
        assert not brn_is_valid(number)
        with pytest.raises(RegistrationNumberWrong) as caught:
            normalise_brn(number)
        assert caught.value.field == "registration_number"

    @given(st.integers(0, 8), st.integers(1, 9))
    def test_never_survives_one_wrong_digit(self, place: int, step: int) -> None:
        digits = [int(d) for d in "1248100998"]
        digits[place] = (digits[place] + step) % 10
        changed = "".join(map(str, digits))
        # The ninth weight is 5 with its tens added, which lets no single change through either.
        assert not brn_is_valid(changed)

    def test_is_required_in_korea_only(self) -> None:
        with pytest.raises(RegistrationNumberWrong, match="tax papers"):
            normalise_registration_number("  ", "KR")
        assert normalise_registration_number("", "DE") is None
        assert normalise_registration_number(" hrb 12345 b", "DE") == "HRB 12345 B"


class TestPhone:
    @pytest.mark.parametrize(
        ("typed", "country", "stored"),
        [
            ("010-1234-5678", "KR", "+821012345678"),
            ("02) 1234-5678", "KR", "+82212345678"),
            ("+1 415 555 2671", "KR", "+14155552671"),
            ("030 901820", "DE", "+4930901820"),
        ],
    )
    def test_is_stored_in_one_form(self, typed: str, country: str, stored: str) -> None:
        assert normalise_phone(typed, country) == stored

    @pytest.mark.parametrize("typed", ["", "12", "call me", "+999 1", "010-1234-5678 ext. 9"])
    def test_that_nobody_can_dial_is_refused(self, typed: str) -> None:
        with pytest.raises(PhoneWrong):
            normalise_phone(typed, "KR")


@pytest.mark.parametrize("text", NAUGHTY)
def test_naughty_strings_are_taken_or_refused_but_never_break_anything(text: str) -> None:
    for read in (
        lambda: normalise_registration_number(text, "KR"),
        lambda: normalise_registration_number(text, "US"),
        lambda: normalise_phone(text, "KR"),
    ):
        with contextlib.suppress(Invalid):
            assert "\x00" not in (read() or "")
