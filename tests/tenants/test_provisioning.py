"""Provisioning step by step: what it leaves, what it refuses, what it can take back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import func, select, update

from app.base import accounts
from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session as transaction
from app.base.errors import Unavailable
from app.base.messages import Message
from jobs import provisioning as job
from tenants import clusters, databases, provisioning, reconcile, template, verification
from tenants.clusters import NotOurs
from tenants.databases import Placement
from tenants.models import Cluster, ProvisioningRun, Tenant, TenantAdmin, TenantDatabase
from tenants.provisioning import NOTED, STEPS, NoRoom, NoSuchRun, RunFinished
from tenants.schema import Member, PlanLimit, SeatEvent
from tenants.verification import VerificationFailed
from tests.conftest import administrator
from tests.tenants.approved import approve, provision, run_of

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture
def cluster_url(scenario: Any) -> str:
    """The address of the only cluster."""
    with transaction() as session:
        return session.scalars(select(Cluster.url)).one()


@pytest.fixture
def provisioner(cluster_url: str) -> Iterator[clusters.Connection]:
    """The provisioner's connection to it."""
    with databases.provisioner_connection(cluster_url) as connection:
        yield connection


def reserved() -> int:
    with transaction() as session:
        return session.scalars(select(Cluster.reserved)).one()


def findings() -> list[tuple[str, str]]:
    with transaction() as session:
        return [(item.kind, item.name) for item in reconcile.findings(control_session=session)]


def verify(place: Placement) -> None:
    with databases.sign_in(
        place.cluster_url,
        database=place.database,
        role=place.role,
        password_sealed=place.password_sealed,
    ) as connection:
        verification.verify(connection, place)
    verification.check_doors_shut(place, neighbour=None)


def stop_after(step: str) -> Callable[[str, str], None]:
    """An `after_step` that cuts the run short once a step is done and, where one is due, noted."""
    boundary = (step, "recorded" if step in NOTED else "performed")

    def stop(done: str, what: str) -> None:
        if (done, what) == boundary:
            raise KeyboardInterrupt

    return stop


def advance_until(tenant_id: UUID, step: str, now: datetime) -> None:
    with pytest.raises(KeyboardInterrupt):
        provision(tenant_id, now=now, after_step=stop_after(step))


class TestARunThatIsLeftAlone:
    def test_ends_in_a_trial_with_every_step_written_down(self, now: datetime) -> None:
        tenant_id = approve(now=now, trial_days=21)
        provision(tenant_id, now=now)
        run = run_of(tenant_id)
        assert [entry["step"] for entry in run.steps_done] == list(STEPS)
        assert run.finished_at == now
        with transaction() as session:
            tenant = session.get_one(Tenant, tenant_id)
            assert tenant.state == "trialing"
            assert tenant.trial_starts_at == now
            assert tenant.trial_ends_at == now + timedelta(days=21)
            assert tenant.limits_version_written == tenant.limits_version
            row = session.get_one(TenantDatabase, tenant_id)
            assert row.schema_revision == template.head_revision()
            moves = session.scalars(
                select(AuditEvent.to_state).where(AuditEvent.tenant_id == tenant_id)
            ).all()
            assert "trialing" in moves
        assert reserved() == 1
        assert findings() == []

    def test_seats_the_administrator_and_writes_the_limits(self, now: datetime) -> None:
        tenant_id = approve(now=now, limits={"seats": 3, "storage_bytes": 10**12, "films": None})
        place = provision(tenant_id, now=now)
        with databases.tenant_session(place) as session:
            member = session.scalars(select(Member)).one()
            assert (member.email, member.role) == ("admin@customer.example", "admin")
            assert (member.invited_at, member.activated_at) == (now, None)
            event = session.scalars(select(SeatEvent)).one()
            assert (event.at, event.member_id, event.delta, event.seats_after) == (
                now,
                member.id,
                1,
                1,
            )
            limits = {row.key: row.value for row in session.scalars(select(PlanLimit))}
        assert limits == {"seats": 3, "storage_bytes": 10**12, "films": None}

    @pytest.mark.parametrize(
        ("language", "subject"), [("ko", "작업 공간이 준비됐어요"), ("en", "is ready")]
    )
    def test_mails_the_administrator_a_link_that_works_once(
        self, now: datetime, language: str, subject: str
    ) -> None:
        tenant_id = approve(now=now, language=language, name="한빛설계")
        provision(tenant_id, now=now)
        with transaction() as session:
            mail = session.scalars(select(Message).where(Message.kind == "tenant_ready")).one()
            assert subject in mail.subject
            assert "한빛설계" in mail.subject
            assert mail.recipient == "admin@customer.example"
            assert "2026-03-24" in mail.text
            found = re.search(r"http://localhost/portal/welcome/(\S+)", mail.text)
            assert found is not None
            admin = session.scalars(
                select(TenantAdmin).where(TenantAdmin.tenant_id == tenant_id)
            ).one()
            whom = accounts.use_token(
                control_session=session,
                purpose="admin_invite",
                token=found[1],
                now=now + timedelta(days=6),
            )
            assert whom == admin.id
            with pytest.raises(accounts.LinkUsed):
                accounts.use_token(
                    control_session=session, purpose="admin_invite", token=found[1], now=now
                )

    def test_does_nothing_the_second_time(self, now: datetime) -> None:
        tenant_id = approve(now=now)
        provision(tenant_id, now=now)
        provision(tenant_id, now=now + timedelta(days=3))
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).trial_starts_at == now
            assert session.scalar(select(func.count()).select_from(Message)) == 1
        assert reserved() == 1

    def test_is_refused_for_a_tenant_that_nobody_approved(self, now: datetime) -> None:
        with pytest.raises(NoSuchRun):
            provision(uuid4(), now=now)


class TestARunThatIsResumed:
    def test_makes_good_what_a_crash_of_the_server_took_back(
        self, now: datetime, provisioner: clusters.Connection
    ) -> None:
        tenant_id = approve(now=now)
        advance_until(tenant_id, "seed", now)
        run = run_of(tenant_id).run
        clusters.drop_database(provisioner, database=clusters.object_name(run), run=run)
        clusters.drop_role(provisioner, role=clusters.object_name(run), run=run)
        place = provision(tenant_id, now=now)
        with databases.tenant_session(place) as session:
            assert session.scalars(select(SeatEvent.seats_after)).all() == [1]
        assert findings() == []


class TestTheRoleOfATenant:
    def test_can_do_little_and_keeps_its_password_to_itself(self, now: datetime) -> None:
        place = provision(approve(now=now), now=now)
        with administrator() as connection:
            row = connection.execute(
                "SELECT rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, rolconnlimit,"
                " (SELECT setconfig FROM pg_db_role_setting WHERE setrole = r.oid), rolpassword"
                " FROM pg_authid r WHERE rolname = %s",
                (place.role,),
            ).fetchone()
        assert row is not None
        assert row[:5] == (False, False, False, True, 10)
        assert row[5] == ["statement_timeout=15000"]
        assert row[6].startswith("SCRAM-SHA-256$")

    def test_is_turned_away_elsewhere(self, now: datetime) -> None:
        place, neighbour = (provision(approve(now=now), now=now) for _ in range(2))
        for database in ("postgres", "template1", clusters.control_name(), neighbour.database):
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                databases.sign_in(
                    place.cluster_url,
                    database=database,
                    role=place.role,
                    password_sealed=place.password_sealed,
                )


class TestACluster:
    def test_that_is_full_takes_nobody_and_counts_nothing(self, now: datetime) -> None:
        with transaction() as session:
            session.execute(update(Cluster).values(capacity=1))
        provision(approve(now=now), now=now)
        late = approve(now=now)
        for _ in range(3):
            with pytest.raises(NoRoom):
                provision(late, now=now)
        assert reserved() == 1
        with transaction() as session:
            session.execute(update(Cluster).values(capacity=2))
        provision(late, now=now)
        assert reserved() == 2

    def test_that_is_emptier_is_chosen(self, now: datetime, cluster_url: str) -> None:
        with transaction() as session:
            home = session.scalars(select(Cluster)).one()
            session.add(
                Cluster(
                    name="second", url=cluster_url, capacity=10, template_name=home.template_name
                )
            )
        for _ in range(2):
            provision(approve(now=now), now=now)
        with transaction() as session:
            assert set(session.scalars(select(Cluster.reserved))) == {1}

    def test_that_does_not_answer_leaves_the_run_for_later(self, now: datetime) -> None:
        with transaction() as session:
            url = session.scalars(select(Cluster.url)).one()
            session.execute(update(Cluster).values(url="postgresql://127.0.0.1:1"))
        tenant_id = approve(now=now)
        with pytest.raises(Unavailable):
            provision(tenant_id, now=now)
        with transaction() as session:
            session.execute(update(Cluster).values(url=url))
        provision(tenant_id, now=now)
        assert reserved() == 1


class TestADatabaseOfTheRightName:
    def test_without_our_mark_is_never_adopted_nor_dropped(self, now: datetime) -> None:
        tenant_id = approve(now=now)
        name = clusters.object_name(run_of(tenant_id).run)
        with administrator() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            try:
                for _ in range(2):
                    with pytest.raises(NotOurs):
                        provision(tenant_id, now=now)
                assert clusters.find_database(connection, name) is not None
                with pytest.raises(NotOurs):
                    provisioning.undo(
                        transaction=transaction, tenant_id=tenant_id, actor=SYSTEM, now=now
                    )
            finally:
                clusters.drop_any_database(connection, name)
        provision(tenant_id, now=now)

    def test_with_another_runs_mark_is_never_adopted(self, now: datetime) -> None:
        tenant_id = approve(now=now)
        advance_until(tenant_id, "database", now)
        name = clusters.object_name(run_of(tenant_id).run)
        with administrator() as connection:
            connection.execute(
                sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                    sql.Identifier(name), sql.Literal(clusters.mark("another"))
                )
            )
        with transaction() as session:
            session.execute(
                update(ProvisioningRun)
                .where(ProvisioningRun.tenant_id == tenant_id)
                .values(step="role")
            )
        with pytest.raises(NotOurs):
            provision(tenant_id, now=now)

    def test_is_made_anew_when_its_making_was_cut_short(
        self, now: datetime, provisioner: clusters.Connection
    ) -> None:
        tenant_id = approve(now=now)
        advance_until(tenant_id, "role", now)
        name = clusters.object_name(run_of(tenant_id).run)
        provisioner.execute(
            sql.SQL(
                "CREATE DATABASE {} OWNER tenantry_tenant_schema ALLOW_CONNECTIONS false"
                " TEMPLATE template0"
            ).format(sql.Identifier(name))
        )
        provision(tenant_id, now=now)
        found = clusters.find_database(provisioner, name)
        assert found is not None
        assert found.comment == clusters.mark(run_of(tenant_id).run)
        assert findings() == []

    def test_is_made_anew_when_its_drop_was_cut_short(
        self, now: datetime, provisioner: clusters.Connection
    ) -> None:
        tenant_id = approve(now=now)
        advance_until(tenant_id, "role", now)
        run = run_of(tenant_id).run
        with transaction() as session:
            pattern = session.scalars(select(Cluster.template_name)).one()
        clusters.create_database(
            provisioner, run=run, database=clusters.object_name(run), template=str(pattern)
        )
        with administrator() as connection:
            connection.execute(
                "UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s",
                (clusters.object_name(run),),
            )
        assert findings() == [("half_dropped", clusters.object_name(run))]
        provision(tenant_id, now=now)
        assert findings() == []


class TestVerification:
    def test_catches_a_neighbour_whose_door_stands_open(self, now: datetime) -> None:
        neighbour = provision(approve(now=now), now=now)
        with administrator() as connection:
            connection.execute(
                sql.SQL("GRANT CONNECT ON DATABASE {} TO PUBLIC").format(
                    sql.Identifier(neighbour.database)
                )
            )
        tenant_id = approve(now=now)
        with pytest.raises(VerificationFailed, match=neighbour.database):
            provision(tenant_id, now=now)
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "approved"
        assert ("open_to_public", neighbour.database) in findings()

    def test_catches_a_right_too_many(self, now: datetime) -> None:
        place = provision(approve(now=now), now=now)
        for gift, back, named in (
            (
                "GRANT UPDATE ON seat_event TO tenantry_tenant_rows",
                "REVOKE UPDATE ON seat_event FROM tenantry_tenant_rows",
                "UPDATE seat_event",
            ),
            (
                "GRANT CREATE ON SCHEMA public TO tenantry_tenant_rows",
                "REVOKE CREATE ON SCHEMA public FROM tenantry_tenant_rows",
                "CREATE TABLE",
            ),
            (
                "GRANT TEMPORARY ON DATABASE {name} TO PUBLIC",
                "REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC",
                "CREATE TEMPORARY TABLE",
            ),
            ("ALTER ROLE {name} CREATEDB", "ALTER ROLE {name} NOCREATEDB", "whole cluster"),
        ):
            with administrator(place.database) as connection:
                connection.execute(gift.format(name=place.database).encode())
                with pytest.raises(VerificationFailed, match=named):
                    verify(place)
                connection.execute(back.format(name=place.database).encode())
        verify(place)

    def test_catches_a_right_too_few(self, now: datetime) -> None:
        place = provision(approve(now=now), now=now)
        with administrator(place.database) as connection:
            connection.execute("REVOKE INSERT ON storage_event FROM tenantry_tenant_rows")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            verify(place)

    def test_leaves_nothing_behind(self, now: datetime) -> None:
        place = provision(approve(now=now), now=now)
        verify(place)
        with databases.tenant_session(place) as session:
            assert session.scalar(select(func.count()).select_from(Member)) == 1
            assert session.scalar(select(func.count()).select_from(SeatEvent)) == 1


class TestTakingBack:
    def test_an_unfinished_run_leaves_nothing_and_may_begin_again(
        self, now: datetime, provisioner: clusters.Connection
    ) -> None:
        tenant_id = approve(now=now)
        for step in ("reserve", "role", "database", "seed", "verify"):
            advance_until(tenant_id, step, now)
            for _ in range(2):
                provisioning.undo(
                    transaction=transaction, tenant_id=tenant_id, actor=SYSTEM, now=now
                )
                assert clusters.is_absent(provisioner, run=run_of(tenant_id).run)
                assert reserved() == 0
                assert findings() == []
        provision(tenant_id, now=now)
        assert reserved() == 1

    def test_a_finished_run_is_refused(self, now: datetime) -> None:
        tenant_id = approve(now=now)
        provision(tenant_id, now=now)
        with pytest.raises(RunFinished):
            provisioning.undo(transaction=transaction, tenant_id=tenant_id, actor=SYSTEM, now=now)


class TestTheWayOut:
    def test_closes_hides_and_drops_each_as_often_as_one_likes(
        self, now: datetime, provisioner: clusters.Connection
    ) -> None:
        tenant_id = approve(now=now)
        place = provision(tenant_id, now=now)
        run = run_of(tenant_id).run
        guest = databases.sign_in(
            place.cluster_url,
            database=place.database,
            role=place.role,
            password_sealed=place.password_sealed,
        )
        for _ in range(2):
            clusters.close(provisioner, database=place.database, run=run)
        with pytest.raises(psycopg.OperationalError):
            guest.execute("SELECT 1")
        guest.close()
        names = {
            clusters.quarantine(provisioner, database=place.database, run=run) for _ in range(2)
        }
        assert names == {f"gone_{place.database}"}
        assert not clusters.is_absent(provisioner, run=run)
        for _ in range(2):
            clusters.drop_database(provisioner, database=names.copy().pop(), run=run)
            clusters.drop_database(provisioner, database=place.database, run=run)
        assert not clusters.is_absent(provisioner, run=run)
        for _ in range(2):
            clusters.drop_role(provisioner, role=place.role, run=run)
        assert clusters.is_absent(provisioner, run=run)
        with transaction() as session:
            assert provisioning.release_place(control_session=session, tenant_id=tenant_id)
            assert not provisioning.release_place(control_session=session, tenant_id=tenant_id)
        assert reserved() == 0

    def test_touches_nothing_without_our_mark(self, provisioner: clusters.Connection) -> None:
        control = clusters.control_name()
        with pytest.raises(NotOurs):
            clusters.drop_database(provisioner, database=control, run="nobody")
        with pytest.raises(NotOurs):
            clusters.close(provisioner, database=control, run="nobody")
        with pytest.raises(NotOurs):
            clusters.drop_role(provisioner, role="tenantry_app", run="nobody")


class TestTheJob:
    def test_settles_each_run_on_its_own(self, now: datetime) -> None:
        bad, good = approve(now=now), approve(now=now)
        squatter = clusters.object_name(run_of(bad).run)
        with administrator() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(squatter)))
            try:
                with transaction() as session:
                    assert job.STEP.due(session, now)
                assert job.STEP.work() == 2
            finally:
                clusters.drop_any_database(connection, squatter)
        failed, finished = run_of(bad), run_of(good)
        assert failed.attempts == 1
        assert failed.retry_at is not None
        assert "NotOurs" in str(failed.last_error)
        assert failed.finished_at is None
        assert finished.finished_at is not None
        assert (finished.attempts, finished.last_error, finished.lease_until) == (0, None, None)
        with transaction() as session:
            assert not job.STEP.due(session, now)
            session.execute(update(ProvisioningRun).values(retry_at=None))
        assert job.STEP.work() == 1
        assert run_of(bad).finished_at is not None

    def test_has_nothing_due_once_all_are_in(self, now: datetime) -> None:
        with transaction() as session:
            assert not job.STEP.due(session, now)
        assert job.STEP.work() == 0
