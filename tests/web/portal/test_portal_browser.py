"""The portal and finance's pages in Chromium: axe, narrow screens, and two whole stories."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base.db import control_session
from invoices.models import Invoice, Subscription
from tenants.models import Tenant
from tests.browser import WIDTHS, chromium, faults, open_page, screenshot
from tests.factories import NOW, PASSWORD
from tests.web import forms
from tests.web.portal.parts import admin_of, customer
from tests.web.portal.stage import long_life, troubles
from tests.web.site.serving import serve

LANGUAGES = ("ko", "en")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def address(app: Any, set_clock: Callable[..., None]) -> Iterator[str]:
    set_clock(NOW)
    with serve(app) as url:
        yield url


def enter(page: Page, address: str, *, audience: str, email: str, password: str) -> None:
    page.goto(f"{address}/{audience}/sign-in")
    page.fill("#email", email)
    page.fill("#password", password)
    page.press("#password", "Enter")
    page.wait_for_url(lambda url: "sign-in" not in url)


def look(page: Page, address: str, places: dict[str, str], *, language: str) -> list[str]:
    """This function will open each place on both screens and say what is wrong with it."""
    wrong = []
    for name, place in places.items():
        answer = page.goto(f"{address}{place}")
        assert answer is not None
        assert answer.status == 200, place
        wrong += faults(page)
        if folder := os.environ.get("TENANTRY_SHOTS"):
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 844})
                screenshot(page, Path(folder) / f"{name}.{language}.{width}.png")
    return wrong


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_portal_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, language: str
) -> None:
    tenant, trial = long_life(), customer()
    with control_session() as session:
        invoices = session.scalars(
            select(Invoice.id).where(Invoice.tenant_id == tenant.id).order_by(Invoice.number)
        ).all()
    with open_page(browser, language=language) as page:
        outside = {"sign-in": "/portal/sign-in", "forgot": "/portal/forgot"}
        wrong = look(page, address, outside, language=language)
        forms.admit(page, f"{address}/portal", email=admin_of(tenant).email, password=PASSWORD)
        inside = {
            "overview": "/portal/",
            "plan": "/portal/plan",
            "invoices": "/portal/invoices",
            "invoice-paid": f"/portal/invoices/{invoices[0]}",
            "invoice-open": f"/portal/invoices/{invoices[1]}",
            "payment": "/portal/payment",
            "account": "/portal/account",
        }
        wrong += look(page, address, inside, language=language)
    with open_page(browser, language=language) as page:
        forms.admit(page, f"{address}/portal", email=admin_of(trial).email, password=PASSWORD)
        trial_pages = {
            "trial-overview": "/portal/",
            "trial-plan": "/portal/plan",
            "convert": "/portal/plan/convert",
            "convert-transfer": "/portal/plan/convert?method=transfer&plan=studio",
            "trial-invoices": "/portal/invoices",
            "trial-payment": "/portal/payment",
        }
        wrong += look(page, address, trial_pages, language=language)
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finance_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, language: str
) -> None:
    tenant = long_life()
    email = forms.staff_member("admin")
    with open_page(browser, language=language) as page:
        forms.admit(page, f"{address}/console", email=email, password=forms.PASSWORD)
        wrong = look(page, address, {"attention-empty": "/console/attention"}, language=language)
        troubles()
        with control_session() as session:
            first, second = session.scalars(
                select(Invoice.id).where(Invoice.tenant_id == tenant.id).order_by(Invoice.number)
            ).all()[:2]
        places = {
            "list": "/console/invoices",
            "list-filtered": "/console/invoices?state=issued&q=대한&from=2026-03-01",
            "list-none": "/console/invoices?q=zzzz",
            "detail-paid": f"/console/invoices/{first}",
            "detail-open": f"/console/invoices/{second}?state=issued",
            "zips": "/console/invoices/bundles",
            "attention": "/console/attention",
            "tenants": "/console/tenants",
            "tenants-none": "/console/tenants?q=zzzz",
            "tenant": f"/console/tenants/{tenant.id}",
        }
        wrong += look(page, address, places, language=language)
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(f"{address}/console/invoices")
        page.get_by_role("button", name="ZIP").click()
        page.wait_for_url("**/bundles/*")
        wrong += look(page, address, {"zip": page.url.removeprefix(address)}, language=language)
    assert wrong == []


def test_finance_downloads_what_it_filtered(browser: Browser, address: str) -> None:
    long_life()
    email = forms.staff_member("finance")
    with open_page(browser, address, language="en") as page:
        enter(page, address, audience="console", email=email, password=forms.PASSWORD)
        page.get_by_label("Search: company, number").fill("대한민국")
        page.get_by_role("button", name="Apply").click()
        page.get_by_role("link", name="Paid", exact=False).first.click()
        expect(page.locator("tbody tr")).to_have_count(1)
        assert "q=" in page.url
        assert "state=paid" in page.url
        with page.expect_download() as taken:
            page.get_by_role("link", name="CSV").click()
        lines = Path(taken.value.path()).read_text(encoding="utf-8-sig").splitlines()
        assert len(lines) == 2
        assert "대한민국" in lines[1]
        page.locator("tbody tr").first.click()
        with page.expect_download() as taken:
            page.get_by_role("link", name="PDF Invoice English").click()
        assert Path(taken.value.path()).read_bytes().startswith(b"%PDF")


def test_a_trial_is_converted_only_by_an_explicit_tick(browser: Browser, address: str) -> None:
    tenant = customer()
    with open_page(browser, address, language="en") as page:
        enter(page, address, audience="portal", email=admin_of(tenant).email, password=PASSWORD)
        page.get_by_role("link", name="See plans and subscribe").click()
        page.get_by_role("link", name="Choose Starter").click()
        page.get_by_role("link", name="Bank transfer").click()
        box = page.get_by_role("checkbox")
        expect(box).not_to_be_checked()
        expect(page.get_by_role("cell", name="₩53,900")).to_be_visible()
        page.get_by_role("button", name="Subscribe for").click()
        expect(page.get_by_role("alert")).to_contain_text("Please agree")
        assert subscriptions_of(tenant) == []
        page.get_by_role("checkbox").check()
        page.get_by_role("button", name="Subscribe for").click()
        expect(page.get_by_text("The subscription has begun")).to_be_visible()
    assert len(subscriptions_of(tenant)) == 1


def subscriptions_of(tenant: Tenant) -> list[Any]:
    with control_session() as session:
        return list(
            session.scalars(select(Subscription).where(Subscription.tenant_id == tenant.id))
        )
