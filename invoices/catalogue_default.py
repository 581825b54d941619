"""The price list that a new installation starts with; `catalogue.publish` takes it as data."""

from __future__ import annotations

from decimal import Decimal

from invoices.charges import Charge
from invoices.plan_terms import GIGABYTE, PlanTerms
from invoices.pricing import Pricing


def _monthly(
    names: tuple[str, str], base: str, seats: tuple[str, int], gigabytes: tuple[str, int]
) -> tuple[Charge, ...]:
    return (
        Charge(
            code="base",
            name_ko=f"{names[0]} 요금제 기본료",
            name_en=f"{names[1]} plan, base fee",
            unit_ko="개월",
            unit_en="month",
            pricing=Pricing(model="flat", unit_amount=Decimal(base)),
        ),
        Charge(
            code="seats",
            name_ko="추가 사용자",
            name_en="Additional seats",
            unit_ko="명",
            unit_en="seats",
            timing="arrears",
            meter="seats",
            aggregation="peak",
            pricing=_above(*seats),
        ),
        Charge(
            code="storage",
            name_ko="추가 저장공간",
            name_en="Additional storage",
            unit_ko="GB",
            unit_en="GB",
            timing="arrears",
            meter="storage_gb_days",
            aggregation="average",
            pricing=_above(*gigabytes),
        ),
    )


def _above(unit_amount: str, included: int) -> Pricing:
    return Pricing(model="per_unit", unit_amount=Decimal(unit_amount), included=Decimal(included))


def _plan(
    code: str,
    position: int,
    names: tuple[str, str],
    allows: tuple[int, int],
    amounts: dict[str, tuple[str, tuple[str, int], tuple[str, int]]],
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
            charges=_monthly(names, *prices),
        )
        for currency, prices in amounts.items()
    ]


DEFAULT_PLANS: tuple[PlanTerms, ...] = (
    *_plan(
        "starter",
        1,
        ("스타터", "Starter"),
        (10, 50),
        {
            "KRW": ("49000", ("9900", 3), ("300", 10)),
            "USD": ("39", ("7.90", 3), ("0.24", 10)),
        },
    ),
    *_plan(
        "team",
        2,
        ("팀", "Team"),
        (50, 500),
        {
            "KRW": ("190000", ("15000", 10), ("200", 100)),
            "USD": ("149", ("12", 10), ("0.16", 100)),
        },
    ),
    *_plan(
        "studio",
        3,
        ("스튜디오", "Studio"),
        (300, 5000),
        {
            "KRW": ("590000", ("13000", 30), ("120", 1000)),
            "USD": ("449", ("10", 30), ("0.10", 1000)),
        },
    ),
)
