"""The price list in the console: read by all, changed by few, faults at their lines."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import func, select

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session
from invoices import catalogue
from invoices.models import Plan, PlanVersion
from tests.browser import chromium, faults, open_page
from tests.factories import NOW, make_catalogue, make_subscription
from tests.invoices.plans import EVERYTHING, TEAM, dearer
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.site.serving import serve

LIST = "/console/catalogue"
TEAM_PAGE = f"{LIST}/team/KRW"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def price_list(scenario: object) -> None:
    """The default plans, one with everything, and a subscriber of the team plan."""
    with control_session() as session:
        make_catalogue(session)
        catalogue.publish(control_session=session, terms=EVERYTHING, actor=SYSTEM, now=NOW)
        make_subscription(session)


def text_on(client: Any, page: str = TEAM_PAGE) -> str:
    """The text that a page offers to change."""
    found = re.search(r'<textarea id="text"[^>]*>\n(.*?)</textarea>', client.get(page).text, re.S)
    assert found
    return html.unescape(found[1])


def versions() -> list[int]:
    with control_session() as session:
        return list(
            session.scalars(
                select(PlanVersion.version)
                .where(PlanVersion.plan_code == "team", PlanVersion.currency == "KRW")
                .order_by(PlanVersion.version)
            )
        )


class TestReading:
    @pytest.mark.parametrize("role", ["admin", "finance", "sales", "viewer"])
    def test_is_for_everybody_and_changing_for_few(self, client: Any, role: str) -> None:
        sign_in_staff(client, role)
        shown = client.get(f"{LIST}?lang=en").text
        assert "₩190,000 a month" in shown
        assert "₩1,200,000 a year" in shown
        page = client.get(f"{TEAM_PAGE}?lang=en").text
        assert "10 seats included, then ₩15,000 a month for each seat" in page
        assert ('id="text"' in page) == (role in ("admin", "finance"))
        if role not in ("admin", "finance"):
            answer = send(client, TEAM_PAGE, {"text": "plans: []", "version": "1"}, to=LIST)
            assert answer.status_code in (403, 405)
            assert versions() == [1]

    def test_of_a_plan_that_is_not_there_is_a_page_that_says_so(self, client: Any) -> None:
        sign_in_staff(client)
        assert client.get(f"{LIST}/gold/KRW").status_code == 404
        assert client.get(f"{LIST}/team/EUR").status_code == 404


class TestChanging:
    def test_shows_the_difference_and_publishes_nothing(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        text = text_on(client).replace("190000", "210000")
        answer = send(client, f"{TEAM_PAGE}?lang=en", {"text": text, "version": "1"})
        assert answer.status_code == 200
        assert "charges.base.price.unit_amount" in answer.text
        assert "1 subscriber stays on version 1." in answer.text
        assert versions() == [1]

    def test_publishes_what_was_shown_and_notes_who_did_it(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        text = text_on(client).replace("190000", "210000")
        form = {"text": text.replace("\n", "\r\n"), "version": "1", "act": "publish"}
        assert send(client, TEAM_PAGE, form).status_code == 303
        assert versions() == [1, 2]
        with control_session() as session:
            event = session.scalars(
                select(AuditEvent)
                .where(AuditEvent.action == "plan_version.published")
                .order_by(AuditEvent.id.desc())
            ).first()
        assert event is not None
        assert event.actor_kind == "staff"
        assert "₩210,000" in client.get(LIST).text

    @pytest.mark.parametrize(
        ("language", "told"),
        [
            ("en", "Write unit_amount as a plain number such as 1234.56"),
            ("ko", "unit_amount에는 1234.56처럼 숫자만 적어 주세요"),
        ],
    )
    def test_names_each_fault_at_its_line_and_keeps_what_was_typed(
        self, client: Any, language: str, told: str
    ) -> None:
        sign_in_staff(client)
        text = text_on(client).replace("190000", "190,000").replace("meter: seats", "meter: <b>")
        line = text.split("\n").index("          unit_amount: 190,000") + 1
        answer = send(client, f"{TEAM_PAGE}?lang={language}", {"text": text, "version": "1"})
        assert answer.status_code == 422
        assert answer.text.count("has-fault") == 2
        at = answer.text.partition(f'id="line-{line}" class="has-fault"')[2].partition("</li>")[0]
        assert told in at
        assert "190,000" in at
        assert "meter: <b>" not in answer.text
        assert html.escape("meter: <b>") in answer.text
        assert versions() == [1]

    def test_refuses_what_somebody_else_published_meanwhile(self, client: Any) -> None:
        sign_in_staff(client)
        text = text_on(client).replace("190000", "230000")
        with control_session() as session:
            catalogue.publish(control_session=session, terms=dearer(TEAM), actor=SYSTEM, now=NOW)
        for act in ("", "publish"):
            form = {"text": text, "version": "1", "act": act}
            answer = send(client, f"{TEAM_PAGE}?lang=en", form)
            assert answer.status_code == 409
            assert "Somebody published another version" in answer.text
        assert versions() == [1, 2]

    @pytest.mark.parametrize(
        "change",
        [("plan: team", "plan: gold"), ("KRW", "USD"), ("plans:", "retired: [studio]\nplans:")],
    )
    def test_keeps_to_its_own_plan(self, client: Any, change: tuple[str, str]) -> None:
        sign_in_staff(client)
        form = {"text": text_on(client).replace(*change), "version": "1", "act": "publish"}
        answer = send(client, f"{TEAM_PAGE}?lang=en", form)
        assert answer.status_code == 422
        assert "Keep to the one plan and currency of this page." in answer.text
        with control_session() as session:
            count = session.scalar(select(func.count()).select_from(PlanVersion))
            retired = session.scalars(select(Plan.code).where(Plan.retired_at.is_not(None))).all()
        assert (count, retired) == (7, [])


NEW = f"{LIST}/new"


def filled(text: str, **blanks: str) -> str:
    """A pattern with its blanks filled in: codes and currencies as given, the rest alike."""
    for name, value in blanks.items():
        text = re.sub(rf"\b{name}: ~", f"{name}: {value}", text)
    text = text.replace("{ko: ~, en: ~}", "{ko: 상점, en: Shop}")
    return re.sub(r"(\w+_amount): ~", r"\1: 12.5", text)


class TestANewPlan:
    def test_is_for_few(self, client: Any) -> None:
        sign_in_staff(client, "sales")
        assert NEW not in client.get(LIST).text
        assert client.get(NEW).status_code == 403
        assert send(client, LIST, {"text": "plans: []"}, to=NEW).status_code == 403

    @pytest.mark.parametrize(
        ("language", "blank"), [("en", "is empty: write a value."), ("ko", "비어 있어요")]
    )
    def test_begins_with_blanks_that_are_refused_where_they_stand(
        self, client: Any, language: str, blank: str
    ) -> None:
        sign_in_staff(client, "finance")
        assert NEW in client.get(LIST).text
        text = text_on(client, NEW)
        assert "plan: ~\n" in text
        assert "position: 10\n" in text
        assert not re.search(r"_amount: [0-9]", text)
        answer = send(client, f"{NEW}?lang={language}", {"text": text, "act": "publish"})
        assert answer.status_code == 422
        assert answer.text.count("has-fault") == sum("~" in line for line in text.split("\n"))
        assert blank in answer.text

    @pytest.mark.parametrize("language", ["en", "ko"])
    def test_is_shown_in_words_then_published_and_sold(self, client: Any, language: str) -> None:
        sign_in_staff(client, "finance")
        text = filled(text_on(client, NEW), plan="shop").replace("KRW", "USD")
        shown = send(client, f"{NEW}?lang={language}", {"text": text})
        assert shown.status_code == 200
        assert {"en": "New: shop in USD", "ko": "새로 추가: shop · USD"}[language] in shown.text
        assert "$12.50" in shown.text
        assert client.get(f"{LIST}/shop/USD").status_code == 404
        form = {"text": text, "act": "publish"}
        made = send(client, f"{NEW}?lang={language}", form)
        assert (made.status_code, made.headers["Location"]) == (303, f"{LIST}/shop/USD")
        assert client.get(f"{LIST}/shop/USD").status_code == 200
        assert "$12.50" in client.get("/pricing?currency=USD").text
        with control_session() as session:
            event = session.scalars(
                select(AuditEvent)
                .where(AuditEvent.action == "plan_version.published")
                .order_by(AuditEvent.id.desc())
            ).first()
        assert event is not None
        assert event.actor_kind == "staff"

    def test_may_be_one_there_is_in_a_further_currency(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        way = f"{NEW}?plan=team&amp;currency=KRW"
        assert way in client.get(TEAM_PAGE).text
        text = text_on(client, html.unescape(way))
        assert "plan: team" in text
        assert not re.search(r"_amount: [0-9]", text)
        form = {"text": filled(text, currency="EUR"), "act": "publish"}
        assert send(client, NEW, form).headers["Location"] == f"{LIST}/team/EUR"
        assert "€12.50" in client.get(f"{LIST}/team/EUR").text
        assert versions() == [1]
        assert ">In EUR<" in client.get("/pricing?currency=KRW&lang=en").text
        assert "€12.50" in client.get("/pricing?currency=EUR").text
        assert "€" not in client.get("/pricing?currency=GBP").text

    @pytest.mark.parametrize(
        ("change", "status", "told"),
        [
            (("plan: shop", "plan: team"), 409, "there already in this currency"),
            (("plans:", "retired: [studio]\nplans:"), 422, "and nothing else"),
            (("plan: shop", "plan: Shop!"), 422, "Use small letters"),
            (("model: flat", "model: fat"), 422, "Choose a model from"),
        ],
    )
    def test_keeps_to_what_is_new_and_sound(
        self, client: Any, change: tuple[str, str], status: int, told: str
    ) -> None:
        sign_in_staff(client)
        text = filled(text_on(client, NEW), plan="shop")
        for act in ("", "publish"):
            form = {"text": text.replace(*change), "act": act}
            answer = send(client, f"{NEW}?lang=en", form)
            assert answer.status_code == status
            assert told in answer.text
            assert "model: f" in answer.text
        with control_session() as session:
            assert session.scalar(select(func.count()).select_from(PlanVersion)) == 7

    def test_of_a_retired_plan_is_refused(self, client: Any) -> None:
        sign_in_staff(client)
        text = filled(text_on(client, f"{NEW}?plan=team&currency=KRW"), currency="EUR")
        send(client, TEAM_PAGE, {}, to=f"{TEAM_PAGE}/retire")
        answer = send(client, f"{NEW}?lang=en", {"text": text, "act": "publish"})
        assert answer.status_code == 409
        assert "The plan is retired." in answer.text
        assert client.get(f"{NEW}?plan=gold&currency=KRW").status_code == 404


class TestOffering:
    def test_ends_and_begins_again(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        page = f"{TEAM_PAGE}?lang=en"
        assert send(client, page, {}, to=f"{TEAM_PAGE}/retire").status_code == 303
        assert "Retired since" in client.get(page).text
        assert 'id="text"' not in client.get(page).text
        assert "₩190,000" not in client.get("/pricing?currency=KRW").text
        assert send(client, page, {}, to=f"{TEAM_PAGE}/restore").status_code == 303
        assert "Retired since" not in client.get(page).text
        assert "₩190,000" in client.get("/pricing?currency=KRW").text
        assert versions() == [1]


@pytest.mark.parametrize("language", ["ko", "en"])
def test_pages_please_axe_and_a_price_is_changed_by_keyboard_without_javascript(
    app: Any, browser: Browser, language: str
) -> None:
    email = staff_member("finance")
    with (
        serve(app) as address,
        open_page(browser, language=language) as page,
    ):
        admit(page, f"{address}/console", email=email, password=PASSWORD)
        for place in (LIST, TEAM_PAGE, f"{LIST}/everything/KRW", NEW):
            page.goto(f"{address}{place}")
            assert faults(page) == []
        page.goto(f"{address}{TEAM_PAGE}")
        good = page.locator("#text").input_value()
        page.fill("#text", good.replace("190000", "x"))
        page.press("#text", "Tab")
        page.keyboard.press("Enter")
        expect(page.locator(".has-fault")).to_have_count(1)
        assert faults(page) == []
        page.fill("#text", good.replace("190000", "210000"))
        page.press("#text", "Tab")
        page.keyboard.press("Enter")
        expect(page.locator('input[name="act"]')).to_have_count(1)
        assert faults(page) == []
        page.locator("form:has(input[name=act]) button[type=submit]").press("Enter")
        page.wait_for_load_state()
    assert versions() == [1, 2]
