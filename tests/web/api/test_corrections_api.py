"""Events put right from outside: keys, addresses, answers, the audit trail, what was put right."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base import clock
from app.base.audit import AuditEvent
from app.base.db import control_session
from tenants import corrections
from tenants.api_key_models import ApiKey
from tenants.usage_models import Event
from tests.web.api.calling import event, make_customer, make_key, push
from tests.web.api.test_openapi import DESCRIBED, resolve

THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
USED = "2026-11-20T05:01:00Z"
PATHS = DESCRIBED["paths"]["/tenants/{tenant}/events/{id}"]
SENT = PATHS["patch"]["requestBody"]["content"]["application/json"]["examples"]["quantity"]["value"]
LIST = DESCRIBED["paths"]["/tenants/{tenant}/events/{id}/corrections"]["get"]
JOB = {
    "id": "job-1",
    "type": "render.seconds",
    "time": USED,
    "quantity": 12.5,
    "properties": {"region": "seoul", "cores": 4},
}


@pytest.fixture
def tenant(client: Any, set_clock: Any) -> UUID:
    set_clock(THEN)
    return make_customer()


@pytest.fixture
def key(client: Any, tenant: UUID) -> str:
    secret = make_key(scopes=["events:write", "events:correct"])
    assert push(client, event(**JOB), key=secret).json["accepted"] == 1
    return secret


def call(client: Any, method: str, key: str | None, event_id: str = "job-1", **more: Any) -> Any:
    query = {"time": USED} | more.pop("query", {})
    return client.open(
        f"/api/v1/tenants/{more.pop('tenant', 'hanbit')}/events/{quote(event_id, safe='')}",
        method=method,
        headers={"Authorization": f"Bearer {key}"} if key else {},
        query_string={name: value for name, value in query.items() if value is not None},
        **more,
    )


def amend(client: Any, key: str | None, event_id: str = "job-1", **more: Any) -> Any:
    return call(client, "PATCH", key, event_id, **({"json": SENT} | more))


def void(client: Any, key: str | None, event_id: str = "job-1", **more: Any) -> Any:
    query = {"reason": "A test run."} | more.pop("query", {})
    return call(client, "DELETE", key, event_id, query=query, **more)


def quantities() -> list[str]:
    with control_session() as session:
        return [f"{each:f}".rstrip("0").rstrip(".") for each in session.scalars(
            select(Event.quantity).order_by(Event.id))]  # fmt: skip


class TestACall:
    @pytest.mark.parametrize(
        ("act", "method", "name"), [(amend, "patch", "quantity"), (void, "delete", "voided")]
    )
    def test_is_answered_as_described_however_often_it_is_sent(
        self, client: Any, *, key: str, tenant: UUID, act: Any, method: str, name: str
    ) -> None:
        described = PATHS[method]["responses"]["200"]["content"]["application/json"]
        wanted = described["examples"][name]["value"] | {"tenant": str(tenant)}
        for _ in range(2):
            answer = act(client, key)
            assert (answer.status_code, answer.json) == (200, wanted)
        assert quantities() == (["12"] if method == "patch" else [])
        with control_session() as session:
            (noted,) = session.scalars(
                select(AuditEvent).where(AuditEvent.subject_kind == "event")
            ).all()
            (made_by,) = session.scalars(select(ApiKey.id)).all()
            assert (noted.actor_kind, noted.actor_id) == ("api_key", str(made_by))
            assert (noted.tenant_id, noted.why) == (tenant, wanted["reason"])

    def test_reaches_events_whatever_their_ids_are_made_of(
        self, client: Any, key: str, tenant: UUID
    ) -> None:
        names = ["/gate/a 1", "a//b/", "https://gate.example/x?y=1#z 7", "도면", "50%", "a+b"]
        push(client, [event(id=name, time=USED) for name in names], key=key)
        assert [amend(client, key, name).json["id"] for name in names] == names
        assert [void(client, key, name).status_code for name in names] == [200] * len(names)
        assert quantities() == ["12.5"]

    def test_moves_an_event_to_another_time(self, client: Any, key: str) -> None:
        moved = {"reason": "The clock was wrong.", "time": "2026-11-19T14:01:00+09:00"}
        told = amend(client, key, json=moved).json["after"]
        assert told["time"] == "2026-11-19T05:01:00.000000Z"
        lost = void(client, key)
        assert (lost.status_code, lost.json["field"]) == (404, "time")
        assert void(client, key, query={"time": told["time"]}).status_code == 200

    def test_of_a_voided_event_is_refused_and_its_id_stays_used(
        self, client: Any, key: str
    ) -> None:
        void(client, key)
        problem = resolve(PATHS["patch"]["responses"]["409"])["content"]["application/problem+json"]
        answer = amend(client, key)
        assert (answer.status_code, answer.json) == (409, problem["example"])
        assert push(client, event(**JOB), key=key).json["duplicate"] == 1

    @pytest.mark.parametrize(
        ("act", "more", "status", "field"),
        [
            (amend, {"json": {"quantity": 3}}, 422, "reason"),
            (amend, {"json": {"reason": 7, "quantity": 3}}, 422, "reason"),
            (amend, {"json": {"reason": "x"}}, 422, None),
            (amend, {"json": {"reason": "x", "quantity": "many"}}, 422, "quantity"),
            (amend, {"json": {"reason": "x", "tenant": "other"}}, 422, "tenant"),
            (amend, {"json": [SENT]}, 422, None),
            (amend, {"json": None, "data": "{"}, 415, None),
            (amend, {"json": None, "data": "{", "content_type": "application/json"}, 400, None),
            (amend, {"query": {"time": None}}, 422, "time"),
            (amend, {"query": {"time": "noon"}}, 422, "time"),
            (amend, {"event_id": "job-2"}, 404, "id"),
            (amend, {"tenant": "nobody"}, 404, "tenant"),
            (void, {"query": {"reason": None}}, 422, "reason"),
            (void, {"query": {"reason": "x" * 501}}, 422, "reason"),
            (void, {"query": {"time": "2026-11-20T05:01:01Z"}}, 404, "time"),
            (void, {"event_id": "job-2"}, 404, "id"),
        ],
    )
    def test_that_can_not_be_done_names_the_field_and_changes_nothing(
        self, client: Any, *, key: str, act: Any, more: Any, status: int, field: str | None
    ) -> None:
        answer = act(client, key, **more)
        assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
        assert answer.json.get("field") == field
        assert quantities() == ["12.5"]

    @pytest.mark.parametrize("scopes", [["events:write"], ["usage:read"]])
    def test_needs_its_own_scope(
        self, client: Any, key: str, tenant: UUID, scopes: list[str]
    ) -> None:
        other = make_key(scopes=scopes, name="another")
        for act in (amend, void):
            assert act(client, other).status_code == 403
            assert act(client, None).status_code == 401
        assert quantities() == ["12.5"]

    def test_is_taken_long_after_the_event_but_moves_it_within_the_window_only(
        self, client: Any, key: str, set_clock: Any
    ) -> None:
        set_clock(THEN + timedelta(days=60))
        late = {"reason": "The clock was wrong.", "time": "2026-11-20T05:02:00Z"}
        assert amend(client, key, json=late).json["field"] == "time"
        assert amend(client, key).status_code == 200
        assert clock.now() - THEN >= timedelta(days=60)


class TestTheList:
    """`GET …/events/{id}/corrections`: what was put right of an event."""

    @pytest.fixture
    def reader(self, key: str) -> str:
        return make_key(scopes=["usage:read"], name="a reader")

    def read(self, client: Any, key: str | None, event_id: str = "job-1", **query: Any) -> Any:
        tenant = query.pop("tenant", "hanbit")
        return client.get(
            f"/api/v1/tenants/{tenant}/events/{quote(event_id, safe='')}/corrections",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            query_string=query,
        )

    def test_is_answered_as_described_oldest_first(
        self, client: Any, key: str, reader: str, tenant: UUID
    ) -> None:
        amend(client, key)
        void(client, key)
        described = LIST["responses"]["200"]["content"]["application/json"]["examples"]
        wanted = described["amendedAndVoided"]["value"] | {"tenant": str(tenant)}
        answer = self.read(client, reader)
        assert (answer.status_code, answer.json) == (200, wanted)

    def test_of_an_event_that_was_never_corrected_is_empty(
        self, client: Any, reader: str, tenant: UUID
    ) -> None:
        wanted = {"id": "job-1", "tenant": str(tenant), "corrections": [], "more": False}
        assert self.read(client, reader).json == wanted

    def test_goes_on_after_a_number(
        self, client: Any, key: str, reader: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(corrections, "SHOWN_MAX", 2)
        for quantity in (3, 4, 5):
            amend(client, key, json=SENT | {"quantity": quantity})
        first, rest = self.read(client, reader).json, self.read(client, reader, after=2).json
        assert [each["correction"] for each in first["corrections"]] == [1, 2]
        assert [each["correction"] for each in rest["corrections"]] == [3]
        assert (first["more"], rest["more"]) == (True, False)

    def test_reaches_events_whose_ids_look_like_its_address(
        self, client: Any, key: str, reader: str
    ) -> None:
        names = ["a/corrections", "corrections", "/gate/a 1"]
        push(client, [event(id=name, time=USED) for name in names], key=key)
        for name in names:
            amend(client, key, name)
            told = self.read(client, reader, name).json
            assert (told["id"], len(told["corrections"])) == (name, 1)

    @pytest.mark.parametrize(
        ("more", "status", "field"),
        [
            ({"event_id": "job-2"}, 404, "id"),
            ({"tenant": "nobody"}, 404, "tenant"),
            ({"after": "x"}, 422, "after"),
            ({"after": "-1"}, 422, "after"),
        ],
    )
    def test_that_can_not_be_read_names_the_field(
        self, client: Any, reader: str, *, more: Any, status: int, field: str
    ) -> None:
        answer = self.read(client, reader, **more)
        assert (answer.status_code, answer.json["field"]) == (status, field)

    def test_needs_the_scope_that_reads_usage(self, client: Any, key: str, reader: str) -> None:
        statuses = [self.read(client, each).status_code for each in (reader, key, None)]
        assert statuses == [200, 403, 401]
