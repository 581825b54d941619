"""Patterns: the text of a plan there is, with blanks where a new one has to say its own. Pure.

A blank is refused where it stands, so nothing is published that somebody forgot to change.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from invoices.catalogue_file import entry_of, listed
from invoices.catalogue_yaml import Blank, OneLine
from invoices.plan_terms import PlanTerms

BLANK = Blank()
_AMOUNTS = ("unit_amount", "flat_amount", "fixed_amount", "minimum_amount", "maximum_amount")


def of_plan(terms: PlanTerms, *, position: int) -> str:
    """This function will return a text for another plan: its code, names and amounts are blank."""
    entry = entry_of(replace(terms, position=position)) | {"plan": BLANK, "names": _names()}
    for charge, made in zip(terms.charges, entry["charges"], strict=True):
        if terms.name_ko in charge.name_ko or terms.name_en in charge.name_en:
            made["names"] = _names()
    return _text(entry)


def of_currency(terms: PlanTerms) -> str:
    """This function will return a text for a plan in another currency: it and amounts are blank."""
    return _text(entry_of(terms) | {"currency": BLANK})


def _text(entry: dict[str, Any]) -> str:
    for charge in entry["charges"]:
        price = charge["price"]
        for part in (price, *price.get("tiers", ())):
            part.update((name, BLANK) for name in _AMOUNTS if name in part)
    return f"plans:\n{listed(entry)}\n"


def _names() -> OneLine:
    return OneLine(ko=BLANK, en=BLANK)
