"""Tenant sessions: bound for life, refused where they must be, and honest about faults."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from alembic import command
from sqlalchemy import create_engine, select, text, update
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.pool import NullPool

from app.base import ids
from app.base.db import control_session as transaction
from tenants import databases, template
from tenants.databases import (
    NoDatabase,
    NoSuchTenant,
    Placement,
    TenantDatabaseUnavailable,
    TenantSession,
    TenantSwitched,
    WorkspaceClosed,
    open_workspace,
    placement,
    tenant_session,
)
from tenants.models import Tenant
from tenants.schema import Member, SeatEvent
from tests.factories import NOW
from tests.tenants.approved import approve, provision

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def place(scenario: Any, now: datetime) -> Placement:
    """A tenant's database."""
    return provision(approve(now=now), now=now)


@pytest.fixture
def neighbour(scenario: Any, now: datetime) -> Placement:
    """Another tenant's database on the same cluster."""
    return provision(approve(now=now, name="이웃"), now=now)


def somebody(name: str) -> Member:
    return Member(email=f"{name}@example.test", name=name, role="member", invited_at=NOW)


def put(tenant_id: UUID, **values: Any) -> None:
    """Writes a tenant's state as lifecycle would, without its conditions."""
    with transaction() as session:
        session.execute(update(Tenant).where(Tenant.id == tenant_id).values(**values))


class TestATenantSession:
    def test_commits_when_its_block_ends_and_rolls_back_when_it_raises(
        self, place: Placement
    ) -> None:
        with tenant_session(place) as session:
            session.add(somebody("kept"))
        with pytest.raises(ZeroDivisionError):
            self.write_and_fail(place)
        with tenant_session(place) as session:
            names = set(session.scalars(select(Member.name)))
        assert "kept" in names
        assert "lost" not in names

    def write_and_fail(self, place: Placement) -> None:
        with tenant_session(place) as session:
            session.add(somebody("lost"))
            session.flush()
            raise ZeroDivisionError

    def test_refuses_another_connection(self, place: Placement, neighbour: Placement) -> None:
        with tenant_session(neighbour) as theirs, tenant_session(place) as session:
            for bound_elsewhere in (theirs.connection(), theirs.connection().engine):
                with pytest.raises(TenantSwitched):
                    session.execute(text("SELECT 1"), bind_arguments={"bind": bound_elsewhere})
            with pytest.raises(TenantSwitched):
                session.get(Member, ids.uuid7(), bind_arguments={"bind": theirs.connection()})

    def test_refuses_to_be_turned_to_another_tenant(
        self, place: Placement, neighbour: Placement
    ) -> None:
        with tenant_session(neighbour) as theirs, tenant_session(place) as session:
            session.bind = theirs.connection()
            with pytest.raises(TenantSwitched):
                session.execute(select(Member.id))

    def test_notices_that_the_server_led_it_to_another_database(
        self, place: Placement, neighbour: Placement
    ) -> None:
        with tenant_session(neighbour) as theirs:
            connection = theirs.connection()
            with TenantSession(connection, place) as session, pytest.raises(TenantSwitched):
                session.execute(select(Member.id))

    def test_cannot_enter_a_neighbour_with_its_own_key(
        self, place: Placement, neighbour: Placement
    ) -> None:
        lost = replace(place, database=neighbour.database)
        with pytest.raises(TenantDatabaseUnavailable), tenant_session(lost):
            raise AssertionError("the door was open")

    def test_reads_its_own_rows_alone(self, place: Placement, neighbour: Placement) -> None:
        with tenant_session(place) as session:
            session.add(somebody("mine"))
        with tenant_session(neighbour) as session:
            assert "mine" not in session.scalars(select(Member.name)).all()

    def test_speaks_utc_as_the_tenant_with_a_time_out(self, place: Placement) -> None:
        with tenant_session(place) as session:
            row = session.execute(
                text(
                    "SELECT current_user, current_setting('timezone'),"
                    " current_setting('statement_timeout'), current_setting('application_name')"
                )
            ).one()
        assert tuple(row) == (place.role, "UTC", "15s", "tenantry workspace")

    def test_ends_a_statement_that_takes_too_long(self, place: Placement) -> None:
        slow = text("SET LOCAL statement_timeout = 20; SELECT pg_sleep(30)")
        with pytest.raises(TenantDatabaseUnavailable), tenant_session(place) as session:
            session.execute(slow)

    def test_is_unavailable_while_its_cluster_is_down(self, place: Placement) -> None:
        down = replace(place, cluster_url="postgresql://127.0.0.1:1")
        with pytest.raises(TenantDatabaseUnavailable), tenant_session(down):
            raise AssertionError("nothing listens there")

    def test_is_unavailable_when_its_connection_is_cut(self, place: Placement) -> None:
        with pytest.raises(TenantDatabaseUnavailable), tenant_session(place) as session:
            session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    def test_waits_its_turn_and_says_so_when_there_are_too_many(
        self, place: Placement, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(databases, "SESSIONS_PER_PROCESS_MAX", 1)
        monkeypatch.setattr(databases, "TURN_TIMEOUT_SECONDS", 0.01)
        databases._turns.cache_clear()
        with tenant_session(place), pytest.raises(TenantDatabaseUnavailable), tenant_session(place):
            raise AssertionError("there was one turn only")
        with tenant_session(place) as session:
            assert session.scalar(text("SELECT 1")) == 1
        databases._turns.cache_clear()


class TestAPlacement:
    def test_shows_no_password(self, place: Placement) -> None:
        assert place.password_sealed not in repr(place)

    def test_is_refused_for_a_tenant_that_nobody_knows(self) -> None:
        with transaction() as session, pytest.raises(NoSuchTenant):
            placement(session, uuid4())

    def test_is_refused_before_the_database_is_made(self, now: datetime) -> None:
        tenant_id = approve(now=now)
        with transaction() as session:
            with pytest.raises(NoDatabase):
                placement(session, tenant_id)
            with pytest.raises(WorkspaceClosed):
                open_workspace(session, tenant_id)

    def test_of_a_suspended_tenant_serves_jobs_but_opens_no_workspace(
        self, place: Placement, now: datetime
    ) -> None:
        with transaction() as session:
            assert open_workspace(session, place.tenant_id) == place
        put(place.tenant_id, state="suspended", suspended_at=now)
        with transaction() as session:
            with pytest.raises(WorkspaceClosed):
                open_workspace(session, place.tenant_id)
            assert placement(session, place.tenant_id) == place

    def test_is_refused_once_destruction_has_begun(self, place: Placement) -> None:
        put(place.tenant_id, state="destroying")
        with transaction() as session:
            with pytest.raises(NoDatabase):
                placement(session, place.tenant_id)
            assert placement(session, place.tenant_id, states=("destroying",)) == place


class TestTheTablesOfATenant:
    @pytest.fixture
    def session(self, place: Placement) -> Iterator[TenantSession]:
        """One transaction in the tenant's database."""
        with tenant_session(place) as session:
            yield session

    def member(self, session: TenantSession, email: str, now: datetime) -> Member:
        member = Member(email=email, name="설계자", role="member", invited_at=now)
        session.add(member)
        session.flush()
        return member

    def test_keep_what_metering_replays(self, session: TenantSession) -> None:
        for statement in (
            "UPDATE seat_event SET seats_after = 0",
            "DELETE FROM seat_event",
            "UPDATE storage_event SET bytes_after = 0",
            "DELETE FROM storage_event",
            "TRUNCATE seat_event",
            "DELETE FROM member",
            "CREATE TABLE mine ()",
            "UPDATE alembic_version SET version_num = 'x'",
        ):
            with pytest.raises(ProgrammingError, match="permission denied"), session.begin_nested():
                session.execute(text(statement))

    def test_have_no_two_members_with_one_address(
        self, session: TenantSession, now: datetime
    ) -> None:
        self.member(session, "Lee@customer.example", now)
        with pytest.raises(IntegrityError, match="uq_member_email"), session.begin_nested():
            self.member(session, "lee@CUSTOMER.example", now)

    def test_never_count_below_zero(self, session: TenantSession, now: datetime) -> None:
        member = self.member(session, "lee@customer.example", now)
        session.add(SeatEvent(at=now, member_id=member.id, delta=-1, seats_after=-1, actor="test"))
        with pytest.raises(IntegrityError, match="seats_after"):
            session.flush()
        session.rollback()

    def test_are_what_the_migrations_make(self, place: Placement) -> None:
        url = databases.provisioner_url(place.cluster_url, database=place.database)
        engine = create_engine(url.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        config = template.alembic_config()
        with engine.connect() as connection:
            config.attributes.update(connection=connection, lock_timeout_ms=2_000)
            command.check(config)


class TestThePrivilegesOfARole:
    def test_follow_one_role_alone(self, place: Placement) -> None:
        with databases.provisioner_connection(place.cluster_url) as connection:
            rows = connection.execute(
                "SELECT b.rolname FROM pg_auth_members m JOIN pg_roles b ON b.oid = m.roleid"
                " JOIN pg_roles r ON r.oid = m.member WHERE r.rolname = %s",
                (place.role,),
            ).fetchall()
        assert rows == [("tenantry_tenant_rows",)]
