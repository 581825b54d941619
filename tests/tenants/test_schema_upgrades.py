"""`flask tenants migrate`: every live tenant's database gets to the newest revision."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select, update

from app.base.db import control_session as transaction
from app.base.installation import TENANT_SCHEMA_ROLE
from app.cli import doctor
from app.cli import tenants as command
from tenants import schema_upgrades, template
from tenants.databases import Placement, provisioner_connection
from tenants.models import SchemaUpgrade, Tenant, TenantDatabase
from tests.conftest import Scenario
from tests.patience import eventually
from tests.tenants.approved import approve, provision

pytestmark = pytest.mark.usefixtures("scenario")

OLD, NEW = "0001", template.head_revision()
_RUN = "from app.cli.tenants import tenants_commands; tenants_commands(['migrate'])"


@contextmanager
def inside(place: Placement) -> Iterator[Any]:
    with provisioner_connection(place.cluster_url, database=place.database) as connection:
        connection.execute(f"SET ROLE {TENANT_SCHEMA_ROLE}".encode())
        yield connection


def revision(place: Placement) -> str:
    with inside(place) as connection:
        return str(connection.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def noted(place: Placement) -> str | None:
    with transaction() as session:
        return session.get_one(TenantDatabase, place.tenant_id).schema_revision


@pytest.fixture
def old(now: datetime) -> Callable[[], Placement]:
    """Makes a tenant whose database is as the first revision left it."""

    def make() -> Placement:
        place = provision(approve(now=now), now=now)
        with inside(place) as connection:
            connection.execute("DROP TABLE member_activity")
            connection.execute("UPDATE alembic_version SET version_num = %s", (OLD,))
        with transaction() as session:
            session.execute(
                update(TenantDatabase)
                .where(TenantDatabase.tenant_id == place.tenant_id)
                .values(schema_revision=OLD)
            )
        return place

    return make


def slug(place: Placement) -> str:
    with transaction() as session:
        return session.get_one(Tenant, place.tenant_id).slug


def migrate(*arguments: str) -> Result:
    return CliRunner().invoke(command.tenants_commands, ["migrate", *arguments])


def complaints() -> list[str]:
    return [finding.what for finding in doctor._tenant_databases()]


class TestARun:
    def test_brings_what_is_behind_to_the_newest_revision_once(
        self, old: Callable[[], Placement]
    ) -> None:
        places = [old(), old()]
        assert complaints() == sorted(f"{slug(p)} is at {OLD}, newest is {NEW}" for p in places)
        told = migrate()
        assert told.exit_code == 0, told.output
        assert {f"{slug(place)}: {OLD} -> {NEW}" for place in places} < set(
            told.output.splitlines()
        )
        assert [(revision(place), noted(place)) for place in places] == [(NEW, NEW)] * 2
        assert complaints() == []
        assert migrate().output == f"0 brought to {NEW}, 0 left behind\n"

    def test_that_only_looks_changes_nothing(self, old: Callable[[], Placement]) -> None:
        place = old()
        assert migrate("--dry-run").output == f"{slug(place)}: {OLD}\n1 behind {NEW}\n"
        assert (revision(place), noted(place)) == (OLD, OLD)

    def test_leaves_tenants_alone_that_are_on_their_way_out(
        self, old: Callable[[], Placement]
    ) -> None:
        place = old()
        with transaction() as session:
            session.execute(
                update(Tenant).where(Tenant.id == place.tenant_id).values(state="destroying")
            )
        assert migrate().exit_code == 0
        assert revision(place) == OLD

    def test_notes_what_was_migrated_just_before_a_crash(
        self, old: Callable[[], Placement]
    ) -> None:
        place = old()
        template.migrate(place.cluster_url, place.database)
        assert noted(place) == OLD
        assert migrate().exit_code == 0
        assert noted(place) == NEW


class TestAFailure:
    def test_keeps_its_revision_and_reason_while_the_others_go_on_and_heals(
        self, old: Callable[[], Placement]
    ) -> None:
        broken, well = old(), old()
        with inside(broken) as connection:
            connection.execute("CREATE TABLE member_activity ()")
        told = migrate()
        assert told.exit_code == 1
        assert f"{slug(broken)}: stays at {OLD}. DuplicateTable" in told.output
        assert f"1 brought to {NEW}, 1 left behind" in told.output
        assert (revision(broken), revision(well)) == (OLD, NEW)
        (named,) = complaints()
        assert "already exists" in named
        with inside(broken) as connection:
            connection.execute("DROP TABLE member_activity")
        assert migrate().exit_code == 0
        assert revision(broken) == NEW
        with transaction() as session:
            assert session.scalars(select(SchemaUpgrade)).all() == []

    def test_waits_a_little_for_a_lock_and_then_lets_go(
        self, old: Callable[[], Placement], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(template, "LOCK_TIMEOUT_MS", 50)
        place = old()
        with inside(place) as connection, connection.transaction():
            connection.execute("LOCK TABLE member IN ACCESS EXCLUSIVE MODE")
            told = migrate()
            assert told.exit_code == 1
            assert told.output.count("LockNotAvailable") == command.LOCKED_TRIES_MAX
        assert migrate().exit_code == 0
        assert revision(place) == NEW

    def test_that_comes_after_a_lock_is_not_tried_over_and_over(
        self, scenario: Scenario, old: Callable[[], Placement]
    ) -> None:
        place = old()
        with inside(place) as connection, connection.transaction():
            connection.execute("LOCK TABLE member IN ACCESS EXCLUSIVE MODE")
            run = scenario.run_python(_RUN)
            eventually(lambda: any("LockNot" in each for each in complaints()), "a lock is met")
            connection.execute("CREATE TABLE member_activity ()")
        told = run.communicate(timeout=120)[0]
        assert run.returncode == 1
        assert told.count("DuplicateTable") <= 1, told
        assert told.count("stays at") <= command.LOCKED_TRIES_MAX, told

    def test_of_everybody_stops_the_run(
        self, old: Callable[[], Placement], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "FAILURES_IN_A_ROW_MAX", 2)
        places = [old(), old(), old()]
        for place in places:
            with inside(place) as connection:
                connection.execute("CREATE TABLE member_activity ()")
        told = migrate()
        assert told.output.count("stays at") == 2
        assert "2 failed in a row: stopped" in told.output


class TestWhatSomebodyElseHolds:
    def test_is_skipped_and_stops_nobody(
        self, old: Callable[[], Placement], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(template, "LOCK_TIMEOUT_MS", 50)
        monkeypatch.setattr(command, "FAILURES_IN_A_ROW_MAX", 1)
        held, free = old(), old()
        with inside(held) as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(hashtext('tenant schema'))")
            told = migrate()
        assert told.exit_code == command.LEFT_BEHIND
        assert f"{slug(held)}: skipped, somebody else holds it" in told.output.splitlines()
        assert "in a row" not in told.output
        assert (revision(held), revision(free)) == (OLD, NEW)


class TestWhatIsNewerThanTheCode:
    def test_is_named_and_left_alone(self, old: Callable[[], Placement]) -> None:
        place, behind = old(), old()
        with transaction() as session:
            session.execute(
                update(TenantDatabase)
                .where(TenantDatabase.tenant_id == place.tenant_id)
                .values(schema_revision="9999")
            )
        told = migrate()
        assert told.output.splitlines() == [
            f"{slug(behind)}: {OLD} -> {NEW}",
            f"{slug(place)}: 9999 is newer than this code, left alone",
            f"1 brought to {NEW}, 0 left behind",
        ]
        assert told.exit_code == command.NEWER
        assert migrate("--dry-run").output.splitlines() == [
            f"{slug(place)}: 9999 is newer than this code, left alone",
            f"0 behind {NEW}",
        ]
        assert (revision(place), noted(place)) == (OLD, "9999")


class TestSeveralRuns:
    def test_share_the_work(self, scenario: Scenario, old: Callable[[], Placement]) -> None:
        places = [old() for _ in range(4)]
        runs = [scenario.run_python(_RUN) for _ in range(2)]
        told = [run.communicate(timeout=120)[0] for run in runs]
        assert [run.returncode for run in runs] == [0, 0]
        moved = [line for each in told for line in each.splitlines() if "->" in line]
        assert sorted(moved) == sorted(f"{slug(place)}: {OLD} -> {NEW}" for place in places)
        assert {revision(place) for place in places} == {NEW}

    def test_make_good_what_a_killed_one_left(
        self, scenario: Scenario, old: Callable[[], Placement]
    ) -> None:
        place = old()
        with inside(place) as connection, connection.transaction():
            connection.execute("LOCK TABLE member IN ACCESS EXCLUSIVE MODE")
            run = scenario.run_python(_RUN, TENANTRY_LEASE_SECONDS="1")
            eventually(lambda: self._waits(place), "the migration waits for the table")
            run.send_signal(signal.SIGKILL)
            run.communicate(timeout=60)
        assert revision(place) == OLD
        assert migrate().exit_code == 0
        assert (revision(place), noted(place)) == (NEW, NEW)

    def _waits(self, place: Placement) -> bool:
        with inside(place) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
                " WHERE datname = %s AND NOT granted",
                (place.database,),
            ).fetchone()
        return bool(found[0])


def test_a_database_is_leased_to_one_run_at_a_time(old: Callable[[], Placement]) -> None:
    place = old()
    with transaction() as session:
        schema_upgrades.enlist(control_session=session)
        claimed = schema_upgrades.begin(control_session=session, tried=())
    assert claimed is not None
    assert claimed.tenant_id == place.tenant_id
    with transaction() as session:
        schema_upgrades.enlist(control_session=session)
        assert schema_upgrades.begin(control_session=session, tried=()) is None
        assert schema_upgrades.others_at_work(control_session=session, tried=()) == 1
