"""Why a supply's VAT evidence is a person's to make, and which papers those are, in words."""

from __future__ import annotations

import re

from app.web.i18n import lazy

PAPERS = {
    "taxable": lazy("Tax invoice (세금계산서)"),
    "zero_rated": lazy("Zero-rated tax invoice (영세율 세금계산서)"),
    "exempt": lazy("Invoice without VAT (계산서)"),
}
# What the room says, as a sentence for people.
_WHY = (
    (
        re.compile(r"the card slip still proves (?P<what>.+), which went back by bank transfer"),
        lazy(
            "The card slip still proves %(what)s that went back by bank. Have so much of the slip"
            " cancelled at the gateway, or declare it in the VAT return, then note it."
        ),
    ),
    (
        re.compile(r"The credit note takes back more than the tax papers say\."),
        lazy(
            "It takes back more than our tax papers say: the supply is proved by a paper issued"
            " elsewhere. Amend that one, then note it."
        ),
    ),
    (
        re.compile(r"More is cancelled than the cash receipt says\."),
        lazy(
            "It takes back more than the cash receipt says. Correct it with its issuer, then note"
            " it."
        ),
    ),
    (
        re.compile(r"a card slip of another supply proves a part of it, .*"),
        lazy(
            "A card slip of another supply proves a part of it, which was paid with credit. A tax"
            " invoice may name the rest alone."
        ),
    ),
    (
        re.compile(r"a card slip proves a part of it, .*"),
        lazy(
            "A card slip proves a part of it; the rest was not paid by card. A tax invoice may name"
            " that rest alone."
        ),
    ),
    (
        re.compile(r"it mixes supplies that take papers of their own: .*"),
        lazy("It mixes supplies that each take a paper of their own."),
    ),
    (
        re.compile(r"an exempt supply takes a 계산서, .*"),
        lazy("It is exempt: it takes an invoice without VAT (계산서), not a tax invoice."),
    ),
    (
        re.compile(r"the supply is priced in (?P<what>\w+); .*"),
        lazy("The supply is priced in %(what)s; its value in won is a person's to set."),
    ),
    (
        re.compile(r"the buyer has no valid Korean business registration number"),
        lazy("The buyer has no valid Korean business registration number."),
    ),
    (
        re.compile(r"the seller's own business registration number is not valid"),
        lazy("The seller's own business registration number is not valid."),
    ),
    (
        re.compile(r"the buyer has no e-mail address, .*"),
        lazy("The buyer has no e-mail address, which an electronic tax invoice needs."),
    ),
    (
        re.compile(r"the buyer's e-mail address has more than (?P<what>\d+) characters"),
        lazy("The buyer's e-mail address has more than %(what)s characters."),
    ),
    (
        re.compile(r"the buyer's name has more than (?P<what>\d+) characters"),
        lazy("The buyer's name has more than %(what)s characters."),
    ),
    (
        re.compile(r"the invoice has more than (?P<what>\d+) lines"),
        lazy("The invoice has more than %(what)s lines."),
    ),
)


def why(reason: str) -> str:
    """This function will say in the reader's language why no paper is made here."""
    for pattern, words in _WHY:
        if found := pattern.fullmatch(reason):
            return str(words) % found.groupdict()
    return reason
