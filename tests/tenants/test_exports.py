from __future__ import annotations

import csv
import io
import zipfile
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from app.base import files
from app.base.audit import Actor, AuditEvent
from app.base.db import control_session
from app.base.messages import Message
from jobs.exports import STEP
from tenants import drawings, exports, lifecycle, members
from tenants.databases import NoDatabase
from tenants.models import Tenant, TenantExport
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
PDF = b"%PDF-1.7\n"


@pytest.fixture
def workspace(scenario: Any, now: datetime, set_clock: Any) -> Workspace:
    set_clock(now)
    made = make_workspace(now=now)
    with made.session() as session:
        members.invite(
            tenant_session=session,
            email="new@customer.example",
            name="=HYPERLINK(1)",
            role="member",
            actor=BY,
            now=now,
        )
        for name in ("도면.pdf", "gone.pdf"):
            drawing = drawings.upload(
                tenant_session=session,
                name=name,
                stream=io.BytesIO(PDF + name.encode()),
                member_id=made.admin_id,
                actor=BY,
                now=now,
            )
        drawings.delete(tenant_session=session, drawing_id=drawing.id, actor=BY, now=now)
    return made


def ask(workspace: Workspace, now: datetime) -> TenantExport:
    with control_session() as session:
        return exports.request(
            control_session=session,
            tenant_id=workspace.tenant_id,
            actor=Actor.admin(workspace.admin_id),
            now=now,
        )


def opened(workspace: Workspace, export: TenantExport, now: datetime) -> exports.Opened:
    with control_session() as session:
        return exports.open_(
            control_session=session,
            tenant_id=workspace.tenant_id,
            export_id=export.id,
            now=now,
        )


class TestAnExport:
    def test_holds_all_of_the_tenant_s_data_and_is_announced(
        self, workspace: Workspace, now: datetime
    ) -> None:
        export = ask(workspace, now)
        assert STEP.work() == 1
        found = opened(workspace, export, now)
        with found.stream, zipfile.ZipFile(found.stream) as archive:
            names = archive.namelist()
            tables = {
                name: list(csv.DictReader(io.StringIO(archive.read(name).decode("utf-8-sig"))))
                for name in names
                if name.endswith(".csv")
            }
            (drawing,) = [name for name in names if name.startswith("drawings/")]
            assert archive.read(drawing) == PDF + "도면.pdf".encode()
        assert found.file_name.startswith(workspace.slug)
        assert [row["name"] for row in tables["members.csv"]] == ["관리자", "'=HYPERLINK(1)"]
        assert {row["name"] for row in tables["drawings.csv"]} == {"도면.pdf", "gone.pdf"}
        assert [row["delta"] for row in tables["seat_events.csv"]] == ["1", "1"]
        assert [row["kind"] for row in tables["storage_events.csv"]] == [
            "upload",
            "upload",
            "delete",
        ]
        assert "password" not in str(tables)
        with control_session() as session:
            mail = session.scalars(select(Message).where(Message.kind == "export_ready")).one()
        assert mail.recipient == workspace.admin_email

    def test_is_made_once_however_often_it_is_asked_for(
        self, workspace: Workspace, now: datetime
    ) -> None:
        assert ask(workspace, now).id == ask(workspace, now).id
        STEP.work()
        assert STEP.work() == 0
        with control_session() as session:
            (export,) = exports.list_(control_session=session, tenant_id=workspace.tenant_id)
            (made,) = session.scalars(
                select(AuditEvent).where(AuditEvent.action == "export.ready")
            ).all()
        assert export.state == "ready"
        assert (made.subject_id, made.tenant_id) == (str(export.id), workspace.tenant_id)
        assert (made.from_state, made.actor_kind, made.actor_id) == ("due", "job", "exports")

    def test_stays_open_while_suspended_and_not_when_the_erasure_began(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            lifecycle.suspend(
                control_session=session,
                tenant_id=workspace.tenant_id,
                reason="trial_ended",
                actor=BY,
                now=now,
            )
        export = ask(workspace, now)
        STEP.work()
        opened(workspace, export, now).stream.close()
        with control_session() as session:
            tenant = session.get_one(Tenant, workspace.tenant_id)
            tenant.state, tenant.suspended_at = "destroying", None
        with pytest.raises(NoDatabase):
            ask(workspace, now)

    def test_is_not_opened_before_it_is_ready_after_it_expired_or_by_another_tenant(
        self, workspace: Workspace, now: datetime
    ) -> None:
        other = make_workspace(now=now)
        export = ask(workspace, now)
        with pytest.raises(exports.NotReady):
            opened(workspace, export, now)
        STEP.work()
        with pytest.raises(exports.NoSuchExport):
            opened(other, export, now)
        with pytest.raises(exports.NoSuchExport):
            opened(workspace, export, now + timedelta(days=7, seconds=5))

    def test_whose_tenant_left_meanwhile_leaves_no_file(
        self, workspace: Workspace, now: datetime
    ) -> None:
        export = ask(workspace, now)
        with control_session() as session:
            order = exports.begin(control_session=session, export_id=export.id)
        assert order is not None
        stored = exports.perform(order)
        with control_session() as session:
            session.execute(text("UPDATE tenant SET state = 'destroying'"))
        with control_session() as session, pytest.raises(exports.ExportMoved):
            exports.record(control_session=session, order=order, stored=stored, now=now)

    def test_with_a_lost_file_is_reported_and_not_sent_out_incomplete(
        self, workspace: Workspace, now: datetime
    ) -> None:
        files.delete_all(prefix=drawings.prefix(workspace.tenant_id))
        ask(workspace, now)
        assert STEP.work() == 1
        with control_session() as session:
            export = session.scalars(select(TenantExport)).one()
        assert export.state == "due"
        assert "FileMissing" in (export.last_error or "")
