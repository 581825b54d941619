"""What a plan grants, and what is noted of a contract by code, in the words of both languages."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import catalogue
from tenants import entitlements, grants, meters
from tenants.grants import Quota
from tenants.models import Tenant
from tests.factories import NOW
from tests.invoices.plans import TEAM
from tests.invoices.test_changes import LARGE
from tests.web.console.test_subscription_pages import change, place
from tests.web.forms import sign_in_staff
from tests.web.portal.parts import customer, sign_in
from tests.web.portal.test_changes import subscriber

CALLS = {"code": "api_calls", "aggregation": "count", "event_type": "api.call", "unit": "call",
         "names": {"ko": "API 호출", "en": "API calls"}}  # fmt: skip
GRANTING = replace(
    TEAM,
    features={"sso": True, "support": "weekdays", "scim": False, "night_shift": "Seoul only"},
    quotas={"api_calls": Quota(hard=Decimal(10_000))},
)
SAID = {
    "en": [
        "Single sign-on (SSO)",
        "Support: on weekdays",
        "night shift: Seoul only",
        "API calls: up to 10,000 calls a month",
    ],
    "ko": [
        "통합 로그인(SSO)",
        "지원: 평일",
        "night shift: Seoul only",
        "API 호출: 월 10,000회까지",
    ],
}


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[[datetime], None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


def publish(**quotas: Quota) -> None:
    """The team plan with features and a quota is on offer."""
    with control_session() as session:
        declared = meters.read_all({"meters": [CALLS]})
        meters.declare(control_session=session, definitions=declared, actor=SYSTEM, now=NOW)
        terms = replace(GRANTING, quotas=quotas or GRANTING.quotas)
        catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=NOW)


class TestWhatAPlanGrants:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_stands_on_the_price_list_and_where_it_is_chosen(
        self, client: Any, language: str
    ) -> None:
        tenant = customer()
        publish()
        sign_in(client, tenant)
        for page in ("/pricing?currency=KRW&", "/portal/plan?", "/portal/plan/convert?plan=team&"):
            text = client.get(f"{page}lang={language}").text
            for words in SAID[language]:
                assert words in text, page
            assert "SCIM" not in text

    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("en", ["Night crew: Seoul only", "Login for all"]),
            ("ko", ["야간 지원: Seoul only", "한 번에 로그인"]),
        ],
    )
    def test_is_called_as_the_price_list_calls_it(
        self, client: Any, language: str, words: list[str]
    ) -> None:
        tenant = customer()
        names = {
            "night_shift": ("야간 지원", "Night crew"),
            "sso": ("한 번에 로그인", "Login for all"),
        }
        with control_session() as session:
            terms = replace(GRANTING, quotas={}, feature_names=names)
            catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=NOW)
            entitlements.grant(
                control_session=session,
                tenant=session.get_one(Tenant, tenant.id),
                granted=grants.told(limits=terms.limits, features=terms.features, quotas={}),
                actor=SYSTEM,
                now=NOW,
            )
        sign_in_staff(client, "admin")
        for page in (
            "/pricing?currency=KRW&",
            "/console/catalogue/team/KRW?",
            f"/console/tenants/{tenant.id}?",
        ):
            text = client.get(f"{page}lang={language}").text
            for each in words:
                # A company's page has a column for what a feature is.
                assert (each if "tenants" not in page else each.split(":")[0]) in text, page

    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("en", "API calls: 2,000 calls a month, and word when it is more"),
            ("ko", "API 호출: 월 2,000회, 넘으면 알려 드려요"),
        ],
    )
    def test_says_of_a_soft_quota_that_nothing_stops(
        self, client: Any, language: str, words: str
    ) -> None:
        customer()
        publish(api_calls=Quota(soft=Decimal(2_000)))
        assert words in client.get(f"/pricing?currency=KRW&lang={language}").text


class TestTheTrail:
    @pytest.mark.parametrize(
        ("language", "words"),
        [("en", "Plan changed to Great hall v2"), ("ko", "요금제 변경: 큰 방 v2")],
    )
    def test_names_what_was_changed_not_its_code(
        self, client: Any, language: str, words: str
    ) -> None:
        tenant = subscriber()
        named = replace(LARGE, position=10, name_ko="큰 방", name_en="Great hall")
        with control_session() as session:
            catalogue.publish(control_session=session, terms=named, actor=SYSTEM, now=NOW)
        sign_in_staff(client, "sales")
        change(client, tenant, "plan", plan="large", when="now")
        assert words in client.get(place(tenant), query_string={"lang": language}).text
