"""`GET /api/v1/tenants/{tenant}/upcoming-invoice` from outside: what it tells, and to whom."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.base.db import control_session
from app.web.api.reference import DOCUMENT
from invoices import invoicing
from tests.factories import make_readings, make_subscription, make_tenant
from tests.web.api.calling import make_customer, make_key

THEN = datetime(2026, 11, 20, 6, 0, tzinfo=UTC)
START = date(2026, 11, 1)
READ = json.loads(DOCUMENT.read_text(encoding="utf-8"))["paths"][
    "/tenants/{tenant}/upcoming-invoice"
]["get"]


@pytest.fixture
def key(client: Any, set_clock: Callable[[datetime], None]) -> str:
    set_clock(THEN)
    return make_key(scopes=["invoices:read"])


@pytest.fixture
def subscribed(key: str) -> None:
    began = datetime(2026, 11, 1, tzinfo=UTC)
    with control_session() as session:
        tenant = make_tenant(session, state="active", slug="hanbit")
        subscription = make_subscription(session, tenant=tenant, starts_on=START, now=began)
        make_readings(
            session,
            tenant_id=tenant.id,
            start=START,
            end=date(2026, 11, 20),
            seats=14,
            gigabytes=Decimal("112.5"),
        )
        invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=began)


def read(client: Any, key: str | None, tenant: str = "hanbit") -> Any:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return client.get(f"/api/v1/tenants/{tenant}/upcoming-invoice", headers=headers)


class TestReadingTheNextInvoice:
    @pytest.mark.usefixtures("subscribed")
    def test_is_answered_as_described(self, client: Any, key: str) -> None:
        answer = read(client, key)
        example = READ["responses"]["200"]["content"]["application/json"]["examples"]
        described = example["middleOfMonth"]["value"]
        assert answer.status_code == 200
        # The clock ticks on from where it was set: the moment of asking is near, not the same.
        asked, shown = map(datetime.fromisoformat, (answer.json["as_of"], described["as_of"]))
        assert timedelta(0) <= asked - shown < timedelta(minutes=10)
        apart = {"tenant": "", "as_of": ""}
        assert answer.json | apart == described | apart

    def test_finds_nothing_for_a_tenant_without_a_subscription(self, client: Any, key: str) -> None:
        make_customer("trying")
        answer = read(client, key, "trying")
        assert (answer.status_code, "no subscription" in answer.json["detail"]) == (404, True)

    def test_finds_nothing_for_a_stranger(self, client: Any, key: str) -> None:
        assert read(client, key, "nobody").json["field"] == "tenant"

    def test_needs_a_key_that_may_read_invoices(self, client: Any, key: str) -> None:
        assert read(client, None).status_code == 401
        assert read(client, make_key(scopes=["events:write"])).status_code == 403
