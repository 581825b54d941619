"""Quantities as lines of bills, quotations and pages write them, in both languages."""

from __future__ import annotations

from decimal import Decimal

import pytest

from invoices.bill_lines import names_of
from invoices.charges import Charge
from invoices.line_details import plain_detail
from invoices.pricing import Pricing
from invoices.quantity_words import counted


def charge(included: str, units: tuple[str, str]) -> Charge:
    return Charge(
        code="calls",
        name_ko="API 호출",
        name_en="API calls",
        unit_ko=units[0],
        unit_en=units[1],
        timing="arrears",
        meter="calls",
        pricing=Pricing(model="per_unit", unit_amount=Decimal(10), included=Decimal(included)),
    )


@pytest.mark.parametrize(
    ("included", "units", "ko", "en"),
    [
        ("1000", ("회", "calls"), "1,000회", "1,000 calls"),
        ("1234567.5000", ("GB", "GB"), "1,234,567.5 GB", "1,234,567.5 GB"),
        ("1", ("명", "seats"), "1명", "1 seat"),
        ("0.001", ("", ""), "0.001", "0.001"),
        ("10000000000", ("건", "entries"), "10,000,000,000건", "10,000,000,000 entries"),
    ],
)
def test_what_is_included_is_grouped_by_thousands(
    included: str, units: tuple[str, str], ko: str, en: str
) -> None:
    number = Decimal(included)
    assert (counted(number, units, "ko"), counted(number, units, "en")) == (ko, en)
    assert names_of(charge(included, units)) == (
        f"API 호출 (포함 {ko} 초과)",
        f"API calls (above {en} included)",
    )


@pytest.mark.parametrize(
    ("language", "told"), [("ko", "무료 수량 1,000 + 2.5"), ("en", "1,000 + 2.5 units free")]
)
def test_free_units_are_too(language: str, told: str) -> None:
    evidence = {
        "rule": "free_units",
        "coupon": "START",
        "lines": [{"line": 1, "units": "1000"}, {"line": 2, "units": "2.5"}],
    }
    detail = plain_detail(evidence=evidence, currency="KRW", language=language)
    assert detail == f"START · {told}"


@pytest.mark.parametrize(
    ("language", "told"),
    [
        ("ko", "INV-2026-000001에 적용된 START, SPRING"),
        ("en", "START, SPRING, as on INV-2026-000001"),
    ],
)
def test_a_corrected_discount_names_its_coupons_and_their_bill(language: str, told: str) -> None:
    evidence = {
        "rule": "discount_corrected",
        "invoice": "INV-2026-000001",
        "coupons": [{"coupon": "START"}, {"coupon": "SPRING"}],
    }
    assert plain_detail(evidence=evidence, currency="KRW", language=language) == told
