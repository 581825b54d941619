"""What has had its time goes, and nothing else."""

from __future__ import annotations

import io
import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from app.base import files
from app.base.audit import AccessEntry, Actor, AuditEvent
from app.base.config import settings
from app.base.db import control_session, usage_session
from app.base.messages import Message
from app.base.sessions import WebSession
from invoices import bundles, gateway_events
from invoices.models import DocumentBundle, GatewayEvent
from jobs.housekeeping import keep_house
from jobs.models import Slot
from jobs.timetable import TIMETABLE
from tenants import drawings, exports
from tenants.models import TenantDatabase, TenantExport
from tenants.usage_models import Event, EventKey
from tests.factories import make_staff, make_tenant
from tests.tenants.pushed import event, push
from tests.workspaces import make_workspace

pytestmark = pytest.mark.usefixtures("scenario")
DAY = timedelta(days=1)


def count(model: type) -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def test_may_run_on_an_empty_system_and_twice(now: datetime) -> None:
    keep_house(now, now)
    keep_house(now, now)


def test_an_access_entry_lives_as_long_as_its_term(now: datetime) -> None:
    term = timedelta(days=settings().access_log_retention_days)
    with control_session() as session:
        for age in (term - DAY, term + DAY):
            session.add(AccessEntry(at=now - age, event="signed_in", audience="staff"))
    keep_house(now, now)
    assert count(AccessEntry) == 1


def test_a_session_lives_by_the_real_clock(now: datetime) -> None:
    real = datetime.now(tz=now.tzinfo)
    with control_session() as session:
        for key, expires in (("a", real - DAY), ("b", real + DAY)):
            session.add(
                WebSession(
                    id_hash=key,
                    audience="staff",
                    user_id=make_staff(session).id,
                    created_at=real,
                    seen_at=real,
                    expires_at=expires,
                    absolute_expires_at=expires,
                )
            )
    keep_house(now + 365 * DAY, now + 365 * DAY)
    with control_session() as session:
        assert session.scalars(select(WebSession.id_hash)).all() == ["b"]


def test_a_message_that_is_still_due_is_never_thrown_away(now: datetime) -> None:
    with control_session() as session:
        for state in ("due", "sent", "failed"):
            session.add(
                Message(
                    state=state,
                    channel="mail",
                    kind="test",
                    recipient="somebody@customer.example",
                    language="ko",
                    subject="s",
                    text="t",
                    html="h",
                    created_at=now - 400 * DAY,
                )
            )
    keep_house(now, now)
    with control_session() as session:
        assert set(session.scalars(select(Message.state))) == {"due", "failed"}


def test_the_latest_slot_of_a_task_is_remembered_for_ever(now: datetime) -> None:
    with control_session() as session:
        for age in (400, 300):
            session.add(Slot(task="old", due_at=now - age * DAY, done_at=now))
        session.add(Slot(task="undone", due_at=now - 400 * DAY))
        session.add(Slot(task="undone", due_at=now - DAY, done_at=now))
    keep_house(now, now)
    with control_session() as session:
        kept = session.execute(select(Slot.task, Slot.due_at).order_by(Slot.due_at)).all()
    assert [(task, (now - due_at).days) for task, due_at in kept] == [
        ("undone", 400),
        ("old", 300),
        ("undone", 1),
    ]


def test_an_export_and_a_bundle_lose_their_files_when_their_term_is_over(now: datetime) -> None:
    bundle = files.put(prefix=bundles.PREFIX, chunks=[b"bundle"])
    with control_session() as session:
        tenant = make_tenant(session)
        staff = make_staff(session)
        export = files.put(prefix=exports.prefix(tenant.id), chunks=[b"export"])
        session.add(
            TenantExport(
                tenant_id=tenant.id,
                state="ready",
                requested_at=now - 9 * DAY,
                ready_at=now - 9 * DAY,
                expires_at=now - DAY,
                sha256=export.sha256,
                size_bytes=6,
            )
        )
        session.add(
            DocumentBundle(
                state="ready",
                requested_by=staff.id,
                requested_at=now - 9 * DAY,
                filters={},
                ready_at=now - 9 * DAY,
                expires_at=now - DAY,
                sha256=bundle.sha256,
                size_bytes=6,
            )
        )
    keep_house(now, now)
    with control_session() as session:
        states = (
            session.scalar(select(TenantExport.state)),
            session.scalar(select(DocumentBundle.state)),
        )
        lines = session.execute(
            select(AuditEvent.action, AuditEvent.actor_id, AuditEvent.tenant_id)
            .where(AuditEvent.to_state == "expired")
            .order_by(AuditEvent.action)
        ).all()
    assert states == ("expired", "expired")
    assert [tuple(line) for line in lines] == [
        ("document_bundle.expired", "housekeeping", None),
        ("export.expired", "housekeeping", tenant.id),
    ]
    assert files.is_empty(prefix=exports.prefix(tenant.id))
    assert files.is_empty(prefix=bundles.PREFIX)


def test_what_anybody_could_have_sent_goes_once_it_was_looked_at(now: datetime) -> None:
    old = now - (gateway_events.UNSIGNED_KEPT_DAYS + 1) * DAY
    with control_session() as session:
        for trust, received_at, applied_at in (
            ("unsigned", old, old),
            ("secret", old, old),
            ("unsigned", old, None),
            ("unsigned", now, now),
            ("signed", old, old),
        ):
            session.add(
                GatewayEvent(
                    gateway="toss-main",
                    event_id=f"{trust} {received_at} {applied_at}",
                    kind="other",
                    trust=trust,
                    received_at=received_at,
                    applied_at=applied_at,
                )
            )
    keep_house(now, now)
    with control_session() as session:
        kept = session.execute(select(GatewayEvent.trust, GatewayEvent.applied_at)).all()
    assert sorted(kept, key=str) == sorted(
        [("unsigned", None), ("unsigned", now), ("signed", old)], key=str
    )


def age(prefix: str, stored: files.StoredFile, days: int) -> Path:
    """A file as it lies there so many days after it was written."""
    path = files.path(prefix=prefix, sha256=stored.sha256)
    then = time.time() - days * DAY.total_seconds()
    os.utime(path, (then, then))
    return path


def test_what_a_killed_upload_left_goes_after_a_day(now: datetime) -> None:
    workspace = make_workspace(now=now)
    prefix = drawings.prefix(workspace.tenant_id)
    with workspace.session() as session:
        drawing = drawings.upload(
            tenant_session=session,
            name="kept.pdf",
            stream=io.BytesIO(b"%PDF-1.7 kept"),
            member_id=workspace.admin_id,
            actor=Actor("member", "tests"),
            now=now,
        )
    kept = age(prefix, files.StoredFile(drawing.sha256, 0), days=30)
    lost = age(prefix, files.put(prefix=prefix, chunks=[b"lost"]), days=2)
    fresh = age(prefix, files.put(prefix=prefix, chunks=[b"fresh"]), days=0)
    halves = [kept.parents[1] / f".part-{days}" for days in (2, 0)]
    for half, days in zip(halves, (2, 0), strict=True):
        half.write_bytes(b"half")
        then = time.time() - days * DAY.total_seconds()
        os.utime(half, (then, then))
    keep_house(now, now)
    assert [path.exists() for path in (kept, lost, fresh, *halves)] == [
        *(True, False, True),
        *(False, True),
    ]


def test_a_zip_that_nobody_can_have_goes_after_a_day(now: datetime) -> None:
    """No row knows it, or its term was over when the worker was killed that was to delete it."""
    with control_session() as session:
        tenant_id, staff_id = make_tenant(session).id, make_staff(session).id
    prefixes = (bundles.PREFIX, exports.prefix(tenant_id))
    files_of = {
        (prefix, name): files.put(prefix=prefix, chunks=[name.encode()])
        for prefix in prefixes
        for name in ("lost", "fresh", "ready", "expired")
    }
    paths = {
        key: age(key[0], stored, days=0 if key[1] == "fresh" else 2)
        for key, stored in files_of.items()
    }
    with control_session() as session:
        for state in ("ready", "expired"):
            said = {"state": state, "requested_at": now, "expires_at": now + DAY}
            digests = [files_of[prefix, state].sha256 for prefix in prefixes]
            session.add(
                DocumentBundle(requested_by=staff_id, filters={}, sha256=digests[0], **said)
            )
            session.add(TenantExport(tenant_id=tenant_id, sha256=digests[1], **said))
    keep_house(now, now)
    left = {key for key, path in paths.items() if path.exists()}
    assert left == {(prefix, name) for prefix in prefixes for name in ("fresh", "ready")}


def test_a_tenant_that_cannot_be_asked_keeps_no_other_from_being_swept(now: datetime) -> None:
    first, second = make_workspace(now=now), make_workspace(now=now)
    lost = [
        age(prefix, files.put(prefix=prefix, chunks=[b"lost"]), days=2)
        for prefix in (drawings.prefix(each.tenant_id) for each in (first, second))
    ]
    with control_session() as session:
        session.get_one(TenantDatabase, first.tenant_id).password_sealed = "not a secret"
    keep_house(now, now)
    assert [path.exists() for path in lost] == [True, False]


def test_months_of_events_are_there_before_their_time_and_go_after_it(now: datetime) -> None:
    with control_session() as session:
        owner = make_tenant(session, state="active")
    assert push([event(owner, now)], now) == ["accepted"]
    far = now + timedelta(days=31 * (settings().event_retention_months + 2))
    by_night = {each.task: each.run for each in TIMETABLE}
    for task in ("event_partitions", "housekeeping"):
        by_night[task](far, far)
    with usage_session() as session:
        month = {"month": f"event_p{far + timedelta(days=31):%Y%m}"}
        assert session.scalar(text("SELECT to_regclass(:month)"), month) is not None
        # The keys stay: an event is known for as long as its tenant is.
        assert session.scalars(select(func.count()).select_from(Event)).one() == 0
        assert session.scalars(select(func.count()).select_from(EventKey)).one() == 1
