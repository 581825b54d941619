from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.db import control_session
from invoices import evidence, write_offs
from invoices.models import Invoice, PaymentAttempt, ReconciliationDay
from jobs import provisioning
from tenants.models import Application, ProvisioningRun, Tenant
from tests.factories import NOW, make_application, make_staff
from tests.invoices.test_reversals import ask_for_cash_receipt, settled, take_back
from tests.tenants.approved import approve
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.stage import long_life, troubles

PAGE = "/console/attention"


@pytest.fixture(autouse=True)
def clock_at_noon(set_clock: Callable[..., None]) -> None:
    """The day on which the trouble is made."""
    set_clock(NOW)


class TestPage:
    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_is_empty_where_nothing_waits(self, client: Any, language: str) -> None:
        sign_in_staff(client, "viewer")
        page = client.get(PAGE, query_string={"lang": language})
        assert page.status_code == 200
        assert {"ko": "처리할 일이 없어요", "en": "Nothing waits for you"}[language] in page.text

    @pytest.mark.parametrize("language", ["ko", "en"])
    def test_names_each_trouble(self, client: Any, language: str) -> None:
        long_life()
        attempt = troubles()
        sign_in_staff(client, "finance")
        page = client.get(PAGE, query_string={"lang": language})
        assert page.status_code == 200
        assert attempt.order_id in page.text  # a charge that nobody knows the outcome of
        assert "한도가 부족합니다" in page.text  # a declined card
        assert "2026-02-01 – 2026-02-28" in page.text  # a bill that waits for a day's reading
        assert "no space left on device" in page.text  # work that is not tried any more

    def test_names_a_cash_receipt_of_long_ago_whose_money_went_again(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        with control_session() as session:
            invoice, payment = settled(session)
            ask_for_cash_receipt(session, invoice)
            evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
            take_back(session, payment)
            number = invoice.number_text
        set_clock(NOW + timedelta(days=100))
        sign_in_staff(client, "finance")
        assert str(number) in client.get(PAGE).text

    def test_names_a_supply_that_was_given_up_as_the_deadlines_do(
        self, client: Any, set_clock: Callable[..., None]
    ) -> None:
        with control_session() as session:
            invoice, _ = settled(session, 9_000)
            write_offs.write_off(
                control_session=session,
                invoice_id=invoice.id,
                reason="insolvent",
                staff_id=make_staff(session).id,
                now=NOW,
            )
            number = str(invoice.number_text)
        set_clock(NOW + timedelta(days=29))
        sign_in_staff(client, "finance")
        assert number in client.get("/console/tax-deadlines").text
        assert number in client.get(PAGE).text

    def test_shows_whoever_only_reads_no_buttons(self, client: Any) -> None:
        troubles()
        sign_in_staff(client, "sales")
        page = client.get(PAGE).text
        assert "/never-charged" not in page
        assert "/again" not in page


class TestNeverCharged:
    def test_settles_the_attempt_and_collects_the_invoice_anew(self, client: Any) -> None:
        attempt = troubles()
        sign_in_staff(client, "finance")
        to = f"{PAGE}/attempts/{attempt.id}/never-charged"
        assert send(client, PAGE, {"why": " "}, to=to).status_code == 422
        assert send(client, PAGE, {"why": "looked in the back office"}, to=to).status_code == 303
        with control_session() as session:
            assert session.get_one(PaymentAttempt, attempt.id).state == "declined"
            assert session.get_one(Invoice, attempt.invoice_id).state == "issued"
            reasons = session.scalars(
                select(AuditEvent.why).where(AuditEvent.subject_id == str(attempt.id))
            ).all()
        assert any("looked in the back office" in (why or "") for why in reasons)

    def test_an_unknown_attempt_is_not_found(self, client: Any) -> None:
        troubles()
        sign_in_staff(client, "finance")
        to = f"{PAGE}/attempts/{UUID(int=1)}/never-charged"
        assert send(client, PAGE, {"why": "x"}, to=to).status_code == 404


class TestTryAgain:
    def test_frees_parked_work_once(self, client: Any) -> None:
        troubles()
        sign_in_staff(client, "finance")
        with control_session() as session:
            key = session.scalars(select(ProvisioningRun.tenant_id)).one()
        to = f"{PAGE}/parked/provisioning/{key}/again"
        token = csrf_token(client, PAGE)
        answers = [client.post(to, data={"csrf_token": token}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [303, 404]
        with control_session() as session:
            assert session.get_one(ProvisioningRun, key).attempts == 0

    @pytest.mark.parametrize(
        ("language", "name"), [("ko", "결제사 정산 내역"), ("en", "a gateway&#39;s books")]
    )
    def test_shows_a_day_that_cannot_be_reconciled(
        self, client: Any, language: str, name: str
    ) -> None:
        with control_session() as session:
            day = ReconciliationDay(
                gateway="cards",
                day=date(2026, 3, 9),
                asked_at=NOW,
                attempts=settings().work_attempts_max,
                last_error="GatewayUnavailable: no answer",
            )
            session.add(day)
            session.flush()
        sign_in_staff(client, "finance")
        shown = client.get(PAGE, query_string={"lang": language}).text
        assert name in shown
        assert "cards 2026-03-09" in shown
        to = f"{PAGE}/parked/reconciliation/{day.id}/again"
        assert send(client, PAGE, {}, to=to).status_code == 303
        with control_session() as session:
            assert session.get_one(ReconciliationDay, day.id).attempts == 0

    def test_or_an_admin_gives_the_tenant_up(self, client: Any, app: Any) -> None:
        with control_session() as session:
            application_id = make_application(session, state="approved").id
        tenant_id = approve(now=NOW, application_id=application_id)
        with control_session() as session:
            run = session.get_one(ProvisioningRun, tenant_id)
            run.attempts, run.last_error = settings().work_attempts_max, "NoRoom: full"
        to = f"{PAGE}/parked/provisioning/{tenant_id}/give-up"
        finance = app.test_client()
        sign_in_staff(finance, "finance")
        assert to not in finance.get(PAGE).text
        assert send(finance, PAGE, {"why": "x" * 40}, to=to).status_code == 403
        sign_in_staff(client, "admin")
        assert to in client.get(PAGE).text
        assert send(client, PAGE, {"why": " "}, to=to).status_code == 422
        assert send(client, PAGE, {"why": "There is no room for you."}, to=to).status_code == 303
        assert to not in client.get(PAGE).text
        assert provisioning.STEP.work() == 1
        with control_session() as session:
            assert session.get_one(Tenant, tenant_id).state == "destroyed"
            assert session.get_one(Application, application_id).state == "rejected"
        assert to not in client.get(PAGE).text
        twice = send(client, f"{PAGE}?lang=ko", {"why": "There is no room for you."}, to=to)
        assert (twice.status_code, "이미 처리됐어요." in twice.text) == (409, True)

    @pytest.mark.parametrize("word", ["provisioning", "nonsense", "tenant; DROP TABLE"])
    def test_of_nothing_is_not_found(self, client: Any, word: str) -> None:
        troubles()
        sign_in_staff(client, "finance")
        to = f"{PAGE}/parked/{word}/{UUID(int=1)}/again"
        assert send(client, PAGE, {}, to=to).status_code == 404

    @pytest.mark.parametrize("role", ["sales", "viewer"])
    def test_is_not_for_those_who_read(self, client: Any, role: str) -> None:
        attempt = troubles()
        sign_in_staff(client, role)
        token = csrf_token(client, PAGE)
        for to in (
            f"{PAGE}/attempts/{attempt.id}/never-charged",
            f"{PAGE}/parked/provisioning/{attempt.tenant_id}/again",
            f"{PAGE}/subscriptions/{attempt.tenant_id}/again",
        ):
            assert client.post(to, data={"csrf_token": token, "why": "x"}).status_code == 403
