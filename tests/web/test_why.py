"""From a number on an invoice to its steps, its days and the events behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import invoicing
from invoices.models import Invoice
from tenants import members, metering
from tenants.models import Tenant
from tests.browser import WIDTHS, chromium, faults, open_page, screenshot
from tests.factories import PASSWORD, make_subscription
from tests.web.forms import admit, sign_in_staff
from tests.web.portal.parts import sign_in
from tests.web.site.serving import serve
from tests.workspaces import Workspace, make_workspace

START = date(2026, 3, 1)
DAY = date(2026, 3, 5)
SEATS = 13


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


@pytest.fixture
def workspace(app: Any, set_clock: Any) -> Workspace:
    """A tenant with 13 seats since the fifth of March, read day by day and billed for March."""
    made = make_workspace(now=seoul(START), limits={"seats": 50, "storage_bytes": 1_000_000})
    with made.session() as session:
        for number in range(SEATS - 1):
            members.invite(
                tenant_session=session,
                email=f"person-{number}@customer.example",
                name="사용자",
                role="member",
                actor=SYSTEM,
                now=seoul(DAY, 10),
            )
    days = [START + timedelta(days=place) for place in range(31)]
    april = seoul(date(2026, 4, 1))
    with control_session() as session:
        order = metering.begin(control_session=session, tenant_id=made.tenant_id, days=days)
    taken = metering.perform(order)
    with control_session() as session:
        metering.due_days(control_session=session, now=april)
        metering.record(control_session=session, order=order, taken=taken, now=april)
        tenant = session.get_one(Tenant, made.tenant_id)
        tenant.state, tenant.converted_at = "active", seoul(START)
        subscription = make_subscription(session, tenant=tenant, starts_on=START, now=seoul(START))
        assert not invoicing.bill(
            control_session=session, subscription_ids=[subscription.id], now=april
        ).blocked
    set_clock(april)
    return made


def last_invoice(tenant_id: UUID) -> UUID:
    with control_session() as session:
        return session.scalars(
            select(Invoice.id)
            .where(Invoice.tenant_id == tenant_id)
            .order_by(Invoice.supplied_on.desc())
            .limit(1)
        ).one()


def events(door: str, workspace: Workspace, position: int = 2, **asked: Any) -> str:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    return f"/{door}/invoices/{last_invoice(workspace.tenant_id)}/lines/{position}/events?{query}"


def customer(client: Any, workspace: Workspace) -> Any:
    with control_session() as session:
        return sign_in(client, session.get_one(Tenant, workspace.tenant_id))


class TestAnInvoiceTakenApart:
    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("ko", ("단위당 요금", "가장 많았던 날", "단위당", "단수 버림")),
            ("en", ("A price for each unit", "Highest day", "Each unit", "Fractions are dropped")),
        ],
    )
    def test_shows_price_steps_rounding_and_days(
        self, client: Any, workspace: Workspace, language: str, words: tuple[str, ...]
    ) -> None:
        page = customer(client, workspace).get(
            f"/portal/invoices/{last_invoice(workspace.tenant_id)}?lang={language}"
        )
        assert page.status_code == 200
        assert [word for word in (*words, "team v1", "₩45,000") if word not in page.text] == []
        assert page.text.count("/lines/2/events?day=2026-03-") == 31

    def test_leads_staff_to_the_same(self, client: Any, workspace: Workspace) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(f"/console/invoices/{last_invoice(workspace.tenant_id)}?lang=en")
        assert "/lines/2/events?day=2026-03-05" in page.text


class TestTheEventsOfADay:
    @pytest.mark.parametrize("door", ["console", "portal"])
    def test_are_listed_and_give_the_reading(
        self, client: Any, workspace: Workspace, door: str
    ) -> None:
        if door == "console":
            sign_in_staff(client, "viewer")
        else:
            customer(client, workspace)
        page = client.get(events(door, workspace, day=DAY, lang="en"))
        assert page.status_code == 200
        assert page.text.count("Seat taken") == SEATS - 1
        assert "The events give this reading" in page.text

    def test_of_a_quiet_day_say_so(self, client: Any, workspace: Workspace) -> None:
        page = customer(client, workspace).get(
            events("portal", workspace, day="2026-03-20", lang="en")
        )
        assert "Nothing happened on this day" in page.text
        assert "The events give this reading" in page.text

    def test_that_give_something_else_are_not_passed_over(
        self, client: Any, workspace: Workspace
    ) -> None:
        with workspace.session() as session:
            members.invite(
                tenant_session=session,
                email="late@customer.example",
                name="사용자",
                role="member",
                actor=SYSTEM,
                now=seoul(DAY, 12),
            )
        page = customer(client, workspace).get(events("portal", workspace, day=DAY, lang="en"))
        assert "The events don't give this reading" in unescape(page.text)

    @pytest.mark.parametrize(
        ("position", "day"), [(1, DAY), (2, "2026-04-01"), (2, ""), (9, DAY), (2, "yesterday")]
    )
    def test_are_not_found_where_nothing_is_counted(
        self, client: Any, workspace: Workspace, position: int, day: Any
    ) -> None:
        page = customer(client, workspace).get(events("portal", workspace, position, day=day))
        assert page.status_code == 404

    def test_of_another_tenant_are_nobodys_business(
        self, client: Any, workspace: Workspace
    ) -> None:
        other = make_workspace(now=seoul(START))
        page = customer(client, other).get(events("portal", workspace, day=DAY))
        assert page.status_code == 404


class TestTheNextBill:
    @pytest.mark.parametrize("place", ["/portal/", "/portal/plan"])
    def test_is_shown_so_far(self, client: Any, workspace: Workspace, place: str) -> None:
        page = customer(client, workspace).get(f"{place}?lang=en")
        assert "The next bill so far" in page.text
        assert "Usage from 2026-04-01 on is not read yet" in page.text
        assert "₩209,000" in page.text


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_pages_have_no_faults(
    app: Any, browser: Browser, workspace: Workspace, language: str
) -> None:
    invoice = last_invoice(workspace.tenant_id)
    with (
        serve(app) as address,
        open_page(browser, language=language) as page,
    ):
        admit(page, f"{address}/portal", email=workspace.admin_email, password=PASSWORD)
        wrong = []
        for name, place in {
            "invoice": f"/portal/invoices/{invoice}",
            "events": events("portal", workspace, day=DAY),
            "overview": "/portal/",
        }.items():
            page.goto(f"{address}{place}")
            for closed in page.query_selector_all(".evidence summary, .so-far summary"):
                closed.click()
            wrong += faults(page)
            if folder := os.environ.get("TENANTRY_SHOTS"):
                for width in WIDTHS:
                    page.set_viewport_size({"width": width, "height": 844})
                    screenshot(page, Path(folder) / f"why-{name}.{language}.{width}.png")
    assert wrong == []
