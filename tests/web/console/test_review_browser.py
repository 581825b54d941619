"""The reviewers' desk in Chromium: axe on every page, and a queue worked off by keyboard."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import select

from app.base import clock
from app.base.db import control_session
from tenants.models import Application
from tests.browser import axe_violations, chromium, faults, open_page
from tests.factories import make_application, make_catalogue
from tests.web.forms import PASSWORD, admit, staff_member
from tests.web.site.serving import serve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def address(app: Any) -> Iterator[str]:
    with serve(app) as url:
        yield url


@pytest.fixture
def waiting(app: Any) -> list[UUID]:
    now = clock.now()
    with control_session() as session:
        make_catalogue(session)
        return [
            make_application(
                session, state="confirmed", sla_due_at=now + timedelta(hours=hours - 2), message="…"
            ).id
            for hours in range(4)
        ]


def sign_in(page: Page, email: str) -> None:
    page.fill("#email", email)
    page.fill("#password", PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: not url.endswith("/sign-in"))


def states(ids: list[UUID]) -> list[str]:
    with control_session() as session:
        rows = session.execute(
            select(Application.id, Application.state).where(Application.id.in_(ids))
        ).all()
    found = {row.id: row.state for row in rows}
    return [found[key] for key in ids]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_pleases_axe_and_fits_every_screen(
    browser: Browser, address: str, waiting: list[UUID], language: str
) -> None:
    email = staff_member("sales")
    paths = ["", "?tab=rejected", f"/{waiting[0]}", f"/{waiting[0]}/reject"]
    with open_page(browser, language=language) as page:
        admit(page, f"{address}/console", email=email, password=PASSWORD)
        for path in paths:
            page.goto(f"{address}/console/review{path}")
            assert faults(page) == []


def test_a_queue_is_worked_off_by_keyboard_alone(
    browser: Browser, address: str, waiting: list[UUID]
) -> None:
    email = staff_member("sales")
    with open_page(browser, address + "/console/sign-in", language="en") as page:
        sign_in(page, email)
        page.goto(address + "/console/review")
        page.keyboard.press("j")
        page.keyboard.press("j")
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/{waiting[0]}**")
        page.keyboard.press("a")
        expect(page.locator("#trial_days")).to_be_visible()
        assert axe_violations(page) == []
        page.locator("#trial_days").press("Enter")
        page.wait_for_url(f"**/{waiting[1]}")
        page.keyboard.press("r")
        page.wait_for_url(f"**/{waiting[1]}/reject")
        page.locator("#ground").focus()
        page.keyboard.press("O")
        page.keyboard.press("Tab")
        page.keyboard.type("No room for it this month.")
        page.locator('button[value="preview"]').press("Enter")
        expect(page.locator(".mail-preview")).to_contain_text("No room for it this month.")
        page.locator('button[value="reject"]').press("Enter")
        page.wait_for_url(f"**/{waiting[2]}")
        page.keyboard.press("c")
        expect(page.get_by_role("button", name="Give it back")).to_be_visible()
        page.wait_for_load_state()  # the keys work once the script is there
        page.keyboard.press("Escape")
        page.wait_for_url("**/console/review?tab=confirmed")
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_contain_text("approve the open application")
    assert states(waiting) == ["approved", "rejected", "confirmed", "confirmed"]


def test_a_decision_works_without_scripts(
    browser: Browser, address: str, waiting: list[UUID]
) -> None:
    email = staff_member("sales")
    with open_page(browser, address + "/console/sign-in", language="en", scripts=False) as page:
        sign_in(page, email)
        page.goto(f"{address}/console/review/{waiting[3]}")
        page.get_by_role("button", name="Approve…").click()
        page.get_by_role("button", name="Approve and create the database").click()
        page.wait_for_url(f"**/{waiting[0]}")
    assert states(waiting)[3] == "approved"
