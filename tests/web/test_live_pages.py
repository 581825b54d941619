"""Live usage in the console and the portal: charts that say in numbers what they draw."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from sqlalchemy.exc import OperationalError

from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from app.web import live
from tenants import live_usage, meters
from tests.browser import WIDTHS, chromium, faults, open_page, screenshot
from tests.factories import NOW, PASSWORD, make_staff
from tests.tenants.counting import all_kinds, count, generate, meter, store
from tests.web.forms import admit, sign_in_staff
from tests.web.portal.parts import admin_of, sign_in
from tests.web.portal.stage import long_life
from tests.web.site.serving import serve


@pytest.fixture
def used(app: Any, set_clock: Callable[..., None]) -> Any:
    set_clock(NOW)
    tenant = long_life()
    with control_session() as session:
        definitions = [meter("calls", aggregation="count"), *all_kinds()[3:6]]
        meters.declare(control_session=session, definitions=definitions, actor=SYSTEM, now=NOW)
    with usage_session() as session:
        start = NOW - timedelta(days=40)
        events = generate(random.Random(1), tenants=[tenant.id], start=start, end=NOW, n=900)
        store(session, events)
    return tenant, events


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def portal(client: Any, tenant: Any) -> None:
    sign_in(client, tenant)


class TestLiveUsage:
    def test_shows_a_meter_to_the_customer_as_it_stands_now(self, client: Any, used: Any) -> None:
        tenant, events = used
        portal(client, tenant)
        start, _ = live_usage.replay.bounds(NOW.date().replace(day=1), tenant.timezone)
        calls = count(meter("c", aggregation="count"), events, tenant.id, start=start, end=NOW)
        page = client.get("/portal/plan?lang=en").text
        assert "Live usage" in page
        assert f'<p class="stat-value">{calls[0]}<' in page
        assert page.count("<caption") >= 4
        assert "03-09" in page
        assert "2026-02" in client.get("/portal/plan?usage=month").text
        assert "03-09 13:00" in client.get("/portal/plan?usage=hour").text

    def test_shows_it_to_staff_too_by_day_hour_and_month(self, client: Any, used: Any) -> None:
        tenant, events = used
        sign_in_staff(client, "viewer")
        start, _ = live_usage.replay.bounds(NOW.date().replace(day=1), tenant.timezone)
        calls = count(meter("c", aggregation="count"), events, tenant.id, start=start, end=NOW)
        place = f"/console/tenants/{tenant.id}"
        page = client.get(f"{place}?lang=en").text
        assert f'<p class="stat-value">{calls[0]}<' in page
        assert page.count("<caption") >= 4
        assert "03-09 13:00" in client.get(f"{place}?usage=hour").text
        assert "2026-02" in client.get(f"{place}?usage=month").text

    def test_is_left_out_where_no_meter_is_declared(self, client: Any, set_clock: Any) -> None:
        set_clock(NOW)
        portal(client, long_life())
        assert "live-usage" not in client.get("/portal/plan").text

    def test_leaves_the_page_standing_when_usage_is_away(
        self, client: Any, used: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(**_: Any) -> None:
            raise OperationalError("SELECT", {}, Exception("the server is away"))

        portal(client, used[0])
        monkeypatch.setattr(live.live_usage, "courses", away)
        page = client.get("/portal/plan?lang=en")
        assert page.status_code == 200
        assert "be read right now" in page.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_has_no_faults_on_phone_or_desk(
        self, app: Any, used: Any, browser: Browser, language: str
    ) -> None:
        tenant, _ = used
        with control_session() as session:
            staff = make_staff(session, role="admin").email
        pages = (
            ("portal", admin_of(tenant).email, "/portal/plan"),
            ("console", staff, f"/console/tenants/{tenant.id}"),
        )
        with serve(app) as address:
            for audience, email, place in pages:
                with open_page(browser, language=language) as page:
                    admit(page, f"{address}/{audience}", email=email, password=PASSWORD)
                    answer = page.goto(f"{address}{place}?usage=day")
                    assert answer is not None
                    assert answer.status == 200, place
                    assert faults(page) == []
                    if folder := os.environ.get("TENANTRY_SHOTS"):
                        for width in WIDTHS:
                            page.set_viewport_size({"width": width, "height": 844})
                            screenshot(
                                page, Path(folder) / f"live-{audience}.{language}.{width}.png"
                            )
