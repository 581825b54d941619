"""Chromium for tests: one way to start it, look at a page and ask axe about it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from app.embedded.system_libraries import find_browser

WIDTHS = PHONE, DESK = (390, 1280)
# axe is slow: it reads every page in both languages, and both screens, but not all four at once.
AXE_WIDTHS = {"ko": PHONE, "en": DESK}
# The rules of WCAG 2.2 A and AA, and axe's own good practice.
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def executable() -> str:
    """This function will find Chromium, or fail the test with the line that installs it."""
    found = os.environ.get("CHROMIUM") or find_browser()
    if not found:
        pytest.fail(
            "No Chromium here. Install it with `apt-get install -y chromium-headless-shell`, or"
            " name one in the CHROMIUM environment variable.",
            pytrace=False,
        )
    return str(found)


# Most of what a walk costs is axe's own script, and no page keeps it for long enough that compiling
# it better, or collecting its garbage on other threads, would pay.
_FLAGS = (
    *("--no-sandbox", "--disable-dev-shm-usage", "--in-process-gpu"),
    "--js-flags=--single-threaded --no-opt --no-maglev --min-semi-space-size=32",
)
# A page has a dozen colours, and axe works each out anew for every element: a fifth of its time.
_COLOURS_ONCE = """
;(() => {
  const known = new Map();
  const colour = axe.commons.color.Color.prototype;
  const read = colour.parseString;
  colour.parseString = function (text) {
    if (known.has(text)) return Object.assign(this, known.get(text));
    read.call(this, text);
    known.set(text, { r: this.r, g: this.g, b: this.b, alpha: this.alpha });
    return this;
  };
})();
"""
_AXE = Axe().axe_script + _COLOURS_ONCE
# Sizes are only what they will be once styles and fonts are there.
_FIND = """
async (options) => {
  await document.fonts.ready;
  if (!("axe" in window)) return null;
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, help, nodes }) => nodes.map(
    ({ target, html }) => `${id}: ${help} — ${JSON.stringify(target)} ${html.slice(0, 160)}`));
}
"""
_running: list[tuple[Playwright, Browser]] = []
# Readers whom nobody needs just now: by screen, language and whether they run scripts.
_idle: dict[tuple[int, str, bool], list[BrowserContext]] = {}


@contextmanager
def chromium() -> Iterator[Browser]:
    """This function will lend the one headless Chromium of this process.

    Playwright runs once in a process; whoever starts it a second time is refused.
    """
    if not _running:
        path = executable()
        playwright = sync_playwright().start()
        browser = playwright.chromium.launch(executable_path=path, args=_FLAGS)
        _running.append((playwright, browser))
    yield _running[0][1]


def stop() -> None:
    """This function will end Chromium and Playwright when the run is over."""
    _idle.clear()
    while _running:
        playwright, browser = _running.pop()
        browser.close()
        playwright.stop()


@contextmanager
def open_page(
    browser: Browser,
    url: str = "",
    *,
    width: int = 1280,
    language: str = "ko",
    scripts: bool = True,
) -> Iterator[Page]:
    """This function will open an address as a reader of that language on a screen of that width.

    Without an address the page is empty: a walk says itself where it begins.
    Whoever comes next may be lent the same reader: signed in nowhere and on a page of their own,
    but with the site's styles and fonts at hand, which take as long to fetch as a page to draw.
    """
    idle = _idle.setdefault((width, language, scripts), [])
    context = idle.pop() if idle else _reader(browser, width, language, scripts)
    try:
        page = context.new_page()
        if url:
            page.goto(url)
        yield page
        for each in context.pages:
            each.close()
        context.clear_cookies()
    except BaseException:
        context.close()
        raise
    idle.append(context)


def _reader(browser: Browser, width: int, language: str, scripts: bool) -> BrowserContext:
    return browser.new_context(
        viewport={"width": width, "height": 844 if width == PHONE else 800},
        locale={"ko": "ko-KR", "en": "en-GB"}[language],
        java_script_enabled=scripts,
        reduced_motion="reduce",
    )


def faults(page: Page) -> list[str]:
    """This function will say what axe finds on a page, and what a screen of any width cuts off."""
    found = []
    language = page.evaluate("() => document.documentElement.lang")
    # The width that it has first: the other one is laid out anew, and the next page begins there.
    for width in sorted(WIDTHS, key=lambda width: width != _width(page)):
        if width != _width(page):
            page.set_viewport_size({"width": width, "height": 844 if width == PHONE else 800})
        wrong = overflow(page)
        if width == AXE_WIDTHS[language]:
            wrong += axe_violations(page)
        found += [f"{page.url} {language} {width}: {each}" for each in wrong]
    return found


def _width(page: Page) -> int:
    return page.viewport_size["width"] if page.viewport_size else 0


def axe_violations(page: Page) -> list[str]:
    """This function will return what axe finds wrong, one readable line for each element."""
    page.wait_for_load_state("load")
    options = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}
    found: list[str] | None = page.evaluate(_FIND, options)
    if found is None:
        page.evaluate(_AXE)
        # Half a megabyte: Chromium reads it once for all the places that this page goes to next.
        page.add_init_script(_AXE)
        found = page.evaluate(_FIND, options)
    assert found is not None
    return found


def overflow(page: Page) -> list[str]:
    """This function will name the elements that make the page scroll sideways."""
    names: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.body.querySelectorAll("*")]
            .filter((e) => e.getBoundingClientRect().right > width + 1
                           && !e.closest(".table-scroll, .tabs, pre"))
            .map((e) => `${e.tagName.toLowerCase()}.${e.className}`).slice(0, 5);
        }"""
    )
    return names


def screenshot(page: Page, path: Path) -> None:
    """This function will save the whole page as a PNG once its fonts are there."""
    page.evaluate("() => document.fonts.ready")
    path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(path), full_page=True)
