import re
from typing import Any

import pytest
import redis
from sqlalchemy import select

from app.base import secrets
from app.base.accounts import Staff
from app.base.audit import AccessEntry
from app.base.db import control_session
from app.base.messages import Message
from app.web import valkey as valkey_door
from tests.web.forms import PASSWORD, csrf_token, send, sign_in_staff, staff_member

SIGN_IN = "/console/sign-in"


class TestSignIn:
    def test_opens_the_page_that_the_role_works_on(self, client: Any) -> None:
        sign_in_staff(client, "finance")
        assert client.get("/console/").location == "/console/invoices"

    def test_says_the_same_of_an_unknown_address_and_a_wrong_password(self, client: Any) -> None:
        email = staff_member("viewer")
        answers = [
            send(client, SIGN_IN, {"email": who, "password": "not this one"})
            for who in (email, "nobody@tenantry.example")
        ]
        assert [answer.status_code for answer in answers] == [403, 403]
        sentence = "이메일 주소나 비밀번호가 맞지 않아요"
        assert all(sentence in answer.text for answer in answers)

    def test_stops_guessing_by_account_and_keeps_the_right_password_out_too(
        self, client: Any
    ) -> None:
        email = staff_member("admin")
        for _ in range(8):
            send(client, SIGN_IN, {"email": email, "password": "not this one"})
        answer = send(client, SIGN_IN, {"email": email.upper(), "password": PASSWORD})
        assert answer.status_code == 403
        assert client.get("/console/staff").status_code == 302

    def test_stops_trying_one_password_on_everybody_whoever_signs_in_between(
        self, client: Any, app: Any
    ) -> None:
        own = staff_member("viewer")
        wrong = {"password": "not this one"}
        for number in range(40):
            answer = send(client, SIGN_IN, {"email": f"n{number}@tenantry.example"} | wrong)
            assert "이메일 주소나 비밀번호가" in answer.text
            if number % 6 == 5:
                fields = {"email": own, "password": PASSWORD}
                assert send(app.test_client(), SIGN_IN, fields).status_code == 303
        answer = send(client, SIGN_IN, {"email": "n40@tenantry.example"} | wrong)
        assert "이메일 주소나 비밀번호가" not in answer.text
        assert answer.status_code == 403

    def test_begins_a_new_session_so_that_a_planted_id_is_worth_nothing(self, client: Any) -> None:
        client.get(SIGN_IN)
        before = client.get_cookie("tenantry_staff").value
        sign_in_staff(client)
        first = client.get_cookie("tenantry_staff").value
        assert first != before
        assert first.startswith("s.")
        send(client, "/console/staff", {}, to="/console/sign-out")
        send(client, SIGN_IN, {"email": "admin@tenantry.example", "password": PASSWORD})
        assert client.get_cookie("tenantry_staff").value != first

    @pytest.mark.parametrize(
        "place",
        [
            "https://evil.example/",
            "//evil.example/",
            "/\\evil.example",
            "javascript:x",
            "/\t/evil.example",
            "/x\r\nSet-Cookie: a=b",
            "//[",
        ],
    )
    def test_never_leads_to_another_site(self, client: Any, place: str) -> None:
        email = staff_member("admin")
        answer = send(client, SIGN_IN, {"email": email, "password": PASSWORD, "next": place})
        assert answer.location == "/console/"

    def test_is_written_to_the_access_log(self, client: Any) -> None:
        sign_in_staff(client)
        with control_session() as session:
            events = session.scalars(select(AccessEntry.event)).all()
        assert events == ["signed_in"]


class TestSession:
    @pytest.mark.parametrize("cookie", ["s.forged", "s.", "a.forged", "x", "s." + "é" * 40])
    def test_a_forged_cookie_signs_nobody_in(self, client: Any, cookie: str) -> None:
        client.set_cookie("tenantry_staff", cookie)
        assert client.get("/console/staff").status_code == 302

    def test_another_audience_s_cookie_signs_nobody_in(self, client: Any) -> None:
        sign_in_staff(client)
        stolen = client.get_cookie("tenantry_staff").value
        client.delete_cookie("tenantry_staff")
        client.set_cookie("tenantry_portal", stolen)
        client.set_cookie("tenantry_site", stolen)
        assert client.get("/console/staff").status_code == 302

    def test_a_form_without_its_token_is_refused_and_says_what_to_do(self, client: Any) -> None:
        sign_in_staff(client)
        answer = client.post("/console/staff", data={"csrf_token": "forged"})
        assert answer.status_code == 400
        assert "다시" in answer.text

    def test_a_session_that_ended_while_valkey_was_away_stays_ended(
        self, client: Any, app: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sign_in_staff(client)
        assert client.get("/console/staff").status_code == 200
        stolen = client.get_cookie("tenantry_staff").value
        token = csrf_token(client, "/console/staff")
        gone = redis.Redis(host="127.0.0.1", port=1, socket_connect_timeout=0.1)
        with monkeypatch.context() as during:
            during.setattr(valkey_door, "client", lambda: gone)
            assert client.post("/console/sign-out", data={"csrf_token": token}).status_code == 303
        monkeypatch.setattr(valkey_door, "breaker", valkey_door.Breaker)
        monkeypatch.setattr("app.web.sessions.EPOCH_SECONDS", 0)
        client.set_cookie("tenantry_staff", stolen)
        assert client.get("/console/staff").status_code == 302

    def test_that_a_slower_request_puts_back_into_the_cache_stays_ended(
        self, client: Any, valkey: redis.Redis
    ) -> None:
        valkey_door.breaker.cache_clear()
        sign_in_staff(client)
        assert client.get("/console/staff").status_code == 200
        stolen = client.get_cookie("tenantry_staff").value
        interface = client.application.session_interface
        with client.application.test_request_context("/console/staff"):
            id_hash = secrets.hash_token(stolen.removeprefix("s."))
            read_before = interface._cached(id_hash)
        assert read_before is not None
        assert send(client, "/console/staff", {}, to="/console/sign-out").status_code == 303
        with client.application.test_request_context("/console/staff"):
            interface._cache(id_hash, read_before)
        client.set_cookie("tenantry_staff", stolen)
        assert client.get("/console/staff").status_code == 302

    def test_goes_on_from_postgresql_when_valkey_forgets_everything(
        self, client: Any, valkey: redis.Redis
    ) -> None:
        sign_in_staff(client)
        valkey.flushdb()
        assert client.get("/console/staff").status_code == 200


class TestPassword:
    def link(self, path: str) -> str:
        with control_session() as session:
            text = session.scalar(select(Message.text).order_by(Message.created_at.desc())) or ""
        found = re.search(rf"/console/{path}/\S+", text)
        assert found
        return found.group()

    def test_an_invited_colleague_chooses_one_and_the_link_works_once(
        self, client: Any, app: Any
    ) -> None:
        sign_in_staff(client)
        fields = {"email": "new@tenantry.example", "name": "New", "role": "sales"}
        assert send(client, "/console/staff", fields).status_code == 303
        link = self.link("welcome")
        theirs = app.test_client()
        # A mail scanner opens the link first; that must not use it up.
        assert app.test_client().get(link).status_code == 200
        chosen = {"password": PASSWORD, "again": PASSWORD}
        assert send(theirs, link, chosen).status_code == 303
        assert theirs.get("/console/staff").status_code == 200
        assert app.test_client().get(link).status_code == 409

    def test_a_weak_one_is_refused_and_the_link_still_works(self, client: Any) -> None:
        email = staff_member("viewer")
        send(client, "/console/forgot", {"email": email})
        link = self.link("reset")
        weak = {"password": "aaaaaaaaaaaa", "again": "aaaaaaaaaaaa"}
        assert send(client, link, weak).status_code == 422
        assert send(client, link, {"password": PASSWORD, "again": "other"}).status_code == 422
        assert send(client, link, {"password": PASSWORD, "again": PASSWORD}).status_code == 303

    def test_forgetting_says_the_same_of_an_address_that_nobody_has(self, client: Any) -> None:
        email = staff_member("viewer")
        known = send(client, "/console/forgot", {"email": email}).text
        unknown = send(client, "/console/forgot", {"email": "nobody@tenantry.example"}).text
        strip = re.compile(r'(csrf_token"[^>]*value=")[^"]+')
        assert strip.sub("", known) == strip.sub("", unknown)


class TestAccess:
    def test_disabling_somebody_ends_their_sessions(self, client: Any, app: Any) -> None:
        theirs = sign_in_staff(app.test_client(), "sales")
        sign_in_staff(client)
        with control_session() as session:
            staff_id = session.scalar(select(Staff.id).where(Staff.role == "sales"))
        path = f"/console/staff/{staff_id}/access"
        send(client, "/console/staff", {"wish": "disable"}, to=path)
        assert theirs.get("/console/staff").status_code == 302

    def test_disabling_somebody_voids_the_links_in_their_mailbox(self, client: Any) -> None:
        email = staff_member("sales")
        send(client, "/console/forgot", {"email": email})
        with control_session() as session:
            text = session.scalar(select(Message.text)) or ""
            staff_id = session.scalar(select(Staff.id).where(Staff.role == "sales"))
        link = re.search(r"/console/reset/\S+", text)
        assert link
        assert client.get(link.group()).status_code == 200
        sign_in_staff(client)
        path = f"/console/staff/{staff_id}/access"
        send(client, "/console/staff", {"wish": "disable"}, to=path)
        send(client, "/console/staff", {"wish": "enable"}, to=path)
        assert client.get(link.group()).status_code == 422

    def test_the_last_admin_stays(self, client: Any) -> None:
        sign_in_staff(client)
        with control_session() as session:
            staff_id = session.scalar(select(Staff.id))
        path = f"/console/staff/{staff_id}/access"
        for wish in ({"wish": "disable"}, {"wish": "role", "role": "viewer"}):
            assert send(client, "/console/staff", wish, to=path).status_code == 409

    @pytest.mark.parametrize("role", ["sales", "finance", "viewer"])
    def test_only_an_admin_invites(self, client: Any, role: str) -> None:
        sign_in_staff(client, role)
        fields = {"email": "x@tenantry.example", "name": "X", "role": "admin"}
        token = csrf_token(client, "/console/staff")
        answer = client.post("/console/staff", data={**fields, "csrf_token": token})
        assert answer.status_code == 403

    def test_a_wrong_field_is_named_and_what_was_typed_is_kept(self, client: Any) -> None:
        sign_in_staff(client)
        answer = send(client, "/console/staff", {"email": "no", "name": "Kept", "role": "sales"})
        assert answer.status_code == 422
        assert 'value="Kept"' in answer.text
        assert 'href="#email"' in answer.text


class TestTrails:
    def test_show_the_last_acts_and_mails_without_their_secrets(self, client: Any) -> None:
        sign_in_staff(client)
        fields = {"email": "new@tenantry.example", "name": "New", "role": "sales"}
        send(client, "/console/staff", fields)
        assert "staff.added" in client.get("/console/audit").text
        page = client.get("/console/mail").text
        assert "new@tenantry.example" in page
        assert "/console/welcome/" not in page
