"""Moving subscribers to a newer version in the console: seen first, made once, told by mail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser
from sqlalchemy import func, select

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session
from app.base.messages import Message
from invoices import catalogue
from invoices.models import PlanVersion, Subscription
from tests.browser import chromium, faults, open_page
from tests.factories import NOW, make_catalogue, make_subscription
from tests.invoices.plans import TEAM, dearer
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.site.serving import serve

PAGE = "/console/catalogue/team/KRW/move"
ASKED = {"from": "1", "to": "2", "on": "2026-05-01", "notice_days": "30"}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(autouse=True)
def two_versions(scenario: object, set_clock: Callable[[datetime], None]) -> None:
    """A subscriber on the first version of the team plan, and a second one that costs less."""
    set_clock(NOW)
    with control_session() as session:
        make_catalogue(session)
        make_subscription(session, starts_on=date(2026, 3, 10))
        catalogue.publish(
            control_session=session, terms=dearer(TEAM, 170_000), actor=SYSTEM, now=NOW
        )


def moves_ahead() -> list[int]:
    with control_session() as session:
        return list(
            session.scalars(
                select(PlanVersion.version).join(
                    Subscription, Subscription.next_plan_version_id == PlanVersion.id
                )
            )
        )


def mails() -> int:
    with control_session() as session:
        found = session.scalar(
            select(func.count()).select_from(Message).where(Message.kind == "price_change")
        )
    return found or 0


class TestLooking:
    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("en", ["2026-05-10 (Sun)", "₩170,000 a month", "Move 1 subscriber and send the mail"]),
            ("ko", ["2026-05-10 (일)", "월 ₩170,000", "1곳을 옮기고 메일 보내기"]),
        ],
    )
    def test_shows_who_when_and_what_the_mail_says_and_moves_nobody(
        self, client: Any, language: str, words: list[str]
    ) -> None:
        sign_in_staff(client, "finance")
        text = client.get(PAGE, query_string=ASKED | {"lang": language}).text
        for each in words:
            assert each in text
        assert (moves_ahead(), mails()) == ([], 0)

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"on": "2026-03-20"}, "With 30 days of notice the first day is 2026-0"),
            ({"on": "soon"}, "Enter the day as 2026-03-10."),
            ({"on": ""}, "Enter the day as 2026-03-10."),
            ({"to": "1"}, "Move subscribers to a newer version than they have."),
            ({"notice_days": "999"}, "Enter the days of notice, from 0 to 365."),
            ({"notice_days": "-3"}, "Enter a whole number."),
        ],
    )
    def test_tells_what_is_wrong_at_its_field_and_keeps_the_rest(
        self, client: Any, changed: dict[str, str], told: str
    ) -> None:
        sign_in_staff(client, "finance")
        answer = client.get(PAGE, query_string=ASKED | changed | {"lang": "en"})
        assert answer.status_code == 422
        assert answer.text.count(told) == 2  # in the summary and at the field
        assert 'aria-invalid="true"' in answer.text or "has-error" in answer.text

    def test_is_for_those_who_write_the_price_list(self, client: Any) -> None:
        sign_in_staff(client, "sales")
        assert client.get(PAGE).status_code == 403

    def test_of_a_version_that_is_not_there_says_so(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        assert client.get(PAGE, query_string=ASKED | {"to": "7"}).status_code == 404
        assert client.get(PAGE.replace("team", "gold")).status_code == 404


class TestMoving:
    def test_schedules_the_change_tells_the_admins_and_notes_who_did_it(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        answer = send(client, PAGE, ASKED)
        assert answer.status_code == 303
        assert (moves_ahead(), mails()) == ([2], 1)
        with control_session() as session:
            actors = session.scalars(
                select(AuditEvent.actor_kind).where(
                    AuditEvent.action == "subscription.plan_changed"
                )
            ).all()
        assert actors == ["staff"]

    def test_twice_moves_and_tells_nobody_twice(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        send(client, PAGE, ASKED)
        shown = client.get(PAGE, query_string=ASKED | {"lang": "en"}).text
        assert "Nobody is moved" in shown
        assert send(client, PAGE, ASKED).status_code == 303
        assert (moves_ahead(), mails()) == ([2], 1)


class TestARise:
    """A third version costs more: whoever is on the first one is asked, not moved."""

    DEARER = ASKED | {"to": "3"}

    @pytest.fixture(autouse=True)
    def third_version(self, two_versions: None) -> None:
        with control_session() as session:
            catalogue.publish(
                control_session=session, terms=dearer(TEAM, 990_000), actor=SYSTEM, now=NOW
            )

    def test_shows_who_is_only_asked_and_says_so_afterwards(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        text = client.get(PAGE, query_string=self.DEARER | {"lang": "en"}).text
        assert "Only if they agree" in text
        send(client, PAGE, self.DEARER)
        after = client.get("/console/catalogue/team/KRW", query_string={"lang": "en"}).text
        assert "1 subscriber is asked to agree." in after
        assert "is moved and told" not in after
        assert moves_ahead() == []


@pytest.mark.parametrize("language", ["ko", "en"])
def test_reads_well_on_every_screen(app: Any, browser: Browser, language: str) -> None:
    email = staff_member("finance")
    seen = "&".join(f"{name}={value}" for name, value in ASKED.items())
    with (
        serve(app) as address,
        open_page(browser, language=language) as page,
    ):
        admit(page, f"{address}/console", email=email, password=PASSWORD)
        wrong = []
        for path in (
            PAGE,
            f"{PAGE}?{seen}",
            f"{PAGE}?{seen}&on=soon".replace("on=2026-05-01&", ""),
        ):
            page.goto(f"{address}{path}")
            wrong += faults(page)
        assert wrong == []
