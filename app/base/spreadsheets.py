"""Texts on their way into a spreadsheet: what it would run as a formula is disarmed."""

from __future__ import annotations

# What a spreadsheet takes for a formula, also where it first drops the blank or the wide form.
FORMULA_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def disarmed(text: str) -> str:
    """This function will put an apostrophe before a text that would run as a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(FORMULA_BEGINNINGS) else text
