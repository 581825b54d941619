"""Money in minor units, and the one rounding function. No database, no clock, no float."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from enum import StrEnum

# ISO 4217 exponents of the currencies that are not divided into hundredths.
_EXPONENTS = {"KRW": 0, "JPY": 0, "VND": 0, "CLP": 0, "BHD": 3, "KWD": 3, "TND": 3}
_SYMBOLS = {"KRW": "₩", "USD": "$", "EUR": "€", "JPY": "¥", "GBP": "£"}
_MINUS = "\N{MINUS SIGN}"


class Rounding(StrEnum):
    """How a fraction of a minor unit is settled; a named setting wherever it matters."""

    DOWN = "down"
    UP = "up"
    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


_MODES = {
    Rounding.DOWN: ROUND_DOWN,
    Rounding.UP: ROUND_UP,
    Rounding.HALF_UP: ROUND_HALF_UP,
    Rounding.HALF_EVEN: ROUND_HALF_EVEN,
}


class CurrencyMismatch(ValueError):
    """Two currencies met in one sum: a fault of the program, never of a person."""


def exponent(currency: str) -> int:
    """This function will return how many decimal digits the currency's minor unit has."""
    return _EXPONENTS.get(currency, 2)


def round_minor(amount: Decimal, rounding: Rounding) -> int:
    """This function will round an amount, given in minor units with a fraction, to whole ones.

    DOWN and UP go towards and away from zero, so that a credit mirrors its charge.
    """
    return int(amount.quantize(Decimal(1), rounding=_MODES[rounding]))


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount: `amount_minor` in the currency's smallest unit (won, cents)."""

    amount_minor: int
    currency: str

    def __post_init__(self) -> None:
        # bool is an int to Python; neither it nor a float is an amount.
        if type(self.amount_minor) is not int:
            raise TypeError(f"amount_minor must be int, not {type(self.amount_minor).__name__}")
        if len(self.currency) != 3 or not self.currency.isascii() or not self.currency.isupper():
            raise ValueError(f"{self.currency!r} is not an ISO 4217 code")

    @classmethod
    def zero(cls, currency: str) -> Money:
        """This function will return nothing, in that currency."""
        return cls(0, currency)

    @classmethod
    def of(cls, units: Decimal, currency: str, rounding: Rounding) -> Money:
        """This function will turn major units (won, dollars) into Money."""
        return cls(round_minor(units.scaleb(exponent(currency)), rounding), currency)

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(f"{self.currency} and {other.currency} do not add up")

    def __add__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount_minor + other.amount_minor, self.currency)

    def __sub__(self, other: Money) -> Money:
        self._same(other)
        return Money(self.amount_minor - other.amount_minor, self.currency)

    def __neg__(self) -> Money:
        return Money(-self.amount_minor, self.currency)

    def __lt__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor < other.amount_minor

    def __le__(self, other: Money) -> bool:
        self._same(other)
        return self.amount_minor <= other.amount_minor

    def __bool__(self) -> bool:
        return self.amount_minor != 0

    @property
    def units(self) -> Decimal:
        """The amount in major units (won, dollars), exact."""
        return Decimal(self.amount_minor).scaleb(-exponent(self.currency))

    def __str__(self) -> str:
        if exponent(self.currency) == 0:  # as most are: a page writes many
            return _signed(f"{abs(self.amount_minor):,}", self.amount_minor < 0, self.currency)
        return written(self.units, self.currency)


def written(units: Decimal, currency: str) -> str:
    """This function will write major units with their sign and every decimal they have: $0.0015.

    A price may be finer than the currency's minor unit; an amount of money never is.
    """
    decimals = len(f"{units:f}".partition(".")[2].rstrip("0"))
    # Not abs(): that would round to the 28 digits of the context.
    figure = f"{units.copy_abs():,.{max(exponent(currency), decimals)}f}"
    return _signed(figure, units < 0, currency)


def _signed(figure: str, is_negative: bool, currency: str) -> str:
    sign, symbol = _MINUS if is_negative else "", _SYMBOLS.get(currency)
    return f"{sign}{symbol}{figure}" if symbol else f"{sign}{figure} {currency}"
