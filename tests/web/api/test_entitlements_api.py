"""`GET /api/v1/entitlements/{tenant}` from outside: what it tells, and to whom."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.base.audit import SYSTEM, Actor
from app.base.db import control_session
from app.web.api.reference import DOCUMENT
from jobs.quotas import STEP
from tenants import entitlements, lifecycle, meters
from tenants.grants import Override
from tenants.models import Reading, Tenant
from tests.tenants.counting import NAMES
from tests.web.api.calling import event, make_customer, make_key, push

THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
BY = Actor.job("tests")
DESCRIBED = json.loads(DOCUMENT.read_text(encoding="utf-8"))
READ = DESCRIBED["paths"]["/entitlements/{tenant}"]["get"]
CALLS = {"code": "api_calls", "aggregation": "sum", "event_type": "api.call", "unit": "call",
         "names": NAMES}  # fmt: skip
QUOTAS = {"api_calls": {"soft": "100", "hard": "200", "alerts": [80, 100]}}


@pytest.fixture
def key(client: Any, set_clock: Callable[[datetime], None]) -> str:
    set_clock(THEN)
    tenant_id = make_customer()
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=meters.read_all({"meters": [CALLS]}),
            actor=SYSTEM,
            now=THEN,
        )
        lifecycle.change_plan(
            control_session=session,
            tenant_id=tenant_id,
            plan_code="team",
            limits={"seats": 10, "storage_bytes": 10**9},
            features={"sso": False, "support": "weekdays"},
            quotas=QUOTAS,
            actor=BY,
            now=THEN,
        )
        override(session, Override("feature", "sso", True), datetime(2026, 12, 31, 15, tzinfo=UTC))
        override(session, Override("limit", "storage_bytes", None))
        for meter, quantity in (("seats", "4"), ("storage_gb_days", "1.5")):
            session.add(
                Reading(tenant_id=tenant_id, meter=meter, day=date(2026, 11, 19),
                        quantity=Decimal(quantity), evidence_sha256="", taken_at=THEN)
            )  # fmt: skip
    return make_key(scopes=["events:write", "entitlements:read"])


def override(session: Any, wanted: Override, until: datetime | None = None) -> None:
    tenant = session.query(Tenant).filter_by(slug="hanbit").one()
    entitlements.override(
        control_session=session,
        tenant_id=tenant.id,
        wanted=wanted,
        reason="agreed",
        expires_at=until,
        actor=BY,
        now=THEN,
    )


def ask(client: Any, key: str | None, tenant: str = "hanbit") -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.get(f"/api/v1/entitlements/{tenant}", headers=headers)


class TestAsking:
    def test_is_answered_as_described_and_takes_events_past_the_hard_bound(
        self, client: Any, key: str, set_clock: Callable[[datetime], None]
    ) -> None:
        assert push(client, [event(id="a", quantity="150.25")], key=key).json["accepted"] == 1
        STEP.work()
        first = ask(client, key).json["quotas"]["api_calls"]
        assert (first["allowed"], first["over_soft"], first["remaining"]) == (True, True, "49.75")
        assert push(client, [event(id="b", quantity="50.25")], key=key).json["accepted"] == 1
        set_clock(THEN + timedelta(minutes=2))
        STEP.work()
        answer = ask(client, key).json
        example: Any = READ["responses"]["200"]["content"]["application/json"]["examples"]
        described = copy.deepcopy(example["quotaUsedUp"]["value"]) | {"tenant": ""}
        counted_at = answer["quotas"]["api_calls"].pop("counted_at")
        assert counted_at.startswith("2026-11-20T06:02:")
        assert set(described["quotas"]["api_calls"]) > set(answer["quotas"]["api_calls"])
        described["quotas"]["api_calls"].pop("counted_at")
        assert answer | {"tenant": ""} == described
        assert push(client, [event(id="c", quantity=1)], key=key).json["accepted"] == 1

    def test_knows_a_tenant_by_its_id_too(self, client: Any, key: str) -> None:
        by_name = ask(client, key).json
        assert ask(client, key, by_name["tenant"]).json == by_name

    def test_forgets_an_override_at_the_moment_it_ends(
        self, client: Any, key: str, set_clock: Callable[[datetime], None]
    ) -> None:
        set_clock(datetime(2026, 12, 31, 15, tzinfo=UTC))
        answer = ask(client, key).json
        assert answer["features"]["sso"] == {"value": False, "source": "plan"}
        quota = answer["quotas"]["api_calls"]
        assert (quota["used"], quota["counted_at"]) == ("0", None)
        assert quota["period"]["start"] == "2026-12-31T15:00:00Z"

    def test_tells_nothing_of_strangers_or_to_them(self, client: Any, key: str) -> None:
        missing = ask(client, key, "nobody")
        assert (missing.status_code, missing.json["field"]) == (404, "tenant")
        assert ask(client, None).status_code == 401
        assert ask(client, make_key(scopes=["usage:read"])).status_code == 403
