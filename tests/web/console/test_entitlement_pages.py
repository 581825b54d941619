"""The section of a company's page that says what it may use, and its exceptions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select

from app.base.audit import SYSTEM, Actor
from app.base.db import control_session
from tenants import lifecycle, meters
from tenants.entitlement_models import EntitlementOverride, QuotaAlert
from tenants.models import Tenant
from tests.factories import NOW, make_tenant
from tests.naughty import naughty
from tests.tenants.counting import NAMES
from tests.web.forms import send, sign_in_staff

CALLS = {"code": "api_calls", "aggregation": "sum", "event_type": "api.call", "unit": "call",
         "names": NAMES}  # fmt: skip


@pytest.fixture
def page(client: Any, set_clock: Callable[[datetime], None]) -> str:
    """The page of a company on a plan with features and a quota."""
    set_clock(NOW)
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=meters.read_all({"meters": [CALLS]}),
            actor=SYSTEM,
            now=NOW,
        )
        tenant = make_tenant(session, state="active")
        lifecycle.change_plan(
            control_session=session,
            tenant_id=tenant.id,
            plan_code="team",
            limits={"seats": 10, "storage_bytes": 10**9},
            features={"sso": False, "support": "weekdays"},
            quotas={"api_calls": {"soft": "1000", "hard": "2000"}},
            actor=Actor.job("tests"),
            now=NOW,
        )
        session.add(
            QuotaAlert(tenant_id=tenant.id, meter="api_calls", starts_at=NOW, bound="soft",
                       percent=80, quota=Decimal(1000), used=Decimal(801), reached_at=NOW)
        )  # fmt: skip
        return f"/console/tenants/{tenant.id}"


def make(client: Any, page: str, **fields: str) -> Any:
    typed = {"kind": "limit", "code": "seats", "value": "25", "why": "agreed by contract"}
    return send(client, page, typed | fields, to=f"{page}/entitlements")


def kept() -> list[EntitlementOverride]:
    with control_session() as session:
        return list(session.scalars(select(EntitlementOverride)))


class TestSection:
    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("en", ["on weekdays", "soft 1,000 · hard 2,000", "80% of the soft quota of Usage"]),
            ("ko", ["평일", "약한 한도 1,000 · 강한 한도 2,000", "약한 할당량 80%에 이름"]),
        ],
    )
    def test_tells_every_value_and_what_filled(
        self, client: Any, page: str, language: str, words: list[str]
    ) -> None:
        sign_in_staff(client, "viewer")
        text = client.get(page, query_string={"lang": language}).text
        assert [each for each in words if each not in text] == []
        assert "/entitlements" not in text

    def test_is_left_out_of_a_company_that_is_not_live(self, client: Any, page: str) -> None:
        with control_session() as session:
            tenant = make_tenant(session, state="approved")
        sign_in_staff(client, "admin")
        answer = client.get(f"/console/tenants/{tenant.id}")
        assert answer.status_code == 200
        assert "entitlement-kind" not in answer.text


class TestExceptions:
    def test_are_made_for_a_reason_shown_with_it_and_ended(self, client: Any, page: str) -> None:
        sign_in_staff(client, "sales")
        assert make(client, page, expires="2026-03-31").status_code == 303
        (row,) = kept()
        assert row.value == {"is": 25}
        assert row.expires_at == datetime(2026, 3, 31, 15, tzinfo=UTC)
        assert "agreed by contract" in client.get(page).text
        ended = send(client, page, {"why": "over"}, to=f"{page}/entitlements/{row.id}/end")
        assert ended.status_code == 303
        with control_session() as session:
            assert session.scalars(select(Tenant.limits)).one()["seats"] == 10
        again = send(client, page, {"why": "over"}, to=f"{page}/entitlements/{row.id}/end")
        assert again.status_code == 404

    @pytest.mark.parametrize(
        ("fields", "value"),
        [
            ({"kind": "feature", "code": "sso", "value": "On"}, True),
            ({"kind": "feature", "code": "support", "value": "day & night"}, "day & night"),
            ({"kind": "limit", "code": "storage_bytes", "value": ""}, None),
            ({"kind": "limit", "code": "storage_bytes", "value": "5,000,000,000,000"}, 5 * 10**12),
            (
                {"kind": "quota", "code": "api_calls", "soft": "5,000", "alerts": "50%, 100"},
                {"soft": "5000", "alerts": [50, 100]},
            ),
            ({"kind": "quota", "code": "api_calls"}, None),
        ],
    )
    def test_of_each_kind_are_kept_as_typed(
        self, client: Any, page: str, fields: dict[str, str], value: Any
    ) -> None:
        sign_in_staff(client, "sales")
        assert make(client, page, **fields).status_code == 303
        assert kept()[0].value == {"is": value}
        assert client.get(page).status_code == 200

    @pytest.mark.parametrize(
        "fields",
        [
            {"why": " "},
            {"code": "films"},
            {"value": "1.5"},
            {"value": "-1"},
            {"expires": "2026-03-09"},
            {"expires": "soon"},
            {"expires": "9999-12-31"},
            {"kind": "gift"},
            {"kind": "quota", "code": "seats", "soft": "1"},
            {"kind": "quota", "code": "api_calls", "soft": "3", "hard": "2"},
            {"kind": "quota", "code": "api_calls", "soft": "3", "alerts": "x"},
        ],
    )
    def test_that_make_no_sense_are_refused_with_what_was_typed_kept(
        self, client: Any, page: str, fields: dict[str, str]
    ) -> None:
        sign_in_staff(client, "sales")
        answer = make(client, page, **fields)
        assert (answer.status_code, kept()) == (422, [])
        assert "has-error" in answer.text

    def test_take_naughty_strings(self, client: Any, page: str) -> None:
        sign_in_staff(client, "sales")
        for text in naughty(page):
            answer = make(client, page, kind="feature", code="sso", value=text, why=text)
            assert answer.status_code in (303, 422), text
        shown = client.get(page)
        assert shown.status_code == 200
        assert "<script>alert" not in shown.text

    @pytest.mark.parametrize("role", ["viewer", "finance"])
    def test_are_not_for_everybody(self, client: Any, page: str, role: str) -> None:
        sign_in_staff(client, role)
        assert make(client, page).status_code == 403
        assert kept() == []
