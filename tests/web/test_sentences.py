"""What rooms refuse with a figure in it, said to Koreans in Korean."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.base.errors import Invalid
from app.web.i18n import force_locale
from app.web.sentences import say
from invoices import charges, pricing
from invoices.charges import Charge, Meter
from invoices.pricing import Pricing, Tier

FLAT = Pricing(model="flat", unit_amount=Decimal(1))


def refusal(of: Pricing) -> str:
    with pytest.raises(Invalid) as refused:
        pricing.check(of)
    return refused.value.message


@pytest.mark.parametrize(
    ("wrong", "korean"),
    [
        (replace(FLAT, model="gift"), "다음 가운데 한 가지 방식을 적어 주세요: flat, "),
        (replace(FLAT, unit_amount=Decimal(-5)), "-5은(는) 0보다 작아요."),
        (replace(FLAT, unit_amount=Decimal("1e40")), "정수 부분은 "),
        (replace(FLAT, included=Decimal(3)), "flat 요금에는 included 값을 쓰지 않으니 빼 주세요."),
        (Pricing(model="package", unit_amount=Decimal(1)), "package 요금에는 package_size 값이"),
        (Pricing(model="graduated"), "graduated 요금에는 구간이 하나 이상 필요해요."),
        (
            Pricing(model="graduated", tiers=(Tier(up_to=Decimal(9), unit_amount=Decimal(1)),)),
            "마지막 구간에는 끝이 없어야 해요. 그렇지 않으면 9을(를)",
        ),
        (
            replace(FLAT, minimum_amount=Decimal(9), maximum_amount=Decimal(8)),
            "최대 금액(8)이 최소 금액(9)보다 작아요.",
        ),
    ],
)
def test_a_price_at_fault_is_told_with_its_figures(app: Any, wrong: Pricing, korean: str) -> None:
    english = refusal(wrong)
    with app.test_request_context(), force_locale("ko"):
        assert say(english).startswith(korean)
    with app.test_request_context(), force_locale("en"):
        assert say(english) == english


def test_an_unknown_meter_is_told_with_those_there_are(app: Any) -> None:
    charge = Charge(code="x", name_ko="엑스", name_en="X", meter="<b>", pricing=FLAT)
    with pytest.raises(Invalid) as refused:
        charges.check_meter(charge, {"seats": Meter(by_day=True), "calls": Meter(by_day=False)})
    with app.test_request_context(), force_locale("ko"):
        assert say(refused.value.message) == (
            "<b>라는 계량기가 없어요. 쓸 수 있는 것: calls, seats"
        )


def test_what_has_no_shape_stays_itself(app: Any) -> None:
    with app.test_request_context(), force_locale("ko"):
        assert say("Nothing of the kind.") == "Nothing of the kind."
