"""The reviewers' desk over HTTP: who may act, who was first, and what the mail says."""

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session
from app.base.messages import Message
from invoices import catalogue
from tenants.models import Application, ProvisioningRun, Tenant
from tests.factories import NOW, make_application, make_catalogue, make_tenant
from tests.invoices.plans import TEAM
from tests.web.forms import csrf_token, send, sign_in_staff

DESK = "/console/review"


@pytest.fixture
def waiting(client: Any) -> list[UUID]:
    """Three confirmed applications, most urgent first."""
    with control_session() as session:
        make_catalogue(session)
        return [
            make_application(session, state="confirmed", sla_due_at=NOW + timedelta(hours=place)).id
            for place in range(3)
        ]


def approve(client: Any, application_id: UUID, **changes: str) -> Any:
    fields = {"trial_days": "30", "plan_code": "studio", "currency": "KRW"} | changes
    page = f"{DESK}/{application_id}"
    return client.post(f"{page}/approve", data={"csrf_token": csrf_token(client, page), **fields})


def state_of(application_id: UUID) -> str:
    with control_session() as session:
        return session.scalars(
            select(Application.state).where(Application.id == application_id)
        ).one()


class TestDoor:
    def test_is_shut_to_strangers(self, client: Any, waiting: list[UUID]) -> None:
        for path in (DESK, f"{DESK}/{waiting[0]}", f"{DESK}/{waiting[0]}/reject"):
            answer = client.get(path)
            assert answer.status_code == 302
            assert answer.headers["Location"].startswith("/console/sign-in")

    @pytest.mark.parametrize("role", ["finance", "viewer"])
    def test_lets_other_roles_read_and_not_act(
        self, client: Any, waiting: list[UUID], role: str
    ) -> None:
        sign_in_staff(client, role)
        page = client.get(f"{DESK}/{waiting[0]}")
        assert page.status_code == 200
        assert "/approve" not in page.text
        token = csrf_token(client, f"{DESK}/{waiting[0]}")
        for act in ("claim", "release", "approve", "reject"):
            answer = client.post(f"{DESK}/{waiting[0]}/{act}", data={"csrf_token": token})
            assert answer.status_code == 403
        assert client.get(f"{DESK}/{waiting[0]}/reject").status_code == 403
        assert state_of(waiting[0]) == "confirmed"

    def test_refuses_a_forged_token(self, client: Any, waiting: list[UUID]) -> None:
        sign_in_staff(client, "sales")
        for token in ("", "forged"):
            answer = client.post(f"{DESK}/{waiting[0]}/approve", data={"csrf_token": token})
            assert answer.status_code == 400
        assert state_of(waiting[0]) == "confirmed"

    def test_knows_no_application_that_is_not_there(self, client: Any, waiting: list[UUID]) -> None:
        sign_in_staff(client, "sales")
        assert client.get(f"{DESK}/{uuid4()}").status_code == 404
        assert client.get(f"{DESK}/nonsense").status_code == 404
        assert client.get(f"{DESK}?tab=x&q=%25%00'&page=99999999999999999999").status_code == 200


class TestApprove:
    def test_makes_a_tenant_of_the_chosen_plan_and_opens_the_next(
        self, client: Any, waiting: list[UUID]
    ) -> None:
        sign_in_staff(client, "sales")
        answer = approve(client, waiting[0])
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{DESK}/{waiting[1]}"
        with control_session() as session:
            tenant = session.scalars(select(Tenant)).one()
            assert (tenant.plan_code, tenant.trial_days, tenant.limits["seats"]) == (
                "studio",
                30,
                300,
            )
            assert session.get(ProvisioningRun, tenant.id) is not None

    def test_twice_tells_the_second_who_was_first(
        self, app: Any, client: Any, waiting: list[UUID]
    ) -> None:
        sign_in_staff(client, "sales")
        second = sign_in_staff(app.test_client(), "admin")
        token = csrf_token(second, f"{DESK}/{waiting[0]}")
        assert approve(client, waiting[0]).status_code == 303
        answer = second.post(
            f"{DESK}/{waiting[0]}/approve",
            data={
                "csrf_token": token,
                "trial_days": "14",
                "plan_code": "team",
                "currency": "KRW",
            },
        )
        assert answer.status_code == 409
        assert "The sales" in answer.text
        with control_session() as session:
            assert session.scalar(select(func.count()).select_from(Tenant)) == 1

    @pytest.mark.parametrize(
        "changes",
        [
            {"trial_days": "0"},
            {"trial_days": "9999"},
            {"trial_days": "many"},
            {"currency": "EUR"},
            {"plan_code": "\x00"},
            {"plan_code": "'; DROP TABLE plan; --"},
        ],
    )
    def test_with_a_wrong_answer_changes_nothing(
        self, client: Any, waiting: list[UUID], changes: dict[str, str]
    ) -> None:
        sign_in_staff(client, "sales")
        assert approve(client, waiting[0], **changes).status_code in (404, 422)
        assert state_of(waiting[0]) == "confirmed"

    def test_takes_any_currency_that_a_plan_is_sold_in(
        self, client: Any, waiting: list[UUID]
    ) -> None:
        sign_in_staff(client, "sales")
        with control_session() as session:
            plan = replace(TEAM, currency="EUR")
            catalogue.publish(control_session=session, terms=plan, actor=SYSTEM, now=NOW)
        assert '<option value="EUR">' in client.get(f"{DESK}/{waiting[0]}").text
        answer = approve(client, waiting[0], currency="EUR", plan_code="team")
        assert answer.status_code == 303
        with control_session() as session:
            assert session.scalars(select(Tenant.currency)).all() == ["EUR"]

    def test_of_nothing_with_a_wrong_answer_is_not_found(
        self, client: Any, waiting: list[UUID]
    ) -> None:
        sign_in_staff(client, "sales")
        fields = {"csrf_token": csrf_token(client, f"{DESK}/{waiting[0]}"), "currency": "EUR"}
        assert client.post(f"{DESK}/{uuid4()}/approve", data=fields).status_code == 404


class TestClaim:
    def test_shows_the_other_reviewer_who_is_on_it(
        self, app: Any, client: Any, waiting: list[UUID]
    ) -> None:
        sign_in_staff(client, "sales")
        page = f"{DESK}/{waiting[0]}"
        assert send(client, page, {}, to=f"{page}/claim").status_code == 303
        second = sign_in_staff(app.test_client(), "admin")
        seen = second.get(page).text
        assert "The sales" in seen
        assert f"{page}/approve" not in seen
        answer = send(second, page, {}, to=f"{page}/claim")
        assert answer.status_code == 409
        assert send(client, page, {}, to=f"{page}/release").status_code == 303
        assert f"{page}/approve" in second.get(page).text


class TestReject:
    def test_previews_the_mail_before_it_goes_out(self, client: Any, waiting: list[UUID]) -> None:
        sign_in_staff(client, "sales")
        page = f"{DESK}/{waiting[0]}/reject"
        fields = {"ground": "not_a_fit", "reason": "<b>용도</b>가 맞지 않아요."}
        shown = send(client, page, fields)
        assert shown.status_code == 200
        assert "&lt;b&gt;용도&lt;/b&gt;가 맞지 않아요." in shown.text
        assert state_of(waiting[0]) == "confirmed"
        answer = send(client, page, fields | {"wish": "reject"})
        assert answer.headers["Location"] == f"{DESK}/{waiting[1]}"
        assert state_of(waiting[0]) == "rejected"
        with control_session() as session:
            mail = session.scalars(
                select(Message).where(Message.kind == "application_rejected")
            ).one()
            assert "<b>" not in mail.html
            why = session.scalars(
                select(AuditEvent.why).where(AuditEvent.action == "application.rejected")
            ).one()
            assert why == "not_a_fit"

    @pytest.mark.parametrize("wish", ["preview", "reject"])
    def test_asks_for_a_reason_and_keeps_what_was_typed(
        self, client: Any, waiting: list[UUID], wish: str
    ) -> None:
        sign_in_staff(client, "sales")
        page = f"{DESK}/{waiting[0]}/reject"
        answer = send(client, page, {"ground": "other", "reason": "no", "wish": wish})
        assert answer.status_code == 422
        assert 'id="reason-error"' in answer.text
        assert state_of(waiting[0]) == "confirmed"


class TestExtend:
    def test_lengthens_a_trial(self, client: Any) -> None:
        with control_session() as session:
            row = make_application(session, state="approved")
            tenant = make_tenant(session, application_id=row.id).id
        sign_in_staff(client, "sales")
        page = f"{DESK}/{row.id}"
        answer = send(client, page, {"days": "7"}, to=f"{DESK}/tenants/{tenant}/extend")
        assert answer.headers["Location"] == page
        with control_session() as session:
            assert session.get_one(Tenant, tenant).trial_days == 21


class TestQueue:
    def test_says_what_is_late_and_escapes_what_was_typed(self, client: Any) -> None:
        with control_session() as session:
            make_application(
                session,
                state="confirmed",
                company="<script>alert(1)</script>",
                message="'; DROP TABLE application; --",
                sla_due_at=NOW,
            )
        sign_in_staff(client, "viewer")
        page = client.get(f"{DESK}?lang=en").text
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page
        assert "late" in page
