"""VAT in the console: how it applies to a customer, deadlines, and what the register says."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from sqlalchemy import select

from app.base.config import settings
from app.base.db import control_session
from invoices.models import VatDecision
from jobs import business_status as step
from tenants import business_status
from tenants.business_models import BusinessStatus
from tenants.models import Tenant
from tests.browser import chromium, faults, open_page, screenshot
from tests.factories import NOW, REGISTRATION_NUMBERS, make_application, make_invoice, make_tenant
from tests.fakes.odcloud.running import running
from tests.invoices.test_vat_deadlines import drawn_up, issued_here
from tests.web.forms import PASSWORD, admit, send, sign_in_staff, staff_member
from tests.web.portal.parts import committed
from tests.web.site.serving import serve

DEADLINES, BUSINESSES = "/console/tax-deadlines", "/console/businesses"
ONE, TWO, _ = REGISTRATION_NUMBERS
PDF = b"%PDF-1.7 the contract"
LATE = datetime(2026, 4, 13, 3, tzinfo=UTC)


@pytest.fixture(autouse=True)
def at_noon(set_clock: Callable[..., None], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("TENANTRY_FILES_DIR", str(tmp_path))
    settings.cache_clear()
    set_clock(NOW)


@pytest.fixture
def tenant() -> Tenant:
    return committed(
        make_tenant,
        state="active",
        converted_at=NOW,
        name="한빛 & 파트너스 <주식회사>",
        country="SG",
        billing_profile={"registration_number": ""},
    )


def page_of(tenant: Tenant) -> str:
    return f"/console/vat/{tenant.id}"


def flagged() -> None:
    """A customer whose business is closed, and an applicant whose is suspended."""
    with control_session() as session:
        make_tenant(session, name="폐업 상사", billing_profile={"registration_number": ONE})
        make_application(session, state="confirmed", company="휴업 공방", registration_number=TWO)
    with running() as register:
        register.say(ONE, "03", end_dt="20260131")
        register.say(TWO, "02")
        with control_session() as session:
            business_status.ask_all(control_session=session, now=NOW)
        assert step.work() >= 2


class TestHowVatApplies:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_is_shown_with_what_was_decided(
        self, client: Any, tenant: Tenant, language: str
    ) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(page_of(tenant), query_string={"lang": language})
        assert page.status_code == 200
        assert {"ko": "과세", "en": "Taxable"}[language] in page.text
        assert "<주식회사>" not in page.text
        assert 'name="treatment"' not in page.text  # a viewer decides nothing

    def test_is_decided_by_finance_with_a_proof(self, client: Any, tenant: Tenant) -> None:
        sign_in_staff(client, "finance")
        answer = send(
            client,
            page_of(tenant),
            {
                "treatment": "zero_rated",
                "reason": "용역의 수출",
                "proof": (io.BytesIO(PDF), "../../계약서.pdf"),
            },
        )
        assert answer.status_code == 303, answer.text
        with control_session() as session:
            row = session.scalars(select(VatDecision)).one()
        page = client.get(page_of(tenant)).text
        assert "영세율" in page
        assert "용역의 수출" in page
        proof = client.get(f"/console/vat/proofs/{row.id}")
        assert (proof.data, proof.mimetype) == (PDF, "application/pdf")
        assert proof.headers["Content-Disposition"].startswith("attachment")
        assert proof.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"treatment": "zero_rated", "reason": "수출"}, "영세율에는 증빙이 필요합니다"),
            ({"treatment": "exempt", "reason": ""}, "사유를 적어"),
            ({"treatment": "", "reason": "수출"}, "과세 구분을 선택"),
        ],
    )
    def test_is_refused_in_words_and_keeps_what_was_typed(
        self, client: Any, tenant: Tenant, fields: dict[str, str], words: str
    ) -> None:
        sign_in_staff(client, "finance")
        answer = send(client, page_of(tenant), fields)
        assert answer.status_code == 422
        assert words in answer.text
        assert fields["reason"] in answer.text
        with control_session() as session:
            assert session.scalars(select(VatDecision)).all() == []

    def test_is_not_for_sales_to_decide(self, client: Any, tenant: Tenant) -> None:
        sign_in_staff(client, "sales")
        answer = client.post(page_of(tenant), data={"treatment": "exempt", "reason": "x"})
        assert answer.status_code in (400, 403)

    def test_of_nobody_is_not_found(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        assert client.get("/console/vat/00000000-0000-4000-8000-000000000000").status_code == 404


class TestDeadlines:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_are_quiet_where_nothing_presses(self, client: Any, language: str) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(DEADLINES, query_string={"lang": language})
        assert {"ko": "급한 기한이 없습니다", "en": "No deadline presses"}[language] in page.text
        assert "0.5 %" in page.text

    def test_name_what_is_late_and_what_it_costs(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        committed(make_invoice)
        set_clock(LATE)
        sign_in_staff(client, "finance")
        page = client.get(DEADLINES).text
        assert "지연발급 1 %" in page
        assert "₩1,900" in page
        assert DEADLINES in client.get("/console/attention").text

    def test_leave_no_paper_of_this_machine_out_however_old(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        with control_session() as session:
            issued_here(session)
        set_clock(NOW.replace(year=2027))
        sign_in_staff(client, "finance")
        page = client.get(DEADLINES).text
        assert "그 전에 이 시스템에서 발급한 세금계산서 1건" in page
        assert "state=to-hand-in" in page

    def test_name_what_failed_and_why(self, client: Any) -> None:
        with control_session() as session:
            row = drawn_up(session)
            row.state, row.error = "failed", "인증서 만료"
        sign_in_staff(client, "finance")
        assert "인증서 만료" in client.get(DEADLINES).text


class TestBusinesses:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_show_those_that_need_a_look_first(self, client: Any, language: str) -> None:
        flagged()
        sign_in_staff(client, "finance")
        page = client.get(BUSINESSES, query_string={"lang": language}).text
        assert {"ko": "폐업자", "en": "Business closed"}[language] in page
        assert "폐업 상사" in page
        attention = client.get("/console/attention", query_string={"lang": language}).text
        assert "휴업 공방" in attention

    def test_say_that_nobody_can_be_asked_without_a_key(self, client: Any) -> None:
        sign_in_staff(client, "sales")
        assert "조회할 수 없습니다" in client.get(BUSINESSES).text

    def test_are_flagged_to_reviewers(self, client: Any) -> None:
        flagged()
        sign_in_staff(client, "sales")
        with control_session() as session:
            found = session.scalars(select(BusinessStatus)).all()
        assert {row.status for row in found} == {"closed", "suspended"}
        page = client.get("/console/review", follow_redirects=True).text
        link = next(part for part in page.split('"') if part.startswith("/console/review/0"))
        assert "거래에 주의할 사업자입니다" in client.get(link).text

    def test_are_asked_about_again_on_a_press(self, client: Any) -> None:
        flagged()
        with control_session() as session:
            row_id = session.scalars(
                select(BusinessStatus.id).where(BusinessStatus.registration_number == ONE)
            ).one()
        sign_in_staff(client, "finance")
        with running() as register:
            register.say(ONE, "01", start_dt="20200102", p_nm="대표자")
            fields = {"opened_on": "2020-01-02", "representative": "대표자"}
            to = f"{BUSINESSES}/{row_id}/ask"
            assert send(client, BUSINESSES, fields, to=to).status_code == 303
            wrong = send(client, BUSINESSES, {"representative": "대표자"}, to=to)
            assert wrong.status_code == 422
            assert step.work() == 1
        with control_session() as session:
            row = session.get_one(BusinessStatus, row_id)
        assert (row.status, row.genuine) == ("active", True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("language", ["ko", "en"])
def test_every_page_is_whole_on_every_screen(
    app: Any, browser: Browser, tenant: Tenant, language: str, set_clock: Callable[..., None]
) -> None:
    with control_session() as session:
        row = drawn_up(session)
        make_invoice(session)
        row.state, row.error = "failed", "발급 실패: 인증서 만료"
    flagged()
    set_clock(LATE)
    email = staff_member("finance")
    pictures = os.environ.get("TENANTRY_PICTURES", "")
    with (
        running(),
        serve(app) as url,
        open_page(browser, language=language) as page,
    ):
        admit(page, f"{url}/console", email=email, password=PASSWORD)
        for name, path in (
            ("vat", page_of(tenant)),
            ("deadlines", DEADLINES),
            ("businesses", BUSINESSES),
        ):
            page.goto(f"{url}{path}?lang={language}")
            assert faults(page) == []
            if pictures:
                screenshot(page, Path(pictures) / f"{name}-{language}.png")
