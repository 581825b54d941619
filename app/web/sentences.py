"""Sentences of rooms with a figure or a name in them, found again by their shape and translated.

A room says them in English, whole. Where a page shows one, its parts are read back from it.
"""

from __future__ import annotations

import re

from app.web.i18n import gettext, language

# What the price list's faults say; `%(name)s` stands where a room fills something in.
_SHAPES = (
    "Nothing reads a meter called %(name)s; there are %(known)s.",
    "This meter reads days: say what of them counts, %(known)s.",
    "This meter is not grouped by %(name)s.",
    "Choose one of %(known)s.",
    "Choose a model from %(known)s.",
    "Use %(most)s tiers at most.",
    "Keep names and units to one line of %(most)s characters.",
    "Keep the name to one line of %(most)s characters.",
    "The maximum (%(high)s) lies below the minimum (%(low)s): raise it or leave one out.",
    "Use at most %(whole)s digits before the point and %(decimals)s after it,"
    " and no larger exponent.",
    "%(number)s is below zero; to give money back, use a coupon or a credit.",
    "A %(model)s price needs a %(needed)s.",
    "A %(model)s price needs at least one tier.",
    "A %(model)s price has no use for %(field)s: leave it out.",
    "Only the last tier is open: say where tier %(place)s ends.",
    "The last tier must be open, or more than %(bound)s has no price.",
    "Tier %(place)s must end above %(bound)s: tiers rise.",
    "This plan has no feature called %(name)s.",
    "The position is from 0 to %(most)s.",
    "There is no plan %(plan)s in %(currency)s.",
    "The plan %(plan)s is offered to nobody new. Choose another one.",
    "Enter a whole number from 1 to %(most)s.",
    "Late usage may still change what was billed, up to %(day)s. Wait until then.",
)
_PLACE = re.compile(r"%\\\((\w+)\\\)s")
_FOUND = [
    (shape, re.compile(_PLACE.sub(r"(?P<\1>.+?)", re.escape(shape)), re.DOTALL))
    for shape in _SHAPES
]


def say(text: str) -> str:
    """This function will say a room's sentence in the reader's language, its figures kept."""
    said = gettext(text)
    if said != text or language() == "en":
        return said
    for shape, pattern in _FOUND:
        if parts := pattern.fullmatch(text):
            return gettext(shape, **parts.groupdict())
    return text
