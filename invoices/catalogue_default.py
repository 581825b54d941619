"""The price list that a new installation starts with; `catalogue.publish` takes it as data."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

GIGABYTE = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeTerms:
    """One charge: `unit_amount` in major units, `included` in the meter's unit (seats, GB)."""

    charge: str  # base | seats | storage
    timing: str  # advance | arrears
    unit_amount: Decimal
    meter: str | None = None
    included: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTerms:
    """What one version of a plan costs and allows, in one currency."""

    plan_code: str
    position: int
    currency: str
    name_ko: str
    name_en: str
    seats_max: int
    storage_bytes_max: int
    charges: tuple[ChargeTerms, ...]


def _monthly(
    base: str, seat: str, seats_included: int, gigabyte: str, gigabytes_included: int
) -> tuple[ChargeTerms, ...]:
    return (
        ChargeTerms(charge="base", timing="advance", unit_amount=Decimal(base)),
        ChargeTerms(
            charge="seats",
            timing="arrears",
            meter="seats",
            unit_amount=Decimal(seat),
            included=Decimal(seats_included),
        ),
        ChargeTerms(
            charge="storage",
            timing="arrears",
            meter="storage_gb_days",
            unit_amount=Decimal(gigabyte),
            included=Decimal(gigabytes_included),
        ),
    )


def _plan(
    code: str,
    position: int,
    names: tuple[str, str],
    allows: tuple[int, int],
    charges: dict[str, tuple[ChargeTerms, ...]],
) -> list[PlanTerms]:
    return [
        PlanTerms(
            plan_code=code,
            position=position,
            currency=currency,
            name_ko=names[0],
            name_en=names[1],
            seats_max=allows[0],
            storage_bytes_max=allows[1] * GIGABYTE,
            charges=terms,
        )
        for currency, terms in charges.items()
    ]


DEFAULT_PLANS: tuple[PlanTerms, ...] = (
    *_plan(
        "starter",
        1,
        ("스타터", "Starter"),
        (10, 50),
        {
            "KRW": _monthly("49000", "9900", 3, "300", 10),
            "USD": _monthly("39", "7.90", 3, "0.24", 10),
        },
    ),
    *_plan(
        "team",
        2,
        ("팀", "Team"),
        (50, 500),
        {
            "KRW": _monthly("190000", "15000", 10, "200", 100),
            "USD": _monthly("149", "12", 10, "0.16", 100),
        },
    ),
    *_plan(
        "studio",
        3,
        ("스튜디오", "Studio"),
        (300, 5000),
        {
            "KRW": _monthly("590000", "13000", 30, "120", 1000),
            "USD": _monthly("449", "10", 30, "0.10", 1000),
        },
    ),
)
