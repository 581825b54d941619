"""What a month would cost: each plan at one use, rated by the one rating there is.

Charges of other intervals count with their part of a month: a year's with a twelfth.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from app.base.ids import uuid7
from app.base.money import Money
from app.web.i18n import gettext, language
from app.web.site.prices import Offer
from invoices import periods, rating
from invoices.charges import HELD, Charge
from invoices.periods import Interval
from invoices.rating import Facts, ReadingRow, Stretch, UsageTotal

HIGHEST = 1_000_000_000
# The first day of a month of 30 days: what an estimate can honestly assume.
_FIRST = date(2026, 4, 1)
_DAYS_PER_YEAR = 365
_EXACT = Decimal("1e-12")
_SHA256 = "estimate"


@dataclass(frozen=True, slots=True)
class Ask:
    """One number that the visitor gives: how much of a meter, or of what is bought."""

    key: str
    label: str
    default: int
    highest: int
    column: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A month of one plan; `fits` is false where the plan's limits are below the use given."""

    offer: Offer
    fixed: Money
    used: Mapping[str, Money]
    top_up: Money
    total: Money
    once: Money
    fits: bool


def asks(offers: Sequence[Offer]) -> list[Ask]:
    """This function will list what has to be known to price these plans, people and GB first."""
    found = {
        "seats": Ask("seats", gettext("People"), 12, 10_000, gettext("More people")),
        "storage": Ask("storage", gettext("Stored GB"), 150, 100_000, gettext("More storage")),
    }
    used = set()
    for offer in offers:
        for charge in _recurring(offer):
            if (key := _key(charge)) is None:
                continue
            used.add(key)
            name = charge.name_ko if language() == "ko" else charge.name_en
            unit = charge.unit_ko if language() == "ko" else charge.unit_en
            label = f"{name} ({unit})" if unit else name
            found.setdefault(
                key, Ask(key, label, 1 if charge.meter is None else 100, HIGHEST, name)
            )
            if charge.pricing.fixed_amount:
                said = gettext("%(name)s: how many transactions", name=name)
                found.setdefault(f"{key}.count", Ask(f"{key}.count", said, 10, HIGHEST, ""))
                used.add(f"{key}.count")
    return [ask for key, ask in found.items() if key in used or key in ("seats", "storage")]


def read(text: str | None, ask: Ask) -> int:
    """This function will read a whole number that a visitor typed, within bounds."""
    digits = (text or "").replace(",", "").strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        return ask.default
    return min(int(digits), ask.highest)


def estimates(offers: Sequence[Offer], given: Mapping[str, int]) -> list[Estimate]:
    """This function will price one month of each plan at the use given."""
    return [_estimate(offer, given) for offer in offers]


def _estimate(offer: Offer, given: Mapping[str, int]) -> Estimate:
    currency = offer.terms.currency
    fixed, once = Fraction(0), Fraction(0)
    used: dict[str, Fraction] = {}
    reached: list[tuple[Interval, Fraction]] = []
    for charge in offer.terms.charges:
        if charge.kind == "setup":
            once += _amount(charge, currency, given)
        if charge not in _recurring(offer):
            continue
        amount = _amount(charge, currency, given) / _months(charge.interval)
        reached.append((charge.interval, amount))
        key = _key(charge)
        if key is None:
            fixed += amount
        else:
            used[key] = used.get(key, Fraction(0)) + amount
    top_up = _top_up(offer, currency, given, reached)
    total = fixed + sum(used.values()) + top_up
    return Estimate(
        offer=offer,
        fixed=_money(fixed, currency),
        used={key: _money(amount, currency) for key, amount in used.items()},
        top_up=_money(top_up, currency),
        total=_money(total, currency),
        once=_money(once, currency),
        fits=given["seats"] <= offer.seats_max and given["storage"] <= offer.storage_max_gb,
    )


def _top_up(
    offer: Offer,
    currency: str,
    given: Mapping[str, int],
    reached: Sequence[tuple[Interval, Fraction]],
) -> Fraction:
    """What lacks to the minimum agreed upon: only charges within its interval count towards it."""
    for charge in offer.terms.charges:
        if charge.kind == "commitment":
            months = _months(charge.interval)
            counted = sum((sum_ for each, sum_ in reached if _months(each) <= months), Fraction(0))
            return max(Fraction(0), _amount(charge, currency, given) / months - counted)
    return Fraction(0)


def _recurring(offer: Offer) -> list[Charge]:
    return [
        charge
        for charge in offer.terms.charges
        if charge.kind == "recurring" and not charge.optional
    ]


def _key(charge: Charge) -> str | None:
    """The number that a charge depends on; None for one that costs the same whatever is used."""
    if charge.meter is None:
        return None if charge.pricing.model == "flat" else charge.code
    known = {"seats": "seats", "storage_gb_days": "storage"}
    key = known.get(charge.meter, charge.meter)
    return "-".join([key, *(charge.group[name] for name in sorted(charge.group))])


def _months(interval: Interval) -> Fraction:
    if interval.days is not None:
        return Fraction(interval.days * 12, _DAYS_PER_YEAR)
    return Fraction(interval.months)


def _amount(charge: Charge, currency: str, given: Mapping[str, int]) -> Fraction:
    """What one whole interval of a charge costs, in minor units."""
    key = _key(charge) or ""
    monthly, months = given.get(key, 1), _months(charge.interval)
    scaled = Fraction(monthly) * months
    flow = (Decimal(scaled.numerator) / Decimal(scaled.denominator)).quantize(_EXACT)
    period = periods.period(_FIRST, 0, charge.interval)
    start, end = periods.bounds(period, "UTC")
    readings = [
        ReadingRow(
            meter=charge.meter or "",
            day=day,
            quantity=Decimal(monthly)
            if charge.aggregation in HELD
            else (flow if day == period.start else Decimal(0)),
            evidence_sha256=_SHA256,
        )
        for day in (period.each_day() if charge.from_readings else [])
    ]
    line = rating.rate(
        price_id=uuid7(),
        charge=charge,
        currency=currency,
        stretch=Stretch.whole(period),
        quantity=Decimal(monthly) if charge.meter is None and key else Decimal(1),
        facts=Facts(
            readings=readings,
            total=UsageTotal(
                meter=charge.meter or "",
                meter_version=1,
                start=start,
                end=end,
                quantity=flow,
                transactions=int(given.get(f"{key}.count", 0) * months),
                sha256=_SHA256,
            ),
        ),
    )
    return Fraction(line.amount_minor)


def _money(minor: Fraction, currency: str) -> Money:
    exact = Decimal(minor.numerator) / Decimal(minor.denominator)
    return Money(int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP)), currency)
