from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.money import (
    CurrencyMismatch,
    Money,
    Rounding,
    exponent,
    round_minor,
)


class TestMoney:
    def test_won_have_no_decimals_and_dollars_have_two(self) -> None:
        assert str(Money(1_234_000, "KRW")) == "₩1,234,000"
        assert str(Money(1_250, "USD")) == "$12.50"
        assert (exponent("KRW"), exponent("USD"), exponent("KWD")) == (0, 2, 3)

    def test_a_negative_amount_has_a_true_minus(self) -> None:
        assert str(Money(-500, "KRW")) == "\N{MINUS SIGN}₩500"

    @pytest.mark.parametrize("amount", [1.0, True, Decimal(1), "1"])
    def test_only_an_int_is_an_amount(self, amount: object) -> None:
        with pytest.raises(TypeError):
            Money(amount, "KRW")  # type: ignore[arg-type]

    @pytest.mark.parametrize("currency", ["krw", "WON!", "₩₩₩", ""])
    def test_a_currency_is_an_iso_code(self, currency: str) -> None:
        with pytest.raises(ValueError, match="ISO 4217"):
            Money(1, currency)

    def test_two_currencies_never_add_up(self) -> None:
        with pytest.raises(CurrencyMismatch):
            Money(1, "KRW") + Money(1, "USD")
        with pytest.raises(CurrencyMismatch):
            assert Money(1, "KRW") < Money(1, "USD")

    @given(st.integers(), st.integers())
    def test_adding_and_taking_away_is_exact(self, first: int, second: int) -> None:
        total = Money(first, "KRW") + Money(second, "KRW")
        assert total - Money(second, "KRW") == Money(first, "KRW")

    def test_major_units_become_minor_ones(self) -> None:
        assert Money.of(Decimal("12.345"), "USD", Rounding.HALF_UP) == Money(1_235, "USD")
        assert Money.of(Decimal("12.5"), "KRW", Rounding.HALF_EVEN) == Money(12, "KRW")
        assert Money(1_250, "USD").units == Decimal("12.50")


class TestRounding:
    @given(
        st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**12), max_value=10**12)
    )
    def test_a_credit_mirrors_its_charge_in_every_mode(self, amount: Decimal) -> None:
        for rounding in Rounding:
            assert round_minor(amount.copy_negate(), rounding) == -round_minor(amount, rounding)

    def test_tax_drops_the_fraction_of_a_won_when_told_to(self) -> None:
        tax = Decimal(13_639) * Decimal("0.1")
        assert round_minor(tax, Rounding.DOWN) == 1_363
        assert round_minor(tax, Rounding.HALF_UP) == 1_364
