"""The close as finance sees it, on its page and by its command."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.base.db import control_session
from app.cli.close import close_command
from app.web import closing_words
from invoices.closing_checks import CODES
from invoices.models import MonthClose
from tests.factories import make_invoice, make_tenant
from tests.web.forms import send, sign_in_staff
from tests.web.portal.parts import committed

PAGE = "/console/closing"
AFTER = datetime(2026, 4, 9, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock_after_the_month(set_clock: Any) -> None:
    """March is over."""
    set_clock(AFTER)


def closes() -> list[MonthClose]:
    with control_session() as session:
        return list(session.scalars(select(MonthClose).order_by(MonthClose.closed_at)))


class TestThePage:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_names_what_hinders_and_leads_there(self, client: Any, language: str) -> None:
        invoice = committed(make_invoice, tenant=committed(make_tenant, state="active"))
        sign_in_staff(client, "finance")
        page = client.get(PAGE, query_string={"month": "2026-03", "lang": language})
        assert page.status_code == 200
        assert f"/console/tax-papers/of/{invoice.id}" in page.text
        assert invoice.number_text in page.text
        assert "아직 마감할 수 없어요" in page.text or "cannot be closed yet" in page.text
        for code in CODES:
            assert closing_words.name(code, language) in page.text
        what = {"ko": "증빙을 아직 정하지 않음", "en": "no evidence chosen yet"}
        assert [each in page.text for each in what.values()] == [language == "ko", language == "en"]

    def test_closes_a_month_of_nothing_and_an_admin_opens_it(self, app: Any, client: Any) -> None:
        sign_in_staff(client, "finance")
        answer = send(client, f"{PAGE}?month=2026-03", {"month": "2026-03"}, to=f"{PAGE}/close")
        assert answer.status_code == 303
        assert closes()[0].closed_by is not None
        again = send(client, f"{PAGE}?month=2026-03", {"month": "2026-03"}, to=f"{PAGE}/close")
        assert again.status_code == 409
        fields = {"month": "2026-03", "why": "a fee came late"}
        refused = send(client, f"{PAGE}?month=2026-03", fields, to=f"{PAGE}/reopen")
        assert refused.status_code == 403
        client = app.test_client()
        sign_in_staff(client, "admin")
        assert (
            send(client, f"{PAGE}?month=2026-03", fields | {"why": ""}, to=f"{PAGE}/reopen")
        ).status_code == 422
        opened = send(client, f"{PAGE}?month=2026-03", fields, to=f"{PAGE}/reopen")
        assert opened.status_code == 303
        assert closes()[0].reopened_why == "a fee came late"
        assert "a fee came late" in client.get(PAGE).text

    def test_of_a_month_that_runs_closes_nothing(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        answer = send(client, f"{PAGE}?month=2026-04", {"month": "2026-04"}, to=f"{PAGE}/close")
        assert answer.status_code == 409
        assert closes() == []

    def test_tells_of_a_year_at_a_time(self, client: Any) -> None:
        with control_session() as session:
            session.add_all(
                MonthClose(
                    month=date(2025, number, 1) if number < 13 else date(2026, 1, 1),
                    closed_at=AFTER,
                    findings={"entries": 7_000 + number, "balances": [], "open": []},
                )
                for number in range(1, 14)
            )
        sign_in_staff(client, "finance")
        newest, oldest = (client.get(PAGE, query_string={"page": page}).text for page in "12")
        assert ("2026-01" in newest, "7,013" in newest, "7,002" in newest) == (True, True, True)
        assert ("7,001" in newest, "7,001" in oldest, "7,002" in oldest) == (False, True, False)
        assert "page=2" in newest

    def test_is_for_finance(self, client: Any) -> None:
        sign_in_staff(client, "sales")
        assert client.get(PAGE).status_code == 403


class TestWhatACheckFound:
    @pytest.mark.parametrize(
        ("found", "korean", "english"),
        [
            ("2026-03-07", "2026-03-07", "2026-03-07"),
            ("earned until 2026-03-07", "2026-03-07까지 인식함", "recognised until 2026-03-07"),
            ("failed: no: such buyer", "실패: no: such buyer", "failed: no: such buyer"),
            ("due", "발급 전", "not issued yet"),
            ("missing_here KRW -5000", "장부에 없음 −₩5,000", "not in our books −₩5,000"),
        ],
    )
    def test_is_said_in_each_language(self, found: str, korean: str, english: str) -> None:
        assert closing_words.said(found, "ko") == korean
        assert closing_words.said(found, "en") == english


class TestTheCommand:
    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(close_command, [*arguments])

    def test_says_what_hinders_with_its_address(self, scenario: Any) -> None:
        invoice = committed(make_invoice, tenant=committed(make_tenant, state="active"))
        done = self.run("--month", "2026-03")
        assert done.exit_code == 1, done.output
        assert f"/console/tax-papers/of/{invoice.id}" in done.output
        assert "2026-03 cannot be closed yet." in done.output
        assert closes() == []

    def test_closes_and_says_so_once(self, scenario: Any) -> None:
        assert self.run("--month", "2026-03", "--check").exit_code == 0
        assert closes() == []
        done = self.run("--month", "2026-03")
        assert done.exit_code == 0, done.output
        assert "2026-03 is closed" in done.output
        again = self.run("--month", "2026-03")
        assert again.exit_code == 0
        assert "closed already" in again.output
        assert len(closes()) == 1

    @pytest.mark.parametrize("month", ["2026", "March", "2026-13"])
    def test_refuses_what_is_no_month(self, scenario: Any, month: str) -> None:
        assert self.run("--month", month).exit_code == 2
