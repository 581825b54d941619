"""Whose right it is to change what: the setting, one's own tenant, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from app.base import audit
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from tenants import lifecycle
from tests.factories import NOW
from tests.web.forms import csrf_token, sign_in_staff
from tests.web.portal.parts import customer, sign_in
from tests.web.portal.test_changes import (
    CHANGE,
    PLAN,
    change,
    items_of,
    seen,
    subscriber,
    subscription_of,
)


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the factories' rows begin."""
    set_clock(NOW)


@pytest.fixture
def rights(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Sets what customers may do."""

    def give(words: str) -> None:
        monkeypatch.setenv("TENANTRY_CUSTOMER_MAY", words)
        settings.cache_clear()

    yield give
    monkeypatch.undo()
    settings.cache_clear()


class TestRights:
    def test_a_pause_and_its_end(self, client: Any, rights: Callable[[str], None]) -> None:
        rights("pause")
        tenant = subscriber()
        sign_in(client, tenant)
        assert change(client, "pause").status_code == 303
        assert subscription_of(tenant).state == "paused"
        assert f"{CHANGE}/resume" in client.get(PLAN).text
        assert change(client, "resume").status_code == 303
        assert subscription_of(tenant).state == "active"

    @pytest.mark.parametrize(
        ("language", "words"),
        [("ko", "미납 청구서를 먼저 결제한"), ("en", "Pay the open invoices first")],
    )
    def test_to_pause_say_what_a_debtor_does_first(
        self, client: Any, rights: Callable[[str], None], language: str, words: str
    ) -> None:
        rights("pause")
        tenant = subscriber()
        sign_in(client, tenant)
        with control_session() as session:
            lifecycle.suspend(
                control_session=session,
                tenant_id=tenant.id,
                reason="unpaid",
                actor=SYSTEM,
                now=NOW,
            )
        page = seen(client, "pause", lang=language)
        assert (page.status_code, words in page.text) == (409, True)
        assert subscription_of(tenant).state == "active"

    @pytest.mark.parametrize(
        ("verb", "answers"),
        [
            ("plan", {"plan": "large", "when": "now"}),
            ("quantity", {"charge": "licences", "quantity": "4", "when": "now"}),
            ("add", {"charge": "support"}),
            ("remove", {"charge": "support", "when": "now"}),
            ("pause", {}),
            ("resume", {}),
            ("cancel", {}),
            ("take-back", {}),
            ("billing-day", {"billing_day": "5"}),
        ],
    )
    def test_that_are_not_given_are_refused_and_not_shown(
        self, client: Any, rights: Callable[[str], None], verb: str, answers: dict[str, str]
    ) -> None:
        rights("")
        tenant = subscriber()
        sign_in(client, tenant)
        assert CHANGE not in client.get(PLAN).text
        assert client.get(f"{CHANGE}/{verb}").status_code == 403
        assert seen(client, verb, **answers).status_code == 403
        token = csrf_token(client, "/portal/account")
        answer = client.post(f"{CHANGE}/{verb}", data=answers | {"csrf_token": token})
        assert answer.status_code == 403
        assert len(items_of(tenant)) == 3

    def test_to_cancel_lead_past_the_preview_only(self, client: Any) -> None:
        tenant = subscriber()
        sign_in(client, tenant)
        token = csrf_token(client, "/portal/account")
        answer = client.post(f"{PLAN}/cancel", data={"csrf_token": token})
        assert answer.status_code == 404
        assert subscription_of(tenant).ends_on is None

    def test_end_at_one_s_own_tenant(self, client: Any) -> None:
        theirs, mine = subscriber(), subscriber()
        sign_in(client, mine)
        before = items_of(theirs)
        assert change(client, "plan", plan="large", when="now").status_code == 303
        assert items_of(theirs) == before

    def test_need_a_known_verb_and_a_signed_in_person(self, client: Any) -> None:
        assert client.get(f"{CHANGE}/plan").status_code == 302
        sign_in(client, subscriber())
        assert client.get(f"{CHANGE}/fly").status_code == 404


class TestTheTimeline:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_says_what_will_be_billed_when_and_who_changed_what(
        self, client: Any, language: str
    ) -> None:
        sign_in(client, subscriber())
        change(client, "plan", plan="large", when="period_end")
        page = client.get(f"{PLAN}/timeline", query_string={"lang": language}).text
        assert "2026-04-01" in page
        assert "2027-03-01" in page
        assert "₩109,120" in page  # 99,200 with its tax
        assert "관리자" in page  # whoever signed in changed it

    def test_is_there_on_trial_too(self, client: Any) -> None:
        sign_in(client, customer())
        assert client.get(f"{PLAN}/timeline").status_code == 200

    def test_keeps_every_change_page_by_page(self, client: Any) -> None:
        tenant = subscriber()
        with control_session() as session:
            for number in range(1, 103):
                audit.append(
                    control_session=session,
                    actor=SYSTEM,
                    action="subscription.billing_day_changed",
                    subject_kind="subscription",
                    subject_id=subscription_of(tenant).id,
                    tenant_id=tenant.id,
                    details={"billing_day": f"no. {number}."},
                    now=NOW + timedelta(minutes=number),
                )
        sign_in(client, tenant)
        sign_in_staff(client, "viewer")
        for place in (f"{PLAN}/timeline", f"/console/tenants/{tenant.id}/subscription"):
            newest, oldest = (
                client.get(place, query_string={"page": page, "lang": "en"}).text
                for page in ("1", "2")
            )
            told = [
                [f"no. {number}." in page for number in range(1, 103)] for page in (newest, oldest)
            ]
            assert told == [[False, False] + [True] * 100, [True, True] + [False] * 100]
            assert "page=2" in newest
            assert "Page 2 of 2" in oldest
