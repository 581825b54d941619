"""Quantities in words, Korean and English: 1,000회, 1,000 calls, 1 call. Pure."""

from __future__ import annotations

from decimal import Decimal

from invoices.fingerprints import plain_decimal


def figure(number: Decimal) -> str:
    """This function will write a number with its thousands grouped and no empty decimals."""
    return f"{Decimal(plain_decimal(number)):,f}"


def counted(number: Decimal, units: tuple[str, str], language: str) -> str:
    """This function will write a number with its unit, of the Korean and the English one."""
    count, (ko, en) = figure(number), (each.strip() for each in units)
    if language == "ko":
        return f"{count} {ko}".rstrip() if ko.isascii() else f"{count}{ko}"
    return f"{count} {singular(en) if number == 1 else en}".rstrip()


def singular(unit: str) -> str:
    """This function will take the plural off an English unit, as units of meters are written."""
    if unit.endswith("ies"):
        return f"{unit[:-3]}y"
    if unit.endswith(("sses", "xes", "ches", "shes")):
        return unit[:-2]
    if unit.endswith("s") and not unit.endswith(("ss", "us", "is")) and len(unit) > 2:
        return unit[:-1]
    return unit
