"""What people type into finance's forms: figures, amounts and days, refused by their field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from app.base.errors import Invalid
from app.base.money import Money, exponent
from tenants.texts import one_line

REASON_LENGTH_MAX = 500

# Figures only: Decimal would also take 1e999999, whose figures fill the memory.
_FIGURES = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
# A slip of the finger, not a day: past them dates can't be reckoned with any more.
_YEARS = range(1900, 2200)
_WHOLE = re.compile(r"[0-9]{1,12}")


def a_number(text: str, field: str) -> Decimal:
    """This function will read a number such as 12.5 or 1,000.

    Raises: Invalid.
    """
    plain = text.replace(",", "").replace(" ", "")
    if not _FIGURES.fullmatch(plain):
        raise Invalid("Enter a number in figures.", field=field)
    return Decimal(plain)


def an_amount(text: str, currency: str, field: str) -> Money:
    """This function will read an amount as 1,234,000 or 12.50, with or without its sign.

    Raises: Invalid, also for a fraction of the smallest coin.
    """
    minor = a_number(text.strip().lstrip("₩$"), field).scaleb(exponent(currency))
    if minor != minor.to_integral_value():
        raise Invalid("That is finer than the smallest coin.", field=field)
    return Money(int(minor), currency)


def whole(text: str, field: str) -> int | None:
    """This function will read a whole number, or nothing where nothing is typed.

    Raises: Invalid.
    """
    plain = text.replace(",", "").strip()
    if not plain:
        return None
    if not _WHOLE.fullmatch(plain):
        raise Invalid("Enter a whole number.", field=field)
    return int(plain)


def a_day(text: str, field: str) -> date | None:
    """This function will read a day as 2026-03-10, or nothing where nothing is typed.

    Raises: Invalid.
    """
    if not text.strip():
        return None
    try:
        day = date.fromisoformat(text.strip())
        if day.year not in _YEARS:
            raise ValueError(day)
    except ValueError as error:
        raise Invalid("Enter the day as 2026-03-10.", field=field) from error
    return day


def reason_typed(form: Mapping[str, str]) -> str:
    """This function will read why somebody does something, as one line."""
    return one_line(form.get("why", ""))[:REASON_LENGTH_MAX]
