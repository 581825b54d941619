"""The public pages in Chromium: axe, narrow screens, the keyboard alone, and no scripts."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base import clock
from app.base.db import control_session
from app.base.messages import Message
from jobs import visits as drain
from tenants import signup
from tenants.models import Application, VisitEvent
from tests.browser import axe_violations, chromium, faults, open_page
from tests.factories import make_application, make_catalogue
from tests.patience import eventually
from tests.web.site.serving import serve

ANSWERS = {
    "#company": "주식회사 한빛정밀",
    "#registration_number": "1248100998",
    "#contact_name": "담당자",
    "#email": "contact@hanbit.example",
    "#phone": "0212345678",
    "#seats_expected": "12",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    with control_session() as session:
        make_catalogue(session)
    with serve(app) as url:
        yield url


def confirmation_path() -> str:
    with control_session() as session:
        text = session.scalars(
            select(Message.text).where(Message.kind == "application_confirm")
        ).one()
    found = re.search(r"/trial/confirm/[\w-]+", text)
    assert found
    return found.group(0)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, language: str
) -> None:
    with control_session() as session:
        rows = [
            make_application(session, state="confirmed", sla_due_at=clock.now()),
            make_application(session, state="rejected", reject_reason="A reason to read."),
        ]
        links = [signup.status_link(row).partition("/status/")[2] for row in rows]
    pages = ["/", "/pricing", "/trial", "/privacy", "/terms", "/trial/renewed"]
    pages += ["/trial/confirm/x", *(f"/status/{link}" for link in links)]
    with open_page(browser, address, language=language) as page:
        for path in pages:
            page.goto(address + path)
            assert faults(page) == []


def test_a_form_is_filled_in_and_confirmed_by_keyboard_alone(
    browser: Browser, address: str
) -> None:
    with open_page(browser, address + "/trial") as page:
        page.keyboard.press("Tab")
        tab_to(page, "#company")
        page.keyboard.press("Enter")
        page.wait_for_load_state()
        expect(page.locator(".error-summary")).to_be_focused()
        assert axe_violations(page) == []
        for field, text in ANSWERS.items():
            tab_to(page, field)
            page.keyboard.press("Control+A")
            page.keyboard.type(text)
        expect(page.locator("#registration_number")).to_have_value("124-81-00998")
        expect(page.locator("#phone")).to_have_value("02-1234-5678")
        page.keyboard.press("Enter")
        page.wait_for_url("**/trial/sent/**")
        assert axe_violations(page) == []
        page.goto(address + confirmation_path())
        assert axe_violations(page) == []
        tab_to(page, "form button[type=submit]")
        page.keyboard.press("Enter")
        page.wait_for_url("**/status/**")
        expect(page.locator('[data-state="confirmed"]')).to_be_visible()


def tab_to(page: Page, selector: str) -> None:
    """This function will press Tab until the element has the focus, as a person would."""
    for _ in range(60):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never reaches {selector}")


def test_the_country_decides_what_is_asked_without_scripts(browser: Browser, address: str) -> None:
    with open_page(browser, address + "/trial", language="en", scripts=False) as page:
        expect(page.locator("label .only-abroad")).to_be_visible()
        page.select_option("#country", "KR")
        expect(page.locator("label .only-korea")).to_be_visible()
        expect(page.locator("label .only-abroad")).to_be_hidden()
        page.select_option("#country", "DE")
        for field, text in (ANSWERS | {"#registration_number": "", "#phone": "030901820"}).items():
            page.fill(field, text)
        page.get_by_role("button", name="Send and get").click()
        page.wait_for_url("**/trial/sent/**")
    with control_session() as session:
        assert session.scalars(select(Application.phone)).one() == "+4930901820"


def test_a_foreign_number_is_left_as_it_is_typed(browser: Browser, address: str) -> None:
    with open_page(browser, address + "/trial", language="en") as page:
        page.select_option("#country", "US")
        page.locator("#registration_number").press_sequentially("123456789012345")
        expect(page.locator("#registration_number")).to_have_value("123456789012345")


def test_buttons_are_counted_by_the_beacon(browser: Browser, address: str) -> None:
    with open_page(browser, address + "/") as page:
        page.locator('[data-action="hero-trial"]').click()
        page.wait_for_url("**/trial")
        # A beacon outlives its page and answers nobody: only its row tells that it came.
        eventually(lambda: actions() == ["hero-trial"], "the beacon's row")


def actions() -> list[str | None]:
    while drain.drain():
        pass
    with control_session() as session:
        found = select(VisitEvent.action).where(VisitEvent.kind == "action")
        return list(session.scalars(found))
