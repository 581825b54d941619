"""What a visitor is told of prices: read from the catalogue, added up by the one rating."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from app.base.config import settings
from app.base.money import Money, Rounding
from app.web.db import control
from app.web.i18n import language
from invoices import catalogue, rating
from invoices.models import PlanVersion
from invoices.periods import Period
from invoices.rating import Facts, Stretch

CURRENCIES = ("KRW", "USD")
SEATS_MAX = 10_000
STORAGE_GB_MAX = 100_000
# A month of 30 days with the same use on each: what an estimate can honestly assume.
_MONTH = Period(date(2026, 4, 1), date(2026, 5, 1))


@dataclass(frozen=True, slots=True)
class Offer:
    """A plan as the price list shows it."""

    code: str
    name: str
    base: Money
    seat: Money
    seats_included: int
    seats_max: int
    gigabyte: Money
    storage_included_gb: int
    storage_max_gb: int
    version: PlanVersion


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month of one plan at one use; `fits` is false where the plan's limits are below it."""

    offer: Offer
    base: Money
    seats: Money
    storage: Money
    total: Money
    fits: bool


def currency_of(wish: str | None) -> str:
    """This function will choose the currency of the price list: as asked, else by language."""
    if wish in CURRENCIES:
        return wish
    return "KRW" if language() == "ko" else "USD"


def offers(currency: str) -> list[Offer]:
    """This function will return the plans on offer, cheapest first, in the reader's language."""
    found = catalogue.offers(control_session=control(), currency=currency)
    return [_offer(version) for version in found]


def _offer(version: PlanVersion) -> Offer:
    prices = {price.charge: price for price in version.prices}
    limits = catalogue.limits_of(version)

    def money(charge: str) -> Money:
        amount = prices[charge].unit_amount if charge in prices else Decimal(0)
        return Money.of(amount, version.currency, Rounding.HALF_UP)

    def included(charge: str) -> int:
        return int(prices[charge].included) if charge in prices else 0

    return Offer(
        code=version.plan_code,
        name=version.name_ko if language() == "ko" else version.name_en,
        base=money("base"),
        seat=money("seats"),
        seats_included=included("seats"),
        seats_max=limits["seats"],
        gigabyte=money("storage"),
        storage_included_gb=included("storage"),
        storage_max_gb=limits["storage_bytes"] // 1_000_000_000,
        version=version,
    )


def estimates(found: Sequence[Offer], *, seats: int, storage_gb: int) -> list[Estimate]:
    """This function will price one month of each plan for so many people and gigabytes."""
    readings = [
        rating.ReadingRow(
            meter=meter, day=day, quantity=Decimal(quantity), evidence_sha256="estimate"
        )
        for day in _MONTH.each_day()
        for meter, quantity in (("seats", seats), ("storage_gb_days", storage_gb))
    ]
    return [_estimate(offer, readings, seats, storage_gb) for offer in found]


def _estimate(
    offer: Offer, readings: Sequence[rating.ReadingRow], seats: int, storage_gb: int
) -> Estimate:
    currency = offer.base.currency
    amounts = dict.fromkeys(("base", "seats", "storage"), Money.zero(currency))
    for price in offer.version.prices:
        line = rating.rate(
            price_id=price.id,
            charge=catalogue.charge_of(price),
            currency=currency,
            stretch=Stretch.whole(_MONTH),
            facts=Facts(readings=readings),
        )
        amounts[price.charge] = Money(line.amount_minor, currency)
    return Estimate(
        offer=offer,
        **amounts,
        total=sum(amounts.values(), Money.zero(currency)),
        fits=seats <= offer.seats_max and storage_gb <= offer.storage_max_gb,
    )


def clamp(text: str | None, *, default: int, highest: int) -> int:
    """This function will read a whole number that a visitor typed, within bounds."""
    digits = (text or "").replace(",", "").strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        return default
    return min(max(int(digits), 0), highest)


def vat_percent() -> int:
    """This function will return the tax that comes on top of every price shown."""
    return settings().vat_rate_percent
