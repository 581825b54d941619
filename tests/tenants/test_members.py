from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.base import secrets
from app.base.accounts import WrongCredentials
from app.base.audit import Actor
from app.base.errors import Invalid
from tenants import members
from tenants.schema import Member, SeatEvent
from tests.factories import PASSWORD
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
NAUGHTY = ["Robert'); DROP TABLE member;--", "<script>alert(1)</script>", "👩‍🔧 정비", "ﷺ" * 20]


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now, limits={"seats": 2, "storage_bytes": 1_000_000})


def invite(session: Any, email: str, now: datetime, **fields: Any) -> Member:
    values: dict[str, Any] = {"name": "이름", "role": "member", "actor": BY, "now": now}
    return members.invite(tenant_session=session, email=email, **(values | fields))


class TestASeat:
    def test_is_taken_by_an_invitation_and_each_change_is_an_event(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            invited = invite(session, "new@customer.example", now)
        for change, at in (
            (members.deactivate, 1),
            (members.deactivate, 2),
            (members.reactivate, 3),
        ):
            with workspace.session() as session:
                change(
                    tenant_session=session,
                    member_id=invited.id,
                    actor=BY,
                    now=now + timedelta(hours=at),
                )
        with workspace.session() as session:
            events = session.execute(
                select(SeatEvent.delta, SeatEvent.seats_after, SeatEvent.at).order_by(SeatEvent.id)
            ).all()
        assert [(event.delta, event.seats_after) for event in events] == [
            (1, 1),
            (1, 2),
            (-1, 1),
            (1, 2),
        ]
        assert events[2].at == now + timedelta(hours=1)

    def test_that_the_plan_does_not_have_is_refused_with_the_limit_named(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            second = invite(session, "second@customer.example", now)
        with workspace.session() as session, pytest.raises(members.SeatsTaken, match="2 seats"):
            invite(session, "third@customer.example", now)
        with workspace.session() as session:
            members.deactivate(tenant_session=session, member_id=second.id, actor=BY, now=now)
            invite(session, "third@customer.example", now)
        with workspace.session() as session, pytest.raises(members.SeatsTaken):
            members.reactivate(tenant_session=session, member_id=second.id, actor=BY, now=now)
        with workspace.session() as session:
            assert session.scalars(select(SeatEvent.seats_after).order_by(SeatEvent.id)).all() == [
                1,
                2,
                1,
                2,
            ]

    def test_event_never_runs_backwards_when_the_clock_does(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            invite(session, "new@customer.example", now - timedelta(days=3))
        with workspace.session() as session:
            times = session.scalars(select(SeatEvent.at).order_by(SeatEvent.id)).all()
        assert times == sorted(times)


class TestAMember:
    def test_is_invited_once_whatever_the_letters_case(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            invite(session, "new@customer.example", now)
        with workspace.session() as session, pytest.raises(members.MemberExists) as refused:
            invite(session, "NEW@customer.example", now)
        assert refused.value.field == "email"

    @pytest.mark.parametrize(
        ("fields", "at_fault"),
        [
            ({"email": "no"}, "email"),
            ({"email": "a\x00b@customer.example"}, "email"),
            ({"name": "  \t\u202e "}, "name"),
            ({"name": "x" * 61}, "name"),
            ({"name": "Sign in: https://evil.example"}, "name"),
            ({"role": "owner"}, "role"),
        ],
    )
    def test_with_a_wrong_field_is_refused_and_the_field_is_named(
        self, workspace: Workspace, now: datetime, fields: dict[str, str], at_fault: str
    ) -> None:
        values = {"email": "new@customer.example"} | fields
        with workspace.session() as session:
            with pytest.raises(Invalid) as refused:
                invite(session, now=now, **values)
            assert refused.value.field == at_fault

    @pytest.mark.parametrize("name", NAUGHTY)
    def test_may_have_any_name(self, workspace: Workspace, now: datetime, name: str) -> None:
        with workspace.session() as session:
            made = invite(session, "new@customer.example", now, name=name)
        with workspace.session() as session:
            assert members.find(tenant_session=session, member_id=made.id).name == made.name

    def test_who_is_the_last_admin_stays(self, workspace: Workspace, now: datetime) -> None:
        with workspace.session() as session, pytest.raises(members.LastAdmin):
            members.deactivate(
                tenant_session=session, member_id=workspace.admin_id, actor=BY, now=now
            )

    def test_signs_in_with_their_own_password_until_deactivated(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            made = invite(session, "new@customer.example", now)
            members.activate(
                tenant_session=session,
                member_id=made.id,
                password_hash=secrets.hash_password(PASSWORD),
                now=now,
            )
        with workspace.session() as session:
            found = members.authenticate(
                tenant_session=session, email=" New@Customer.example ", password=PASSWORD
            )
            assert found.id == made.id
            for email, password in (
                ("new@customer.example", "not this"),
                ("nobody@customer.example", PASSWORD),
                ("x\x00@y", PASSWORD),
            ):
                with pytest.raises(WrongCredentials):
                    members.authenticate(tenant_session=session, email=email, password=password)
            members.deactivate(tenant_session=session, member_id=made.id, actor=BY, now=now)
            with pytest.raises(WrongCredentials):
                members.authenticate(
                    tenant_session=session, email="new@customer.example", password=PASSWORD
                )
            with pytest.raises(members.MemberInactive):
                members.activate(
                    tenant_session=session, member_id=made.id, password_hash="x", now=now
                )


def test_naughty_strings_never_break_a_name() -> None:
    source = Path(__file__).parents[1] / "data" / "naughty_strings.json"
    strings = json.loads(source.read_text())
    for text in strings:
        try:
            name = members.clean_name(text)
        except Invalid:
            continue
        assert name.isprintable() or " " in name
        assert "\x00" not in name
        name.encode()
