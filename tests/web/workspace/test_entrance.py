from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.base import clock
from app.base.audit import AccessEntry
from app.base.db import control_session
from app.base.messages import Message
from app.base.sessions import WebSession
from tenants import lifecycle
from tenants.lifecycle import JOB
from tests.factories import PASSWORD
from tests.web.forms import csrf_token, send
from tests.web.workspace.conftest import SIGN_IN, enter
from tests.workspaces import Workspace


def last_link() -> str:
    with control_session() as session:
        text = session.scalar(
            select(Message.text)
            .where(Message.kind == "member_invited")
            .order_by(Message.created_at.desc(), Message.id.desc())
        )
    found = re.search(r"/workspace/welcome/\S+", text or "")
    assert found
    return found.group()


def invite(admin: Any, email: str = "new@customer.example", name: str = "새 사람") -> str:
    fields = {"email": email, "name": name, "role": "member"}
    assert send(admin, "/workspace/members", fields).status_code == 303
    return last_link()


def suspend(workspace: Workspace, reason: str = "trial_ended") -> None:
    with control_session() as session:
        lifecycle.suspend(
            control_session=session,
            tenant_id=workspace.tenant_id,
            reason=reason,
            actor=JOB,
            now=clock.now(),
        )


class TestSignIn:
    def test_leads_to_the_drawings_and_is_logged(self, client: Any, workspace: Workspace) -> None:
        assert client.get("/workspace/").status_code == 302
        answer = enter(client, workspace)
        assert (answer.status_code, answer.location) == (303, "/workspace/drawings")
        assert workspace.admin_email in client.get("/workspace/drawings").text
        with control_session() as session:
            entry = session.scalars(select(AccessEntry)).one()
        assert (entry.event, entry.tenant_id) == ("signed_in", workspace.tenant_id)

    def test_shows_the_workspace_that_the_link_names(
        self, client: Any, workspace: Workspace
    ) -> None:
        page = client.get(f"{SIGN_IN}?workspace={workspace.slug}").text
        assert f'value="{workspace.slug}"' in page
        assert "<script>alert" not in client.get(f"{SIGN_IN}?workspace=<script>alert(1)").text

    @pytest.mark.parametrize(
        "wrong",
        [
            {"password": "not this one"},
            {"email": "nobody@customer.example"},
            {"workspace": "no-such-workspace"},
            {"workspace": "a\x00b"},
            {"email": "a\x00b"},
            {"workspace": "' OR 1=1 --"},
            {"workspace": "x" * 5000},
            {"email": "'; DROP TABLE member; --"},
        ],
    )
    def test_says_the_same_whatever_is_wrong(
        self, client: Any, workspace: Workspace, wrong: dict[str, str]
    ) -> None:
        answer = enter(client, workspace, **wrong)
        assert answer.status_code == 403
        assert "맞지 않아요" in answer.text
        assert client.get("/workspace/drawings").status_code == 302

    def test_is_refused_after_too_many_failures_even_with_the_right_password(
        self, client: Any, workspace: Workspace
    ) -> None:
        for _ in range(8):
            enter(client, workspace, password="not this one")
        assert enter(client, workspace).status_code == 403

    def test_with_one_e_mail_in_two_workspaces_opens_the_named_one_only(
        self, client: Any, workspace: Workspace, other: Workspace
    ) -> None:
        enter(client, other)
        with control_session() as session:
            assert session.scalars(select(WebSession.tenant_id)).all() == [other.tenant_id]

    @pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example/", "/\\evil"])
    def test_never_leads_to_another_site(
        self, client: Any, workspace: Workspace, place: str
    ) -> None:
        assert enter(client, workspace, next=place).location == "/workspace/drawings"

    def test_ends_with_sign_out(self, admin: Any) -> None:
        assert send(admin, "/workspace/drawings", {}, to="/workspace/sign-out").status_code == 303
        assert admin.get("/workspace/drawings").status_code == 302


class TestAnInvitation:
    def test_lets_a_colleague_choose_a_password_once(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        link = invite(admin)
        theirs = app.test_client()
        assert app.test_client().get(link).status_code == 200
        chosen = {"password": PASSWORD, "again": PASSWORD}
        assert send(theirs, link, chosen).status_code == 303
        assert theirs.get("/workspace/drawings").status_code == 200
        assert app.test_client().get(link).status_code == 409
        again = app.test_client()
        assert enter(again, workspace, email="new@customer.example").status_code == 303

    def test_is_refused_with_a_weak_or_mistyped_password_and_still_works(
        self, admin: Any, app: Any
    ) -> None:
        link = invite(admin)
        theirs = app.test_client()
        refused = [
            (each, each) for each in ("aaaaaaaaaaaa", "password2026", "new@customer.example")
        ]
        for password, again in (*refused, (PASSWORD, "other")):
            answer = send(theirs, link, {"password": password, "again": again})
            assert answer.status_code == 422
        assert send(theirs, link, {"password": PASSWORD, "again": PASSWORD}).status_code == 303

    def test_opens_no_other_workspace(
        self, admin: Any, app: Any, workspace: Workspace, other: Workspace
    ) -> None:
        link = invite(admin)
        moved = link.replace(workspace.slug, other.slug)
        assert moved != link
        assert app.test_client().get(moved).status_code == 422
        assert app.test_client().get(link.replace(workspace.slug, "nowhere")).status_code == 422

    def test_expires(self, admin: Any, app: Any, now: datetime) -> None:
        link = invite(admin)
        clock.set_now(now + timedelta(days=8))
        assert app.test_client().get(link).status_code == 422

    def test_that_is_sent_again_voids_the_first(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        first = invite(admin)
        row = re.search(r"/workspace/members/([0-9a-f-]{36})/invite-again", _members(admin))
        assert row
        send(admin, "/workspace/members", {}, to=row.group())
        assert app.test_client().get(first).status_code == 422
        assert app.test_client().get(last_link()).status_code == 200

    def test_that_is_sent_again_and_used_signs_everybody_else_out(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        thief, owner = app.test_client(), app.test_client()
        send(thief, invite(admin), {"password": PASSWORD, "again": PASSWORD})
        assert thief.get("/workspace/drawings").status_code == 200
        row = re.search(r"/workspace/members/[0-9a-f-]{36}/invite-again", _new_member(admin))
        assert row
        send(admin, "/workspace/members", {}, to=row.group())
        fresh = "another password for tests 2"
        assert send(owner, last_link(), {"password": fresh, "again": fresh}).status_code == 303
        assert thief.get("/workspace/drawings").status_code == 302
        assert owner.get("/workspace/drawings").status_code == 200
        assert admin.get("/workspace/drawings").status_code == 200


def _new_member(client: Any) -> str:
    """The list's part about the colleague that `invite` invited."""
    rows = [row for row in _members(client).split("<tr") if "new@customer.example" in row]
    return str(rows[0])


def _members(client: Any) -> str:
    return str(client.get("/workspace/members").text)


class TestASuspension:
    def test_shuts_the_workspace_at_once_and_sends_the_admin_to_the_portal(
        self, admin: Any, workspace: Workspace
    ) -> None:
        suspend(workspace)
        for path in ("/workspace/drawings", "/workspace/members", "/workspace/"):
            answer = admin.get(path)
            assert answer.status_code == 403
            assert "/portal/sign-in" in answer.text

    def test_is_told_only_to_those_who_know_the_password(
        self, client: Any, workspace: Workspace
    ) -> None:
        suspend(workspace, "unpaid")
        assert "/portal/sign-in" not in enter(client, workspace, password="wrong").text
        assert "/portal/sign-in" in enter(client, workspace).text
        assert client.get("/workspace/drawings").status_code == 302

    def test_refuses_an_invitation_without_using_it_up(
        self, admin: Any, app: Any, workspace: Workspace
    ) -> None:
        link = invite(admin)
        suspend(workspace, "unpaid")
        assert app.test_client().get(link).status_code == 403
        with control_session() as session:
            lifecycle.unblock(
                control_session=session,
                tenant_id=workspace.tenant_id,
                actor=JOB,
                now=clock.now(),
            )
        assert app.test_client().get(link).status_code == 200
        # The session was never ended, so whoever was in is in again.
        assert admin.get("/workspace/drawings").status_code == 200


class TestASession:
    def test_of_one_tenant_never_reaches_another(
        self, admin: Any, app: Any, workspace: Workspace, other: Workspace
    ) -> None:
        stranger = app.test_client()
        enter(stranger, other)
        fields = {"email": "theirs@customer.example", "name": "남의 사람", "role": "member"}
        send(stranger, "/workspace/members", fields)
        page = admin.get(f"/workspace/members?workspace={other.slug}&tenant_id={other.tenant_id}")
        assert "theirs@customer.example" not in page.text
        assert "theirs@customer.example" in stranger.get("/workspace/members").text

    def test_that_names_a_member_of_another_tenant_is_worth_nothing(
        self, admin: Any, workspace: Workspace, other: Workspace, valkey: Any
    ) -> None:
        with control_session() as session:
            session.scalars(select(WebSession)).one().tenant_id = other.tenant_id
        valkey.flushdb()
        assert admin.get("/workspace/drawings").status_code == 302

    def test_needs_its_token_in_every_form(self, admin: Any) -> None:
        for path in ("/workspace/members", "/workspace/drawings", "/workspace/sign-out"):
            assert admin.post(path, data={"csrf_token": "forged"}).status_code == 400

    def test_token_of_another_browser_is_refused(self, admin: Any, client: Any) -> None:
        forged = csrf_token(client, SIGN_IN)
        answer = admin.post("/workspace/members", data={"csrf_token": forged})
        assert answer.status_code == 400
