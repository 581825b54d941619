"""`GET /api/v1/usage/{tenant}` from outside: what it tells, and of whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.web.api.reference import DOCUMENT
from jobs import rollups as step
from tenants import meters
from tests.tenants.counting import NAMES
from tests.web.api.calling import event, make_customer, make_key, push

THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
DESCRIBED = json.loads(DOCUMENT.read_text(encoding="utf-8"))
READ = DESCRIBED["paths"]["/usage/{tenant}"]["get"]
DECLARED = [
    {"code": "render_seconds", "aggregation": "sum", "event_type": "render.seconds",
     "unit": "second", "names": NAMES, "group_by": ["region"]},
    {"code": "most", "aggregation": "max", "event_type": "render.seconds", "unit": "second",
     "names": NAMES},
]  # fmt: skip


@pytest.fixture
def key(client: Any, set_clock: Callable[[datetime], None]) -> str:
    set_clock(THEN)
    make_customer()
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=meters.read_all({"meters": DECLARED}),
            actor=SYSTEM,
            now=THEN,
        )
    return make_key(scopes=["events:write", "usage:read"])


def read(client: Any, key: str | None, tenant: str = "hanbit", **asked: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.get(f"/api/v1/usage/{tenant}", query_string=asked, headers=headers)


def used(id: str, hour: str, quantity: Any, **properties: Any) -> dict[str, Any]:
    return event(id=id, type="render.seconds", time=f"2026-11-{hour}:00:00+09:00",
                 quantity=quantity, properties=properties)  # fmt: skip


class TestReading:
    def test_tells_what_was_accepted_a_moment_ago_and_the_same_when_rolled_up(
        self, client: Any, key: str
    ) -> None:
        batch = [
            used("a", "18T23", "1.5", region="seoul"),
            used("b", "19T00", 2, region="busan"),
            used("c", "20T14", "0.25", region="seoul"),
        ]
        assert push(client, batch, key=key).json["accepted"] == 3
        asked = {"from": "2026-11-18", "meter": ["render_seconds", "most"]}
        before = read(client, key, **asked).json
        seconds, most = before["meters"]
        assert [each["quantity"] for each in seconds["steps"]] == ["1.5", "2", "0.25"]
        assert (seconds["quantity"], seconds["events"], most["quantity"]) == ("3.75", 3, "2")
        assert seconds["steps"][1]["start"] == "2026-11-18T15:00:00Z"
        while step.STEP.work():
            pass
        assert read(client, key, **asked).json == before
        hours = read(client, key, step="hour", **{"from": "2026-11-20"}).json["meters"][1]
        assert [each["events"] for each in hours["steps"]] == [0] * 14 + [1] + [0] * 9
        grouped = read(client, key, meter="render_seconds", **{"group.region": "seoul"}).json
        assert grouped["meters"][0]["quantity"] == "1.75"

    def test_is_answered_as_described(self, client: Any, key: str) -> None:
        push(client, [used("a", "20T14", "12.5")], key=key)
        answer = read(client, key, meter="render_seconds", **{"from": "2026-11-20"}).json
        example = READ["responses"]["200"]["content"]["application/json"]["examples"]["oneDay"]
        assert answer | {"tenant": ""} == example["value"] | {"tenant": ""}

    @pytest.mark.parametrize(
        ("asked", "status", "field"),
        [
            ({"step": "year"}, 422, "step"),
            ({"from": "2026-11-21"}, 422, "to"),
            ({"from": "20.11.2026"}, 422, "from"),
            ({"from": "2024-01-01"}, 422, "from"),
            ({"meter": "unheard_of"}, 404, "meter"),
            ({"meter": "seats"}, 422, "meter"),
            ({"meter": "most", "group.region": "seoul"}, 422, "group"),
            ({"tenant": "nobody"}, 404, "tenant"),
        ],
    )
    def test_says_which_part_of_the_question_is_wrong(
        self, client: Any, key: str, asked: dict[str, Any], status: int, field: str
    ) -> None:
        answer = read(client, key, **asked)
        assert (answer.status_code, answer.json["field"]) == (status, field)

    def test_needs_a_key_that_may_read(self, client: Any, key: str) -> None:
        assert read(client, None).status_code == 401
        assert read(client, make_key(scopes=["events:write"])).status_code == 403
