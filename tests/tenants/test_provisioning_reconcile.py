"""The reconciler and the doctor: each thing planted wrong is named, and nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import delete, select, update

from app.base.db import control_session as transaction
from tenants import clusters, databases, reconcile, template
from tenants.models import Cluster, ProvisioningRun, TenantDatabase
from tests.conftest import administrator
from tests.patience import eventually
from tests.tenants.approved import approve, provision, run_of

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def admin(scenario: Any) -> Iterator[psycopg.Connection[Any]]:
    """The superuser, who can plant anything."""
    with administrator() as connection:
        yield connection


def findings() -> list[tuple[str, str]]:
    with transaction() as session:
        return [(item.kind, item.name) for item in reconcile.findings(control_session=session)]


def run(connection: psycopg.Connection[Any], statement: str, *names: str) -> None:
    connection.execute(sql.SQL(statement).format(*(sql.Identifier(name) for name in names)))


class TestTheReconciler:
    def test_names_what_no_tenant_owns(self, now: datetime, admin: psycopg.Connection[Any]) -> None:
        tenant_id = approve(now=now)
        place = provision(tenant_id, now=now)
        assert findings() == []
        with transaction() as session:
            session.execute(delete(TenantDatabase))
            session.execute(delete(ProvisioningRun))
            session.execute(update(Cluster).values(reserved=0))
        assert findings() == [("orphan_database", place.database), ("orphan_role", place.role)]
        # Even without its mark the database is known by the role beside it.
        run(admin, "COMMENT ON DATABASE {} IS NULL", place.database)
        assert findings() == [("orphan_database", place.database), ("orphan_role", place.role)]
        clusters.drop_any_database(admin, place.database)
        run(admin, "DROP ROLE {}", place.role)

    def test_names_what_a_tenant_lacks(self, now: datetime, admin: psycopg.Connection[Any]) -> None:
        tenant_id = approve(now=now)
        place = provision(tenant_id, now=now)
        run(admin, "ALTER DATABASE {} ALLOW_CONNECTIONS false", place.database)
        assert findings() == [("closed", place.database)]
        run(admin, "COMMENT ON DATABASE {} IS 'somebody else''s'", place.database)
        assert findings() == [("not_ours", place.database)]
        clusters.drop_any_database(admin, place.database)
        assert findings() == [("missing_database", place.database)]
        run(admin, "DROP ROLE {}", place.role)
        assert findings() == [
            ("missing_database", place.database),
            ("missing_role", place.role),
        ]

    def test_knows_a_quarantined_database_and_counts_places(
        self, now: datetime, admin: psycopg.Connection[Any]
    ) -> None:
        tenant_id = approve(now=now)
        place = provision(tenant_id, now=now)
        clusters.close(admin, database=place.database, run=run_of(tenant_id).run)
        name = clusters.quarantine(admin, database=place.database, run=run_of(tenant_id).run)
        assert name not in [found for _, found in findings()]
        with transaction() as session:
            session.execute(update(Cluster).values(reserved=9))
        assert ("miscounted", "home") in findings()

    def test_judges_nothing_of_another_installation(
        self, now: datetime, admin: psycopg.Connection[Any]
    ) -> None:
        name = "t_elsewhere"
        run(admin, "CREATE DATABASE {}", name)
        try:
            assert findings() == []
            run(admin, "COMMENT ON DATABASE {} IS 'tenantry another_control xyz'", name)
            assert findings() == []
        finally:
            clusters.drop_any_database(admin, name)

    def test_names_a_folder_on_disk_that_no_database_owns(
        self, admin: psycopg.Connection[Any]
    ) -> None:
        row = admin.execute("SHOW data_directory").fetchone()
        assert row is not None
        folder = Path(row[0], "base", "4000000001")
        folder.mkdir()
        # Another test's CREATE DATABASE makes a look refrain.
        eventually(lambda: ("disk_leftover", "base/4000000001") in findings(), "the finding")
        folder.rmdir()

    def test_takes_no_database_in_the_making_for_a_leftover(
        self, admin: psycopg.Connection[Any]
    ) -> None:
        names = [f"reconciled_{number}" for number in range(8)]

        def make() -> None:
            with administrator() as connection:
                for name in names:
                    run(connection, "CREATE DATABASE {} TEMPLATE template0", name)

        made = threading.Thread(target=make)
        made.start()
        found = set()
        while made.is_alive():
            found |= {kind for kind, _ in findings()}
        made.join()
        for name in names:
            clusters.drop_any_database(admin, name)
        assert "disk_leftover" not in found


class TestTheDoctor:
    def examine(self) -> list[tuple[str, str]]:
        with transaction() as session:
            url = session.scalars(select(Cluster.url)).one()
        with databases.provisioner_connection(url) as connection:
            return [(item.kind, item.name) for item in reconcile.doctor(connection)]

    def test_finds_nothing_after_a_set_up(self) -> None:
        assert self.examine() == []

    def test_names_a_control_database_that_anybody_may_enter(
        self, admin: psycopg.Connection[Any]
    ) -> None:
        # In a transaction that never commits: the database belongs to every test of this run.
        with admin.transaction(force_rollback=True):
            run(admin, "GRANT CONNECT ON DATABASE {} TO PUBLIC", clusters.control_name())
            found = [(item.kind, item.name) for item in reconcile.doctor(admin)]
        assert ("open_to_public", clusters.control_name()) in found
        assert ("enters_control", "tenantry_provisioner") in found

    def test_names_a_role_of_ours_with_too_many_rights(
        self, admin: psycopg.Connection[Any]
    ) -> None:
        # Rolled back as well: so do the roles.
        with admin.transaction(force_rollback=True):
            admin.execute("ALTER ROLE tenantry_app CREATEROLE")
            admin.execute("ALTER ROLE tenantry_provisioner SUPERUSER")
            found = {(item.kind, item.name) for item in reconcile.doctor(admin)}
        assert found >= {("role_rights", "tenantry_app"), ("role_rights", "tenantry_provisioner")}


class TestTheTemplate:
    def build(self) -> str:
        with transaction() as session:
            return template.build_template(control_session=session)

    def test_is_kept_while_the_migrations_stay(self) -> None:
        assert self.build() == self.build()

    def test_is_entered_by_nobody(self) -> None:
        name = self.build()
        with pytest.raises(psycopg.OperationalError, match="not currently accepting connections"):
            administrator(name)

    def test_is_built_anew_when_the_migrations_change_and_the_old_one_dropped(
        self, now: datetime, admin: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shared = self.build()
        monkeypatch.setattr(template, "digest", lambda: "edited once")
        first = self.build()
        monkeypatch.setattr(template, "digest", lambda: "edited twice")
        second = self.build()
        assert len({shared, first, second}) == 3
        assert clusters.find_database(admin, first) is None
        # Another installation's template stays: its mark is not ours.
        assert clusters.find_database(admin, shared) is not None
        provision(approve(now=now), now=now)
        assert findings() == []

    def test_that_was_left_half_built_is_named_and_dropped_by_the_next_build(
        self, admin: psycopg.Connection[Any]
    ) -> None:
        run(admin, "CREATE DATABASE {} OWNER tenantry_tenant_schema", "tpl_0000_cutshort")
        mark = sql.Literal(clusters.mark("template building"))
        admin.execute(sql.SQL("COMMENT ON DATABASE tpl_0000_cutshort IS {}").format(mark))
        assert ("unused_template", "tpl_0000_cutshort") in findings()
        self.build()
        assert findings() == []

    def test_of_an_older_revision_is_migrated_after_the_copy(self, now: datetime) -> None:
        with transaction() as session:
            cluster = session.scalars(select(Cluster)).one()
            current = cluster.template_name
            cluster.template_name = "tpl_empty_for_tests"
        with administrator() as connection:
            run(
                connection, "CREATE DATABASE {} OWNER tenantry_tenant_schema", "tpl_empty_for_tests"
            )
        try:
            with administrator("tpl_empty_for_tests") as connection:
                connection.execute("CREATE TABLE alembic_version (version_num text)")
                connection.execute("ALTER TABLE alembic_version OWNER TO tenantry_tenant_schema")
                connection.execute("GRANT SELECT ON alembic_version TO tenantry_tenant_rows")
            place = provision(approve(now=now), now=now)
        finally:
            with administrator() as connection:
                clusters.drop_any_database(connection, "tpl_empty_for_tests")
        assert current != "tpl_empty_for_tests"
        with databases.provisioner_connection(
            place.cluster_url, database=place.database
        ) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        assert found == [(template.head_revision(),)]
