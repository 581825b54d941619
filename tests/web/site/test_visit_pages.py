"""Visits: from a page to a row, and what must never happen on the way."""

import json
import time
from typing import Any

import pytest
import redis
from sqlalchemy import select

from app.base.config import settings
from app.base.db import control_session
from app.base.metrics import VISITS_DROPPED
from app.web import valkey as way
from jobs import visits as step
from jobs import wakeups
from tenants import visits
from tenants.models import Application, VisitEvent
from tenants.visits import BUFFER
from tests.factories import make_catalogue
from tests.web.forms import send
from tests.web.site.test_trial_pages import ANSWERS

COOKIE = "tenantry_visitor"


@pytest.fixture(autouse=True)
def _fresh_breaker() -> Any:
    way.breaker.cache_clear()
    yield
    way.breaker.cache_clear()


def drained() -> list[VisitEvent]:
    while step.drain():
        pass
    with control_session() as session:
        return list(session.scalars(select(VisitEvent).order_by(VisitEvent.at, VisitEvent.id)))


class TestPageView:
    def test_becomes_a_row_with_source_and_without_query(self, client: Any) -> None:
        client.get(
            "/pricing?utm_source=news&utm_campaign=may&seats=5",
            headers={"Referer": "https://news.example/story?id=secret"},
        )
        (event,) = drained()
        assert (event.kind, event.page, event.referrer) == (
            "page",
            "/pricing",
            "news.example/story",
        )
        assert event.utm == {"source": "news", "campaign": "may"}

    def test_ties_pages_to_one_visitor_by_a_first_party_cookie(self, client: Any) -> None:
        first = client.get("/")
        cookie = next(c for c in first.headers.getlist("Set-Cookie") if c.startswith(COOKIE))
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert f"Max-Age={settings().visitor_cookie_days * 86400}" in cookie
        assert settings().visitor_cookie_days <= 396
        again = client.get("/trial")
        assert not any(c.startswith(COOKIE) for c in again.headers.getlist("Set-Cookie"))
        assert len({event.visitor_id for event in drained()}) == 1

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_is_of_the_language_that_was_read(self, client: Any, language: str) -> None:
        client.get(f"/terms?lang={language}")
        assert [event.language for event in drained()] == [language]

    def test_belongs_to_the_application_of_whoever_signs_up(self, client: Any) -> None:
        with control_session() as session:
            make_catalogue(session)
        client.get("/pricing")
        assert send(client, "/trial", ANSWERS).status_code == 303
        drained()
        with control_session() as session:
            visitor = session.scalars(select(Application.visitor_id)).one()
            assert visitor is not None
            trail = visits.trail(control_session=session, visitor_id=visitor)
            assert [event.page for event in trail][:2] == ["/pricing", "/trial"]

    @pytest.mark.parametrize("header", ["DNT", "Sec-GPC"])
    def test_of_a_browser_that_refuses_leaves_nothing(self, client: Any, header: str) -> None:
        client.get("/")
        drained()
        answer = client.get("/pricing", headers={header: "1"})
        assert any(
            c.startswith(f"{COOKIE}=;") and "Max-Age=0" in c
            for c in answer.headers.getlist("Set-Cookie")
        )
        client.post("/_/visit", json={"action": "x", "page": "/"}, headers={header: "1"})
        assert len(drained()) == 1

    def test_of_a_secret_address_keeps_no_secret(self, client: Any) -> None:
        client.get("/trial/renewed")
        client.get("/trial/confirm/a-Secret-token_1")
        client.get("/healthz")
        assert [event.page for event in drained()] == ["/trial/renewed"]

    def test_with_a_planted_cookie_gets_a_visitor_of_its_own(self, client: Any) -> None:
        client.set_cookie(COOKIE, "'; DROP TABLE visit_event; --")
        assert client.get("/").status_code == 200
        assert len(drained()) == 1

    def test_does_not_wait_for_a_valkey_that_is_away(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nobody = redis.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=0.25)
        monkeypatch.setattr(way, "client", lambda: nobody)
        dropped = VISITS_DROPPED._value.get()
        begun_at = time.monotonic()
        for _ in range(20):
            assert client.get("/robots.txt").status_code == 200
            assert client.get("/terms").status_code == 200
        assert time.monotonic() - begun_at < 5
        assert VISITS_DROPPED._value.get() == dropped + 20


class TestAction:
    def test_is_noted_with_its_page(self, client: Any) -> None:
        client.get("/")
        said = json.dumps({"action": "hero-trial", "page": "/trial/sent/x.Y_z"})
        answer = client.post("/_/visit", data=said, content_type="text/plain;charset=UTF-8")
        assert answer.status_code == 204
        page, action = drained()
        assert (action.kind, action.action, action.page) == ("action", "hero-trial", "/trial/sent")
        assert action.visitor_id == page.visitor_id

    @pytest.mark.parametrize(
        "body", ["", "[]", "nonsense", '{"action": "<b>"}', '{"action": 1e400}']
    )
    def test_that_is_none_of_ours_is_refused(self, client: Any, body: str) -> None:
        client.get("/")
        assert client.post("/_/visit", data=body).status_code == 422
        assert len(drained()) == 1

    def test_of_a_stranger_or_another_site_is_ignored(self, client: Any) -> None:
        assert client.post("/_/visit", json={"action": "x"}).status_code == 204
        client.get("/")
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert client.post("/_/visit", json={"action": "x"}, headers=headers).status_code == 204
        assert len(drained()) == 1

    @pytest.mark.parametrize("origin", ["http://[", "null", "http://localhost.evil.example"])
    def test_of_a_broken_or_strange_origin_is_ignored(self, client: Any, origin: str) -> None:
        client.get("/pricing")
        answer = client.post("/_/visit", data='{"action": "buy"}', headers={"Origin": origin})
        assert answer.status_code == 204
        assert [row.kind for row in drained()] == ["page"]

    def test_too_deep_is_refused(self, client: Any) -> None:
        client.get("/pricing")
        assert client.post("/_/visit", data="[" * 1000).status_code == 422

    def test_too_large_is_refused(self, client: Any) -> None:
        client.get("/")
        answer = client.post("/_/visit", data=json.dumps({"action": "x", "page": "/" * 5000}))
        assert answer.status_code in (413, 422)


class TestDrain:
    def test_is_due_while_the_buffer_holds_something(self, client: Any, now: Any) -> None:
        with control_session() as session:
            assert not step.STEP.due(session, now)
            client.get("/")
            assert step.STEP.due(session, now)
            drained()
            assert not step.STEP.due(session, now)

    def test_skips_what_is_not_ours_and_keeps_the_rest(
        self, client: Any, valkey: redis.Redis
    ) -> None:
        client.get("/")
        valkey.rpush(BUFFER, "nonsense", '{"kind": "page"}', "\x00")
        client.get("/terms")
        assert [event.page for event in drained()] == ["/", "/terms"]
        assert valkey.llen(BUFFER) == 0

    def test_writes_once_what_was_read_twice(self, client: Any, valkey: redis.Redis) -> None:
        client.get("/")
        (line,) = valkey.lrange(BUFFER, 0, -1)
        drained()
        valkey.rpush(BUFFER, line)
        assert len(drained()) == 1

    def test_without_valkey_has_nothing_to_do(
        self, client: Any, now: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nobody = redis.Redis.from_url("redis://127.0.0.1:1/0", retry=None)
        monkeypatch.setattr(step, "valkey", lambda: nobody)
        assert wakeups.valkey() is not nobody
        with control_session() as session:
            assert not step.STEP.due(session, now)
        assert step.STEP.work() == 0
