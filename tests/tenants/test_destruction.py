from __future__ import annotations

import io
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import delete, func, select, text, update

from app.base import accounts, clock, files, ids, sessions
from app.base.accounts import OneTimeToken
from app.base.audit import AccessEntry, Actor
from app.base.config import settings
from app.base.db import control_session, usage_session
from app.base.messages import Message, queue_mail
from app.base.sessions import WebSession
from jobs.destruction import PAPERS, STEP
from tenants import (
    clusters,
    databases,
    destruction,
    drawings,
    exports,
    lifecycle,
    personal_data,
    visits,
)
from tenants.destruction_on_cluster import ClusterTrouble, PlaceUnknown, StillThere
from tenants.models import (
    Application,
    Cluster,
    Consent,
    DestructionRun,
    Erasure,
    MeteringDay,
    ProvisioningRun,
    Tenant,
    TenantAdmin,
    TenantDatabase,
    TenantExport,
    VisitEvent,
)
from tests.conftest import administrator
from tests.factories import make_application
from tests.workspaces import Workspace, end_trial_and_retention, make_workspace

SECRETS = ("비밀상사", "hidden-person@secret.example", "+821099998888")


@pytest.fixture
def doomed(scenario: Any, now: datetime, set_clock: Any) -> Workspace:
    """A tenant that left traces everywhere, with its retention over."""
    set_clock(now)
    early = now - timedelta(days=120)
    visitor = ids.uuid7()
    with control_session() as session:
        application_id = make_application(
            session,
            state="approved",
            company=SECRETS[0],
            email=SECRETS[1],
            phone=SECRETS[2],
            visitor_id=visitor,
        ).id
        visits.store(
            control_session=session,
            records=[visits.VisitRecord(ids.uuid7(), early, visitor, "page", "/trial")],
        )
    workspace = make_workspace(now=early, application_id=application_id, admin_email=SECRETS[1])
    with control_session() as session:
        tenant = session.get_one(Tenant, workspace.tenant_id)
        tenant.name = SECRETS[0]
        tenant.billing_profile = {"representative": SECRETS[0], "email": SECRETS[1]}
        _leave_traces(session, workspace, now)
    with workspace.session() as session:
        drawings.upload(
            tenant_session=session,
            name="a.pdf",
            stream=io.BytesIO(b"%PDF-1.7"),
            member_id=workspace.admin_id,
            actor=Actor("member", "tests"),
            now=early,
        )
    end_trial_and_retention(workspace, now=now)
    return workspace


def _leave_traces(session: Any, workspace: Workspace, now: datetime) -> None:
    tenant_id = workspace.tenant_id
    for user_id, audience in ((workspace.admin_id, "portal"), (ids.uuid7(), "workspace")):
        sessions.open_session(
            control_session=session,
            audience=audience,
            user_id=user_id,
            tenant_id=tenant_id,
            real_now=clock.real_now(),
        )
        accounts.issue_token(
            control_session=session,
            purpose=personal_data.invitation_purpose(tenant_id),
            subject_id=user_id,
            valid_for=timedelta(days=7),
            now=now,
        )
        session.add(
            AccessEntry(
                at=now,
                event="signed_in",
                audience=audience,
                user_id=user_id,
                tenant_id=tenant_id,
                address="192.0.2.1",
            )
        )
    for kind in ("conversion", "marketing"):
        session.add(
            Consent(
                subject_id=tenant_id,
                kind=kind,
                version="test",
                text_sha256="0" * 64,
                granted=True,
                at=now,
                channel="portal",
            )
        )
    session.add(TenantExport(tenant_id=tenant_id, state="ready", requested_at=now, sha256="0" * 64))
    session.add(MeteringDay(tenant_id=tenant_id, day=now.date()))
    files.put(prefix=exports.prefix(tenant_id), chunks=[b"zip"])


def begin(workspace: Workspace, now: datetime) -> None:
    with control_session() as session:
        assert destruction.begin(control_session=session, tenant_id=workspace.tenant_id, now=now)


def last_mail_is_out() -> None:
    with control_session() as session:
        session.execute(update(Message).where(Message.state == "due").values(state="sent"))


def finish(workspace: Workspace, now: datetime, **more: Any) -> None:
    destruction.advance(
        transaction=control_session,
        usage_transaction=usage_session,
        tenant_id=workspace.tenant_id,
        now=lambda: now,
        papers=replace(PAPERS, **more),
    )


def state_of(workspace: Workspace) -> str:
    with control_session() as session:
        return session.scalars(select(Tenant.state).where(Tenant.id == workspace.tenant_id)).one()


def dump_of_control() -> str:
    """Every row of every table in control, as text."""
    with control_session() as session:
        tables = session.scalars(
            text(
                "SELECT oid::regclass::text FROM pg_class"
                " WHERE relnamespace IN ('public'::regnamespace, 'statutory'::regnamespace)"
                " AND relkind IN ('r', 'p') AND NOT relispartition"
            )
        ).all()
        return "\n".join(
            str(row)
            for table in tables
            for row in session.execute(text(f"SELECT t::text FROM {table} t")).all()
        )


def _convert(workspace: Workspace, now: datetime) -> None:
    with control_session() as session:
        lifecycle.convert(
            control_session=session,
            tenant_id=workspace.tenant_id,
            plan_code="team",
            limits={},
            actor=Actor.admin(workspace.admin_id),
            now=now,
        )


class TestADestruction:
    def test_leaves_a_line_in_the_ledger_and_nothing_personal_anywhere(
        self, doomed: Workspace, now: datetime
    ) -> None:
        assert all(secret in dump_of_control() for secret in SECRETS)
        begin(doomed, now)
        last_mail_is_out()
        finish(doomed, now)
        assert state_of(doomed) == "destroyed"
        left = dump_of_control()
        assert not [secret for secret in (*SECRETS, doomed.slug) if secret in left]
        with control_session() as session:
            line = session.scalars(
                select(Erasure).where(Erasure.subject_id == doomed.tenant_id)
            ).one()
            for model in (WebSession, OneTimeToken, AccessEntry, TenantExport, VisitEvent):
                assert not session.scalar(select(func.count()).select_from(model)), model
            assert not session.scalar(select(func.count()).select_from(TenantDatabase))
            assert session.scalars(select(Consent.kind)).all() == ["conversion"]
            assert session.scalar(select(func.sum(Cluster.reserved))) == 0
            assert session.scalars(select(Application.state)).all() == ["erased"]
        assert (line.operator, line.approver) == ("destruction", "retention policy")
        assert line.legal_basis
        assert set(line.verified) >= {"database", "role", "files", "tenant_admin", "message"}
        assert not any(line.verified.values())
        assert files.is_empty(prefix=f"tenants/{doomed.tenant_id}")

    def test_touches_nothing_of_a_neighbour_with_the_same_administrator(
        self, doomed: Workspace, now: datetime
    ) -> None:
        neighbour = make_workspace(now=now, admin_email=SECRETS[1])
        with control_session() as session:
            queue_mail(
                control_session=session,
                room="tenants",
                name="destroyed",
                to=SECRETS[1],
                language="ko",
                context={
                    "tenant": session.get_one(Tenant, neighbour.tenant_id),
                    "admin": session.get_one(TenantAdmin, neighbour.admin_id),
                },
                regarding_id=neighbour.tenant_id,
                now=now,
            )
        begin(doomed, now)
        last_mail_is_out()
        finish(doomed, now)
        with control_session() as session:
            regarding = set(session.scalars(select(Message.regarding_id)))
            assert regarding == {neighbour.tenant_id}
            assert session.scalars(select(TenantAdmin.tenant_id)).all() == [neighbour.tenant_id]
            assert session.scalar(select(func.sum(Cluster.reserved))) == 1
        with neighbour.session() as session:
            assert session.scalar(text("SELECT count(*) FROM member")) == 1

    def test_sets_statutory_papers_apart_before_anything_goes(
        self, doomed: Workspace, now: datetime
    ) -> None:
        seen: list[tuple[UUID, bool]] = []

        def set_apart(session: Any, tenant_id: UUID, _now: datetime) -> None:
            admins = session.scalar(select(func.count()).where(TenantAdmin.tenant_id == tenant_id))
            seen.append((tenant_id, bool(admins) and not files.is_empty(prefix="tenants")))

        begin(doomed, now)
        last_mail_is_out()
        finish(doomed, now, set_apart=set_apart)
        assert seen == [(doomed.tenant_id, True)]

    def test_goes_no_further_when_the_papers_can_t_be_set_apart(
        self, doomed: Workspace, now: datetime
    ) -> None:
        def fails(*_: Any) -> None:
            raise RuntimeError("no room for the papers")

        begin(doomed, now)
        with pytest.raises(RuntimeError):
            finish(doomed, now, set_apart=fails)
        assert state_of(doomed) == "destroying"
        with control_session() as session:
            done = session.scalars(select(DestructionRun.steps_done)).one()
            name = session.scalars(select(TenantDatabase.database_name)).one()
        assert "database" not in [entry["step"] for entry in done]
        with administrator() as connection:
            assert clusters.find_database(connection, f"gone_{name}") is not None
        _convert(doomed, now)
        with doomed.session() as session:
            assert session.scalar(text("SELECT count(*) FROM member")) == 1

    def test_waits_for_the_last_mail_but_no_longer_than_an_hour(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        with pytest.raises(personal_data.LastMailOnItsWay):
            finish(doomed, now + timedelta(minutes=59))
        assert state_of(doomed) == "destroying"
        finish(doomed, now + timedelta(minutes=61))
        assert state_of(doomed) == "destroyed"

    def test_ends_the_tenant_s_sessions_and_waits_for_an_administrator_s(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            place = databases.placement(session, doomed.tenant_id)
        begin(doomed, now)
        last_mail_is_out()
        theirs = databases.sign_in(
            place.cluster_url,
            database=place.database,
            role=place.role,
            password_sealed=place.password_sealed,
        )
        with administrator(place.database), pytest.raises(ClusterTrouble):
            finish(doomed, now)
        assert state_of(doomed) == "destroying"
        with pytest.raises(psycopg.OperationalError):
            theirs.execute("SELECT 1")
        finish(doomed, now)
        assert state_of(doomed) == "destroyed"

    def test_of_a_tenant_that_a_conversion_saved_is_not_begun(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            assert doomed.tenant_id in destruction.due(control_session=session, now=now, limit=10)
        _convert(doomed, now)
        with control_session() as session:
            assert not destruction.begin(
                control_session=session, tenant_id=doomed.tenant_id, now=now
            )
        assert state_of(doomed) == "active"
        with doomed.session() as session:
            assert session.scalar(text("SELECT count(*) FROM member")) == 1

    def test_never_reads_as_destroyed_while_something_is_left(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        last_mail_is_out()
        with control_session() as session:
            run = session.scalars(select(ProvisioningRun.run)).one()
        with administrator() as connection:
            connection.execute(f"CREATE DATABASE copy_of_{run}".encode())
        with pytest.raises(StillThere):
            finish(doomed, now)
        assert state_of(doomed) == "destroying"
        with control_session() as session:
            assert not session.scalar(
                select(func.count()).where(Erasure.subject_id == doomed.tenant_id)
            )
            assert session.scalar(select(func.sum(Cluster.reserved))) == 1
        with administrator() as connection:
            connection.execute(f"DROP DATABASE copy_of_{run}".encode())
        finish(doomed, now)
        assert state_of(doomed) == "destroyed"

    def test_stops_when_nobody_knows_where_the_database_stood(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        last_mail_is_out()
        with control_session() as session:
            session.execute(delete(TenantDatabase))
        with pytest.raises(PlaceUnknown):
            finish(doomed, now)
        assert state_of(doomed) == "destroying"

    def test_waits_for_an_export_that_is_being_written(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        last_mail_is_out()
        with control_session() as session:
            session.execute(
                text("UPDATE tenant_export SET lease_until = clock_timestamp() + interval '1 min'")
            )
        with pytest.raises(destruction.ExportBeingWritten):
            finish(doomed, now)
        with control_session() as session:
            session.execute(text("UPDATE tenant_export SET lease_until = NULL"))
        finish(doomed, now)
        assert state_of(doomed) == "destroyed"

    def test_done_by_the_step_with_the_real_papers_set_apart(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        last_mail_is_out()
        with control_session() as session:
            assert STEP.due(session, now)
        assert STEP.work() == 1
        assert state_of(doomed) == "destroyed"
        with control_session() as session:
            assert not STEP.due(session, now)

    def test_refused_by_the_cluster_is_parked_with_its_error(
        self, doomed: Workspace, now: datetime
    ) -> None:
        begin(doomed, now)
        last_mail_is_out()
        with control_session() as session:
            session.execute(update(Cluster).values(url="postgresql://127.0.0.1:1"))
        assert STEP.work() == 1
        with control_session() as session:
            run = session.scalars(select(DestructionRun)).one()
        assert run.last_error
        assert [entry["step"] for entry in run.steps_done] == ["settled"]
        assert state_of(doomed) == "destroying"


def test_no_file_of_a_tenant_is_kept_outside_its_prefix(doomed: Workspace) -> None:
    root: Path = settings().files
    mine = root / "tenants" / str(doomed.tenant_id)
    strays = [
        path
        for path in root.rglob("*")
        if path.is_file() and str(doomed.tenant_id) in str(path) and mine not in path.parents
    ]
    assert not strays
