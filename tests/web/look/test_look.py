"""The look, seen by a real browser: both languages, phone and desk, keyboard, no scripts."""

import re
from collections.abc import Iterator
from itertools import product

import pytest
from playwright.sync_api import Browser, Page, expect

from app.web.look import LAYOUTS
from tests.browser import WIDTHS, axe_violations, faults, open_page

PAGES = ("", *(f"frame/{name}" for name in LAYOUTS))


def url(address: str, page: str = "") -> str:
    return f"{address}/_/look/{page}"


@pytest.fixture(scope="module")
def readers(browser: Browser) -> Iterator[dict[str, Page]]:
    """A page for each language, lent from test to test: a new one costs more than most of them."""
    with open_page(browser, language="ko") as korean, open_page(browser, language="en") as english:
        yield {"ko": korean, "en": english}


def opened(readers: dict[str, Page], address: str, *, language: str = "ko") -> Page:
    """This function will open an address on a desk, whatever was read there before."""
    page = readers[language]
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(address)
    return page


class TestEveryFrame:
    @pytest.mark.parametrize(("page_name", "language"), list(product(PAGES, ("ko", "en"))))
    def test_has_nothing_that_axe_or_a_small_screen_would_mind(
        self, readers: dict[str, Page], address: str, page_name: str, language: str
    ) -> None:
        page = opened(readers, url(address, page_name), language=language)
        assert faults(page) == []
        assert page.locator("html").get_attribute("lang") == language

    def test_loads_nothing_that_its_policy_forbids(self, browser: Browser, address: str) -> None:
        context = browser.new_context()
        page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("requestfailed", lambda request: complaints.append(request.url))
        page.goto(url(address))
        page.evaluate("() => document.fonts.ready")
        assert page.evaluate("() => document.fonts.check('16px Pretendard', '가나다 ₩1,234')")
        context.close()
        assert complaints == []


class TestAPageWithFaults:
    def test_is_told_of_each(self, browser: Browser, address: str) -> None:
        pale = {"color": "#999", "background": "#fff"}
        faint = {"color": "rgb(0 0 0 / 30%)", "background": "rgb(255 255 255 / 80%)"}
        page_url = url(address, "frame/plain")
        with open_page(browser, page_url, language="ko") as page:
            page.evaluate(
                """(styles) => styles.forEach((style) => {
                  const made = document.createElement("p");
                  made.textContent = "pale";
                  Object.assign(made.style, style);
                  document.querySelector("main").append(made, document.createElement("img"));
                })""",
                [pale, pale, faint, {"minWidth": "600px"}],
            )
            found = faults(page)
        assert sum("color-contrast" in each for each in found) == 3
        assert sum("image-alt" in each for each in found) == 4
        # What is too broad takes the head along, and a desk has room for it.
        assert [each for each in found if each.endswith(": header.plain-head")] == [
            f"{page_url} ko 390: header.plain-head"
        ]


class TestForm:
    def test_comes_back_with_a_focused_summary_that_leads_to_the_fields(
        self, browser: Browser, address: str
    ) -> None:
        with open_page(browser, url(address), language="en") as page:
            page.fill("#phone", "01012345678")
            page.click("text=Send the application")
            summary = page.locator(".error-summary")
            expect(summary).to_be_focused()
            expect(summary.locator("a")).to_have_count(4)
            summary.locator("a").nth(2).click()
            expect(page.locator("#pay-0")).to_be_focused()
            expect(page.locator("#phone")).to_have_value("010-1234-5678")
            described = page.locator("#company").get_attribute("aria-describedby")
            expect(page.locator(f"#{described}")).to_contain_text("Enter the company's name")
            assert axe_violations(page) == []

    @pytest.mark.parametrize(
        ("field", "typed", "shown"),
        [
            ("brn", "1234567891", "123-45-67891"),
            ("brn", "123-45-6789100", "123-45-67891"),
            ("brn", "FR 40 303 265 045", "FR 40 303 265 045"),
            ("phone", "021234567", "02-123-4567"),
            ("phone", "0212345678", "02-1234-5678"),
            ("phone", "0311234567", "031-123-4567"),
            ("phone", "15881588", "1588-1588"),
            ("phone", "+82 10 1234 5678", "+82 10 1234 5678"),
        ],
    )
    def test_formats_numbers_typed_and_pasted(
        self, readers: dict[str, Page], address: str, field: str, typed: str, shown: str
    ) -> None:
        page = opened(readers, url(address))
        page.locator(f"#{field}").press_sequentially(typed)
        expect(page.locator(f"#{field}")).to_have_value(shown)
        page.fill(f"#{field}", "")
        page.locator(f"#{field}").focus()
        page.keyboard.insert_text(typed)
        expect(page.locator(f"#{field}")).to_have_value(shown)

    def test_lets_one_mend_the_middle_of_a_number(
        self, readers: dict[str, Page], address: str
    ) -> None:
        brn = opened(readers, url(address)).locator("#brn")
        brn.press_sequentially("1234567891")
        for key in ("Home", "ArrowRight", "Delete", "9"):
            brn.press(key)
        expect(brn).to_have_value("193-45-67891")
        brn.press("End")
        for _ in range(7):
            brn.press("Backspace")
        expect(brn).to_have_value("193-4")


class TestWithoutScripts:
    def test_a_form_is_sent_and_answered(self, browser: Browser, address: str) -> None:
        with open_page(browser, url(address), language="en", scripts=False) as page:
            page.click("text=Send the application")
            expect(page.locator(".error-summary a")).to_have_count(4)
            expect(page.locator(".toast")).to_have_count(2)

    def test_a_question_is_still_asked_before_what_cannot_be_undone(
        self, browser: Browser, address: str
    ) -> None:
        with open_page(browser, url(address), language="en", scripts=False) as page:
            dialog = page.locator("#void")
            expect(dialog).to_be_hidden()
            page.click("button:has-text('Void the invoice') >> nth=0")
            expect(dialog).to_be_visible()
            expect(dialog).to_contain_text("2026-000003")
            dialog.get_by_text("Go back").click()
            expect(dialog).to_be_hidden()

    def test_a_phone_can_open_the_menu(self, browser: Browser, address: str) -> None:
        with open_page(browser, url(address), width=390, language="en", scripts=False) as page:
            page.click("header.bar summary")
            expect(page.locator(".bar-sheet").get_by_text("Review queue")).to_be_visible()


class TestKeyboard:
    @pytest.fixture
    def page(self, readers: dict[str, Page], address: str) -> Page:
        return opened(readers, url(address), language="en")

    def test_walks_the_rows_and_opens_one(self, page: Page) -> None:
        rows = page.locator("[data-row-link]")
        # From the row that is open at present.
        page.keyboard.press("j")
        expect(rows.nth(2)).to_be_focused()
        page.keyboard.press("k")
        expect(rows.nth(1)).to_be_focused()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile("#2026-000002$"))

    def test_lists_its_keys_with_those_of_the_page(self, page: Page) -> None:
        page.keyboard.press("?")
        expect(page.locator("#keys")).to_be_visible()
        expect(page.locator("#keys")).to_contain_text("Void the invoice")
        page.keyboard.press("Escape")
        expect(page.locator("#keys")).to_be_hidden()

    def test_asks_before_voiding_and_keeps_the_focus_inside(self, page: Page) -> None:
        page.keyboard.press("v")
        expect(page.locator("#void")).to_be_visible()
        for _ in range(8):
            page.keyboard.press("Tab")
            inside = "() => document.body === document.activeElement ||"
            assert page.evaluate(f"{inside} !!document.activeElement.closest('#void')")
        assert axe_violations(page) == []
        page.keyboard.press("Escape")
        expect(page.locator("#void")).to_be_hidden()

    def test_stays_silent_while_one_types(self, page: Page) -> None:
        page.keyboard.press("/")
        page.keyboard.type("jkv?")
        expect(page.locator("#q")).to_have_value("jkv?")
        expect(page.locator("#void")).to_be_hidden()

    def test_understands_a_hangul_keyboard(self, page: Page) -> None:
        page.evaluate(
            "() => document.body.dispatchEvent(new KeyboardEvent('keydown',"
            " {key: 'ㅓ', code: 'KeyJ', bubbles: true}))"
        )
        expect(page.locator("[data-row-link]").nth(2)).to_be_focused()

    def test_skips_to_the_content_first(self, page: Page) -> None:
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        expect(page.locator(".skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()


class TestRow:
    def test_opens_wherever_it_is_pressed(self, browser: Browser, address: str) -> None:
        for width in WIDTHS:
            with open_page(browser, url(address), width=width) as page:
                page.locator("[data-row]").nth(3).locator("td").last.click(force=True)
                expect(page).to_have_url(re.compile("#2026-000004$"))


class TestCopyButton:
    def test_copies_and_says_so(self, browser: Browser, address: str) -> None:
        context = browser.new_context(
            locale="en-GB", permissions=["clipboard-read", "clipboard-write"]
        )
        page = context.new_page()
        page.goto(url(address))
        page.locator("[data-copy]").first.click()
        expect(page.locator("[data-toasts]")).to_contain_text("Copied")
        assert page.evaluate("() => navigator.clipboard.readText()") == "123-45-67891"
        context.close()
