"""Changing a subscription in Chromium: axe, narrow screens, both languages, and a whole change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from app.base.config import settings
from app.base.db import control_session
from tenants.models import Tenant
from tests.browser import chromium, open_page
from tests.factories import NOW, PASSWORD
from tests.web import forms
from tests.web.portal.parts import admin_of, customer
from tests.web.portal.stage import LONG_NAME
from tests.web.portal.test_changes import items_of, subscriber
from tests.web.portal.test_portal_browser import LANGUAGES, enter, look
from tests.web.site.serving import serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def address(app: Any, set_clock: Callable[..., None]) -> Iterator[str]:
    set_clock(NOW)
    with serve(app) as url:
        yield url


@pytest.fixture(autouse=True)
def every_right(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TENANTRY_CUSTOMER_MAY", "plan,quantity,addons,cancel,pause")
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


def renamed(tenant: Tenant) -> Tenant:
    """The same with a name as long as names get."""
    with control_session() as session:
        session.get_one(Tenant, tenant.id).name = LONG_NAME
    return tenant


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_of_a_change_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, language: str
) -> None:
    small, large, used = subscriber(), subscriber("large"), subscriber("team")
    change = "/portal/plan/change"
    places = {
        small: {
            "plan": "/portal/plan",
            "ask-plan": f"{change}/plan",
            "ask-quantity": f"{change}/quantity?charge=licences",
            "choose-addon": f"{change}/add",
            "see-upgrade": f"{change}/plan/preview?plan=large&when=now",
            "see-addon": f"{change}/add/preview?charge=support",
            "see-cancel": f"{change}/cancel",
            "see-pause": f"{change}/pause",
            "timeline": "/portal/plan/timeline",
        },
        large: {"see-downgrade": f"{change}/plan/preview?plan=tiny&when=now"},
        used: {
            "see-usage": f"{change}/plan/preview?plan=studio&when=period_end",
            "timeline-usage": "/portal/plan/timeline",
        },
    }
    wrong = []
    for tenant, pages in places.items():
        with open_page(browser, language=language) as page:
            forms.admit(page, f"{address}/portal", email=admin_of(tenant).email, password=PASSWORD)
            wrong += look(page, address, pages, language=language)
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_console_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, language: str
) -> None:
    tenant, trial = renamed(subscriber()), customer()
    email = forms.staff_member("admin")
    paying = f"/console/tenants/{tenant.id}/subscription"
    trying = f"/console/tenants/{trial.id}/subscription"
    convert = f"{trying}/convert"
    places = {
        "console-subscription": paying,
        "console-quantity": f"{paying}/change/quantity?charge=licences",
        "console-see": f"{paying}/change/quantity/preview?charge=licences&quantity=9&when=now",
        "console-cancel": f"{paying}/change/cancel",
        "console-day": f"{paying}/change/billing-day/preview?billing_day=25",
        "console-currency-open": f"{paying}/currency",
        "console-trial": trying,
        "console-convert": convert,
        "console-conversion": f"{convert}/preview?plan=team&starts_on=2026-04-05&method=transfer",
        "console-currency": f"{trying}/currency",
    }
    with open_page(browser, language=language) as page:
        forms.admit(page, f"{address}/console", email=email, password=forms.PASSWORD)
        assert look(page, address, places, language=language) == []


@pytest.mark.parametrize("scripts", [True, False])
def test_a_quantity_is_changed_after_its_price_was_seen(
    browser: Browser, address: str, scripts: bool
) -> None:
    tenant = subscriber()
    with open_page(browser, address, language="en", scripts=scripts) as page:
        enter(page, address, audience="portal", email=admin_of(tenant).email, password=PASSWORD)
        page.goto(f"{address}/portal/plan")
        page.get_by_role("link", name="Change the quantity… licences").click()
        page.get_by_label("How many?").fill("two")
        page.get_by_role("button", name="Show what it costs").click()
        expect(page.get_by_role("alert")).to_contain_text("whole number")
        expect(page.get_by_label("How many?")).to_have_value("two")
        page.get_by_label("How many?").fill("3")
        page.get_by_role("button", name="Show what it costs").click()
        expect(page.get_by_text("₩6,600")).to_be_visible()
        assert len(items_of(tenant)) == 3
        page.get_by_role("button", name="Change the quantity").click()
        expect(page.get_by_text("The quantity is changed.")).to_be_visible()
    assert len(items_of(tenant)) == 4
