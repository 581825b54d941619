"""The billing run's page and the held bills in Chromium, at every width and in both languages."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser import chromium, faults, open_page, screenshot
from tests.web.console.test_billing_pages import NOW, bill_all, newcomers, spiking, with_grace
from tests.web.forms import PASSWORD, admit, staff_member
from tests.web.site.serving import serve

__all__ = ["with_grace"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["ko", "en"])
@pytest.mark.usefixtures("with_grace")
def test_reads_well_with_drafts_held_bills_and_what_is_to_come(
    app: Any, set_clock: Callable[..., None], browser: Browser, language: str
) -> None:
    set_clock(NOW)
    spiking()
    newcomers(3)
    bill_all()
    email = staff_member("finance")
    with serve(app) as address, open_page(browser, language=language) as page:
        admit(page, f"{address}/console", email=email, password=PASSWORD)
        wrong = []
        for path in ("/console/billing?as_of=2026-06-30", "/console/attention"):
            page.goto(f"{address}{path}")
            assert page.locator("form[action$='/release'][action*='/drafts/']").count() == 1
            wrong += faults(page)
            if folder := os.environ.get("TENANTRY_SHOTS"):
                for width in (390, 1280):
                    page.set_viewport_size({"width": width, "height": 844})
                    name = f"{path.split('/')[2][:7]}-{language}-{width}.png"
                    screenshot(page, Path(folder) / name)
        assert wrong == []
