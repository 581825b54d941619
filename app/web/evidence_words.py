"""Why a supply's VAT evidence is a person's to make, and which papers those are, in words."""

from __future__ import annotations

import re

from app.web.i18n import gettext, lazy

PAPERS = {
    "taxable": lazy("Tax invoice (세금계산서)"),
    "zero_rated": lazy("Zero-rated tax invoice (영세율 세금계산서)"),
    "exempt": lazy("Invoice without VAT (계산서)"),
}
# What the room says with a figure or a code in it.
_WITH_MORE = (
    (
        re.compile(r"the supply is priced in (?P<what>\w+); .*"),
        lazy("The supply is priced in %(what)s; its value in won is a person's to set."),
    ),
    (
        re.compile(r"the invoice has more than (?P<what>\d+) lines"),
        lazy("The invoice has more than %(what)s lines."),
    ),
    (
        re.compile(r"it mixes supplies that take papers of their own: .*"),
        lazy("It mixes supplies that each take a paper of their own."),
    ),
    (
        re.compile(r"the buyer's e-mail address has more than (?P<what>\d+) characters"),
        lazy("The buyer's e-mail address has more than %(what)s characters."),
    ),
    (
        re.compile(r"the buyer's name has more than (?P<what>\d+) characters"),
        lazy("The buyer's name has more than %(what)s characters."),
    ),
)


def why(reason: str) -> str:
    """This function will say in the reader's language why no paper is made here."""
    for pattern, words in _WITH_MORE:
        if found := pattern.fullmatch(reason):
            return str(words) % found.groupdict()
    return gettext(reason)
