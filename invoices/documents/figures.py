"""Figures and dates as papers print them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from app.base.money import Money, exponent
from invoices.documents.papers import Language

MINUS = "\N{MINUS SIGN}"
_DIGITS = "영일이삼사오육칠팔구"
_PLACES = ("", "십", "백", "천")
_MYRIADS = ("", "만", "억", "조", "경")


def money(amount_minor: int, currency: str) -> str:
    """This function will print an amount with its sign and symbol: ₩1,234,000; −$12.50."""
    return str(Money(amount_minor, currency))


def figure(amount_minor: int | Decimal, currency: str = "KRW") -> str:
    """This function will print an amount without its symbol, keeping a fraction of a minor unit."""
    units = Decimal(amount_minor).scaleb(-exponent(currency))
    decimals = max(exponent(currency), -int(_trimmed(units).as_tuple().exponent))
    sign = MINUS if units < 0 else ""
    return f"{sign}{abs(units):,.{decimals}f}"


def quantity(value: Decimal) -> str:
    """This function will print a quantity without trailing zeros, thousands apart."""
    trimmed = _trimmed(value)
    sign = MINUS if trimmed < 0 else ""
    return f"{sign}{abs(trimmed):,f}"


def percent(value: Decimal) -> str:
    """This function will print a rate: 10%."""
    return f"{quantity(value)}%"


def day(value: date, language: str) -> str:
    """This function will print a date the way the language's accountants write it."""
    if language == Language.KOREAN:
        return f"{value.year}년 {value.month}월 {value.day}일"
    return f"{value.day} {value:%b} {value.year}"


def span(start: date, end: date) -> str:
    """This function will print a half-open period by its first and last day."""
    last = end - timedelta(days=1)
    return f"{start.isoformat()} ~ {last.isoformat()}"


def registration(number: str, country: str = "KR") -> str:
    """This function will print a Korean business number as 000-00-00000, any other as it is."""
    digits = "".join(character for character in number if character.isdigit())
    if country == "KR" and len(digits) == 10:
        return f"{digits[:3]}-{digits[3:5]}-{digits[5:]}"
    return number


def cells(amount_minor: int, width: int) -> list[str]:
    """This function will spread an amount over `width` digit cells, right-aligned.

    A minus takes the cell before the first digit. Returns an empty list when it does not fit,
    so that the form prints the figure in one piece instead of losing a digit.
    """
    written = (MINUS if amount_minor < 0 else "") + str(abs(amount_minor))
    return [""] * (width - len(written)) + list(written) if len(written) <= width else []


def spelled_won(amount_minor: int) -> str:
    """This function will spell an amount of won as receipts do: 일금 일백이십삼만사천원정."""
    if amount_minor == 0:
        return "일금 영원정"
    groups: list[str] = []
    rest = abs(amount_minor)
    for myriad in _MYRIADS:
        rest, group = divmod(rest, 10_000)
        if group:
            groups.append(_spelled_group(group) + myriad)
    sign = "마이너스 " if amount_minor < 0 else ""
    return f"일금 {sign}{''.join(reversed(groups))}원정"


def _spelled_group(group: int) -> str:
    digits = f"{group:04d}"
    return "".join(
        _DIGITS[int(digit)] + _PLACES[3 - place]
        for place, digit in enumerate(digits)
        if digit != "0"
    )


def _trimmed(value: Decimal) -> Decimal:
    """Without trailing zeros, and never in the exponent form that normalize() alone would give."""
    trimmed = value.normalize()
    return trimmed if int(trimmed.as_tuple().exponent) <= 0 else trimmed.quantize(Decimal(1))
