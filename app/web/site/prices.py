"""What a visitor is told of prices: any plan of the catalogue, in the words of `price_words`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.base.config import settings
from app.web import granted
from app.web.db import control
from app.web.i18n import gettext, language
from invoices import catalogue, price_words
from invoices.models import PlanVersion
from invoices.plan_terms import GIGABYTE, PlanTerms
from invoices.price_words import Headline, PlanWords, TierWords

# Asked for by language; others are offered as plans in them are published.
_USUAL = ("KRW", "USD")


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a plan's card, with a small table where the price has tiers."""

    text: str
    tiers: tuple[TierWords, ...] = ()


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan as a price list shows it, in the reader's language."""

    terms: PlanTerms
    words: PlanWords
    version: PlanVersion

    @property
    def code(self) -> str:
        """The plan's code."""
        return self.terms.plan_code

    @property
    def name(self) -> str:
        """The plan's name."""
        return self.words.name

    @property
    def headline(self) -> Headline:
        """What stands large on its card."""
        return self.words.headline

    @property
    def seats_max(self) -> int:
        """How many people it allows."""
        return self.terms.seats_max

    @property
    def storage_max_gb(self) -> Decimal:
        """How many gigabytes it allows."""
        return Decimal(self.terms.storage_bytes_max) / GIGABYTE

    @property
    def points(self) -> list[Point]:
        """What it charges beside the headline, what can be added, and what it grants."""
        found = [Point(*each) for each in price_words.points(self.words.points)]
        return (
            found
            + [
                Point(gettext("Optional: %(charge)s", charge=each.line), each.tiers)
                for each in self.words.extras
            ]
            + [Point(line) for line in self.grants]
        )

    @property
    def grants(self) -> list[str]:
        """What it grants beside its limits: features, and quotas a month."""
        return granted.lines(self.terms)


def currency_of(wish: str | None) -> str:
    """This function will choose the currency of the price list: as asked, else by language."""
    if wish and wish in (_USUAL if wish in _USUAL else currencies()):
        return wish
    return "KRW" if language() == "ko" else "USD"


def currencies() -> dict[str, str]:
    """This function will name the currencies that something may be sold in, by their codes."""
    names = {"KRW": gettext("In won (₩)"), "USD": gettext("In dollars ($)")}
    for code in catalogue.currencies_on_offer(control_session=control()):
        names.setdefault(code, gettext("In %(currency)s", currency=code))
    return names


def offers(currency: str) -> list[Offer]:
    """This function will return the plans on offer in their order, in the reader's language."""
    found = catalogue.offers(control_session=control(), currency=currency)
    return [offer(version) for version in found]


def offer(version: PlanVersion) -> Offer:
    """This function will return one version of a plan as a price list shows it."""
    terms = catalogue.terms_of(version, position=0)
    return Offer(terms=terms, words=price_words.plan(terms, language()), version=version)


def charges(terms: PlanTerms) -> Sequence[price_words.ChargeWords]:
    """This function will say every charge of a plan, in the reader's language."""
    return [price_words.charge(each, terms.currency, language()) for each in terms.charges]


def vat_percent() -> int:
    """This function will return the tax that comes on top of every price shown."""
    return settings().vat_rate_percent
