import re
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.base import accounts, clock
from app.base.audit import AccessEntry
from app.base.db import control_session
from app.base.messages import Message
from tenants import admins, members
from tenants.models import Tenant
from tests.factories import PASSWORD, make_admin, make_tenant
from tests.web.forms import csrf_token, send, sign_in_staff
from tests.web.portal.parts import SIGN_IN, admin_of, committed, customer, sign_in
from tests.workspaces import Workspace, make_workspace

NEW = "another fine password 2"


class TestSignIn:
    def test_leads_to_the_overview(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        assert tenant.name in client.get("/portal/").text

    def test_says_the_same_of_an_unknown_address_and_a_wrong_password(self, client: Any) -> None:
        email = admin_of(customer()).email
        answers = [
            send(client, SIGN_IN, {"email": who, "password": "not this one"})
            for who in (email, "nobody@customer.example", "\x00", "x" * 5000)
        ]
        assert {answer.status_code for answer in answers} == {403}
        sentence = "이메일 주소나 비밀번호가 맞지 않아요"
        assert all(sentence in answer.text for answer in answers)

    def test_stops_guessing_by_account(self, client: Any) -> None:
        email = admin_of(customer()).email
        for _ in range(8):
            send(client, SIGN_IN, {"email": email, "password": "not this one"})
        answer = send(client, SIGN_IN, {"email": email.upper(), "password": PASSWORD})
        assert answer.status_code == 403
        assert client.get("/portal/").status_code == 302

    @pytest.mark.parametrize(
        "place", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x"]
    )
    def test_never_leads_to_another_site(self, client: Any, place: str) -> None:
        fields = {"email": admin_of(customer()).email, "password": PASSWORD, "next": place}
        assert send(client, SIGN_IN, fields).location == "/portal/"

    def test_goes_on_to_where_one_wanted(self, client: Any) -> None:
        email = admin_of(customer()).email
        there = client.get("/portal/payment").location
        assert there == "/portal/sign-in?next=/portal/payment"
        fields = {"email": email, "password": PASSWORD, "next": "/portal/payment"}
        assert send(client, there, fields, to=SIGN_IN).location == "/portal/payment"

    def test_is_written_to_the_access_log_with_its_tenant(self, client: Any) -> None:
        tenant = customer()
        sign_in(client, tenant)
        with control_session() as session:
            entry = session.scalars(select(AccessEntry)).one()
        assert (entry.event, entry.audience, entry.tenant_id) == (
            "signed_in",
            "portal",
            tenant.id,
        )

    def test_out_is_out(self, client: Any) -> None:
        sign_in(client, customer())
        stolen = client.get_cookie("tenantry_portal").value
        send(client, "/portal/", {}, to="/portal/sign-out")
        client.set_cookie("tenantry_portal", stolen)
        assert client.get("/portal/").status_code == 302


class TestChoice:
    def two(self) -> tuple[Tenant, Tenant]:
        first, second = customer(), committed(make_tenant)
        for tenant in (first, second):
            committed(make_admin, tenant=tenant, email="both@customer.example")
        return first, second

    def test_one_address_with_two_tenants_chooses(self, client: Any) -> None:
        first, second = self.two()
        answer = send(client, SIGN_IN, {"email": "both@customer.example", "password": PASSWORD})
        assert answer.location == "/portal/choose"
        assert client.get("/portal/").status_code == 302
        page = client.get("/portal/choose").text
        assert first.name in page
        assert second.name in page
        chosen = re.findall(r'name="admin_id" value="([^"]+)"', page)
        assert len(chosen) == 2
        answer = send(client, "/portal/choose", {"admin_id": chosen[0]})
        assert answer.location == "/portal/"
        assert client.get("/portal/").status_code == 200
        assert client.get("/portal/choose").location == SIGN_IN

    def test_never_opens_what_was_not_offered(self, client: Any) -> None:
        self.two()
        stranger = admin_of(committed(make_tenant))
        send(client, SIGN_IN, {"email": "both@customer.example", "password": PASSWORD})
        for wanted in (str(stranger.id), "", "nonsense"):
            assert send(client, "/portal/choose", {"admin_id": wanted}).status_code == 422
        assert client.get("/portal/").status_code == 302

    def test_nobody_chooses_without_a_password(self, client: Any) -> None:
        self.two()
        assert client.get("/portal/choose").location == SIGN_IN


class TestSession:
    @pytest.mark.parametrize("cookie", ["s.forged", "s.", "a.forged", "x", "s." + "é" * 40])
    def test_a_forged_cookie_signs_nobody_in(self, client: Any, cookie: str) -> None:
        client.set_cookie("tenantry_portal", cookie)
        assert client.get("/portal/").status_code == 302

    def test_a_member_of_staff_is_no_customer(self, client: Any) -> None:
        sign_in_staff(client)
        client.set_cookie("tenantry_portal", client.get_cookie("tenantry_staff").value)
        assert client.get("/portal/").status_code == 302

    @pytest.mark.parametrize("state", ["destroying", "destroyed"])
    def test_ends_with_the_tenant(self, client: Any, state: str) -> None:
        tenant = customer()
        sign_in(client, tenant)
        with control_session() as session:
            session.get_one(Tenant, tenant.id).state = state
        assert client.get("/portal/").status_code == 302

    @pytest.mark.parametrize("reason", ["trial_ended", "unpaid", "cancelled", "staff"])
    def test_stays_open_while_the_workspace_is_shut(self, client: Any, reason: str) -> None:
        tenant = customer(state="suspended", suspend_reason=reason)
        sign_in(client, tenant)
        for page in ("", "plan", "invoices", "payment", "account"):
            assert client.get(f"/portal/{page}").status_code == 200
        assert "/portal/workspace" not in client.get("/portal/").text


class TestPassword:
    @pytest.fixture
    def workspace(self, app: Any, now: datetime) -> Workspace:
        clock.set_now(now)
        return make_workspace(now=now)

    def invitation(self, workspace: Workspace) -> str:
        from datetime import timedelta

        with control_session() as session:
            token = accounts.issue_token(
                control_session=session,
                purpose=admins.INVITATION,
                subject_id=workspace.admin_id,
                valid_for=timedelta(days=7),
                now=clock.now(),
            )
        return f"/portal/welcome/{token}"

    def test_of_the_invitation_opens_portal_and_workspace_once(
        self, client: Any, app: Any, workspace: Workspace
    ) -> None:
        link = self.invitation(workspace)
        # A mail scanner opens the link first; that must not use it up.
        assert app.test_client().get(link).status_code == 200
        assert send(client, link, {"password": NEW, "again": NEW}).location == "/portal/"
        assert client.get("/portal/").status_code == 200
        with workspace.session() as tenant_session:
            assert members.authenticate(
                tenant_session=tenant_session, email=workspace.admin_email, password=NEW
            )
        assert app.test_client().get(link).status_code == 409

    @pytest.mark.parametrize(
        ("password", "again"),
        [("short", "short"), ("a" * 20, "a" * 20), ("qwer1234!!",) * 2, (NEW, "other")],
    )
    def test_that_is_weak_leaves_the_link_good(
        self, client: Any, workspace: Workspace, password: str, again: str
    ) -> None:
        link = self.invitation(workspace)
        assert send(client, link, {"password": password, "again": again}).status_code == 422
        assert send(client, link, {"password": NEW, "again": NEW}).status_code == 303

    def test_a_link_that_nobody_made_is_refused(self, client: Any) -> None:
        for path in ("welcome", "reset"):
            assert client.get(f"/portal/{path}/nonsense").status_code == 422

    def test_forgotten_sends_one_person_few_mails_whoever_asks(self, limited_client: Any) -> None:
        token = csrf_token(limited_client, "/portal/forgot")
        form = {"email": "Somebody@customer.example", "csrf_token": token}
        answers = [
            limited_client.post(
                "/portal/forgot", data=form, environ_overrides={"REMOTE_ADDR": f"192.0.2.{number}"}
            ).status_code
            for number in range(6)
        ]
        assert answers == [200] * 5 + [429]

    def test_forgotten_is_set_anew_by_mail_and_signs_out_elsewhere(
        self, client: Any, app: Any, workspace: Workspace
    ) -> None:
        elsewhere = app.test_client()
        fields = {"email": workspace.admin_email, "password": PASSWORD}
        assert send(elsewhere, SIGN_IN, fields).status_code == 303
        send(client, "/portal/forgot", {"email": workspace.admin_email})
        with control_session() as session:
            mail = session.scalars(select(Message.text).where(Message.kind == "admin_reset")).one()
        link = re.search(r"/portal/reset/\S+", mail)
        assert link
        assert send(client, link.group(), {"password": NEW, "again": NEW}).status_code == 303
        assert client.get("/portal/").status_code == 200
        assert elsewhere.get("/portal/").status_code == 302

    def test_forgetting_says_the_same_of_an_address_that_nobody_has(self, client: Any) -> None:
        email = admin_of(customer()).email
        known = send(client, "/portal/forgot", {"email": email}).text
        unknown = send(client, "/portal/forgot", {"email": "nobody@customer.example"}).text
        strip = re.compile(r'(csrf_token"[^>]*value=")[^"]+')
        assert strip.sub("", known) == strip.sub("", unknown)

    def test_is_changed_only_by_whoever_knows_the_present_one(
        self, client: Any, workspace: Workspace
    ) -> None:
        send(client, SIGN_IN, {"email": workspace.admin_email, "password": PASSWORD})
        page, to = "/portal/account", "/portal/account/password"
        wrong = {"current": "not this one", "password": NEW, "again": NEW}
        answer = send(client, page, wrong, to=to)
        assert answer.status_code == 403
        assert "현재 비밀번호가 달라요" in answer.text
        right = wrong | {"current": PASSWORD}
        assert send(client, page, right, to=to).status_code == 303
        assert client.get("/portal/").status_code == 200
        with workspace.session() as tenant_session:
            assert members.authenticate(
                tenant_session=tenant_session, email=workspace.admin_email, password=NEW
            )

    def test_opens_the_workspace_from_the_portal_without_asking_again(
        self, client: Any, workspace: Workspace
    ) -> None:
        send(client, SIGN_IN, {"email": workspace.admin_email, "password": PASSWORD})
        assert send(client, "/portal/", {}, to="/portal/workspace").location == "/workspace/"
        assert client.get("/workspace/drawings").status_code == 200
        assert client.get("/portal/").status_code == 200

    def test_a_form_without_its_token_opens_no_workspace(
        self, client: Any, workspace: Workspace
    ) -> None:
        send(client, SIGN_IN, {"email": workspace.admin_email, "password": PASSWORD})
        assert csrf_token(client, "/portal/")
        answer = client.post("/portal/workspace", data={"csrf_token": "forged"})
        assert answer.status_code == 400
        assert client.get("/workspace/drawings").status_code == 302
