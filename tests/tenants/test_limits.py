from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import ProgrammingError

from app.base.audit import Actor
from app.base.db import control_session
from jobs.limits import STEP
from tenants import limits
from tenants.limits import SEATS, STORAGE_BYTES, UnknownLimit
from tenants.models import Tenant, TenantDatabase
from tests.workspaces import Workspace, make_workspace

BY = Actor.job("tests")


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now, limits={"seats": 2})


def say(workspace: Workspace, now: datetime, **values: int | None) -> None:
    with control_session() as session:
        limits.set_limits(
            control_session=session,
            tenant_id=workspace.tenant_id,
            limits=values,
            actor=BY,
            now=now,
        )


def held(workspace: Workspace) -> dict[str, int | None]:
    with workspace.session() as session:
        return {key: limits.read(tenant_session=session, key=key) for key in (SEATS, STORAGE_BYTES)}


def due(now: datetime) -> bool:
    with control_session() as session:
        return STEP.due(session, now)


class TestTheTenantsOwnRole:
    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE plan_limit SET value = NULL",
            "DELETE FROM plan_limit",
            "INSERT INTO plan_limit (key, value) VALUES ('films', 9)",
            "SELECT value FROM plan_limit FOR UPDATE",
        ],
    )
    def test_cannot_change_what_was_agreed(self, workspace: Workspace, statement: str) -> None:
        with (
            pytest.raises(ProgrammingError, match="permission denied"),
            workspace.session() as session,
        ):
            session.execute(text(statement))
        assert held(workspace)[SEATS] == 2

    def test_waits_for_whoever_changes_what_a_limit_limits(self, workspace: Workspace) -> None:
        with workspace.session() as one, workspace.session() as other:
            assert limits.lock(tenant_session=one, key=SEATS) == 2
            assert limits.lock(tenant_session=other, key=STORAGE_BYTES) is None
            free = other.scalar(
                text("SELECT pg_try_advisory_xact_lock(hashtextextended('plan limit seats', 0))")
            )
            assert free is False


class TestLimits:
    def test_arrive_in_the_tenant_s_database_and_are_written_once(
        self, workspace: Workspace, now: datetime
    ) -> None:
        assert not due(now)
        say(workspace, now, seats=9, storage_bytes=100)
        assert due(now)
        assert STEP.work() == 1
        assert STEP.work() == 0
        assert held(workspace) == {SEATS: 9, STORAGE_BYTES: 100}
        say(workspace, now, seats=9, storage_bytes=100)
        assert not due(now)

    def test_left_out_are_no_limits(self, workspace: Workspace, now: datetime) -> None:
        say(workspace, now, storage_bytes=5)
        STEP.work()
        assert held(workspace) == {SEATS: None, STORAGE_BYTES: 5}

    def test_that_changed_on_the_way_are_written_again(
        self, workspace: Workspace, now: datetime
    ) -> None:
        say(workspace, now, seats=3)
        with control_session() as session:
            order = limits.begin(control_session=session, tenant_id=workspace.tenant_id)
        say(workspace, now, seats=4)
        limits.write(order)
        with control_session() as session:
            limits.record(control_session=session, order=order)
        assert due(now)
        STEP.work()
        assert held(workspace)[SEATS] == 4

    @pytest.mark.parametrize("wrong", [{"seats": -1}, {"stars": 5}])
    def test_that_nobody_holds_are_refused(
        self, workspace: Workspace, now: datetime, wrong: dict[str, int]
    ) -> None:
        with pytest.raises(UnknownLimit):
            say(workspace, now, **wrong)

    def test_that_could_not_be_written_wait_with_their_error_until_said_anew(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            real = session.scalars(text("SELECT url FROM cluster")).one()
            session.execute(text("UPDATE cluster SET url = 'postgresql://127.0.0.1:1'"))
        say(workspace, now, seats=3)
        assert STEP.work() == 1
        with control_session() as session:
            row = session.scalars(select(TenantDatabase)).one()
            assert "Unavailable" in (row.last_error or "")
            session.execute(text("UPDATE cluster SET url = :url"), {"url": real})
        assert not due(now)
        say(workspace, now, seats=4)
        assert STEP.work() == 1
        with control_session() as session:
            tenant = session.scalars(select(Tenant)).one()
            assert tenant.limits_version == tenant.limits_version_written == 3
        assert held(workspace)[SEATS] == 4
