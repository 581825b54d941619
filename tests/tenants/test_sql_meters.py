"""SQL meters: a number a day out of a tenant's own database, and nothing else from it."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from app.base import clock
from app.base.audit import SYSTEM, Actor
from app.base.config import settings
from app.base.db import control_session
from jobs import metering as step
from tenants import databases, drawings, members, meter_definitions, metering, meters, sql_meters
from tenants.models import MeteringDay, Reading
from tests.tenants.counting import NAMES
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
DAY = date(2026, 3, 10)
BIG = (
    "SELECT count(*) FROM drawing WHERE size_bytes > 20"
    " AND uploaded_at >= :day_start AND uploaded_at < :day_end AND name LIKE '%.pdf'"
)
BOUNDS = " FROM (SELECT CAST(:day_start AS timestamptz) < :day_end) AS bounds"


def query(sql: str, code: str = "big_files") -> Any:
    return meter_definitions.read(
        {"code": code, "source": "sql", "unit": "file", "names": NAMES, "sql": sql}, version=1
    )


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now)


def upload(workspace: Workspace, now: datetime, size: int) -> None:
    with workspace.session() as session:
        drawings.upload(
            tenant_session=session,
            name=f"a{size}.pdf",
            stream=io.BytesIO(b"%PDF-1.7\n" + b"x" * size),
            member_id=members.by_email(tenant_session=session, email=workspace.admin_email).id,
            actor=BY,
            now=now,
        )


def read(workspace: Workspace, *queries: Any, days: Any = (DAY,)) -> Any:
    with control_session() as session:
        place = databases.placement(session, workspace.tenant_id)
    return sql_meters.read_days(
        place=place, definitions=queries, days=list(days), timezone="Asia/Seoul"
    )


def declare(now: datetime, *definitions: Any) -> None:
    with control_session() as session:
        meters.declare(control_session=session, definitions=definitions, actor=SYSTEM, now=now)


class TestAQuery:
    def test_counts_within_its_day_and_proves_it(self, workspace: Workspace, now: datetime) -> None:
        for hours, size in ((0, 100), (1, 200), (1, 3), (13, 400)):
            upload(workspace, now + timedelta(hours=hours), size)
        days = [DAY, DAY + timedelta(days=1)]
        taken, failed = read(workspace, query(BIG), days=days)
        assert failed == []
        assert [(each.day, each.quantity) for each in taken] == [
            (days[0], Decimal(2)),
            (days[1], Decimal(1)),
        ]
        again, _ = read(workspace, query(BIG), days=days)
        assert again == taken
        assert taken[0].evidence_sha256 != taken[1].evidence_sha256
        other, _ = read(workspace, query(BIG.replace("20", "21")))
        assert other[0].quantity == taken[0].quantity
        assert other[0].evidence_sha256 != taken[0].evidence_sha256

    @pytest.mark.parametrize(
        ("sql", "why"),
        [
            ("SELECT 1.5::float8" + BOUNDS, "returned float"),
            ("SELECT NULL::int" + BOUNDS, "returned nothing"),
            ("SELECT true" + BOUNDS, "returned bool"),
            ("SELECT '7'" + BOUNDS, "returned str"),
            ("SELECT -1" + BOUNDS, "nobody can be billed"),
            ("SELECT 'NaN'::numeric" + BOUNDS, "nobody can be billed"),
            ("SELECT 1, 2" + BOUNDS, "one row with one column"),
            ("SELECT 1" + BOUNDS + " WHERE false", "one row with one column"),
            ("SELECT generate_series(1, 2)" + BOUNDS, "one row with one column"),
            ("SELECT 1" + BOUNDS + "; DELETE FROM member", "multiple commands"),
            ("SELECT 1 / 0" + BOUNDS, "division by zero"),
            ("SELECT nothing_here" + BOUNDS, "does not exist"),
        ],
    )
    def test_that_gives_no_number_is_a_failure_and_never_zero(
        self, workspace: Workspace, sql: str, why: str
    ) -> None:
        taken, failed = read(workspace, query(sql), query(BIG, "other"))
        assert [each.meter for each in taken] == ["other"]
        assert [each.meter for each in failed] == ["big_files"]
        assert why in failed[0].why

    @pytest.mark.parametrize(
        ("sql", "why"),
        [
            ("WITH gone AS (DELETE FROM drawing RETURNING 1) SELECT count(*) FROM gone", ""),
            ("INSERT INTO plan_limit (key, value) VALUES ('seats', 9) RETURNING 1", ""),
            ("SELECT count(*) FROM pg_authid", "permission denied"),
            ("SELECT count(password_hash) FROM member", "permission denied"),
            ("SELECT count(*) FROM alembic_version", "permission denied"),
            ("SELECT count(*) FROM pg_read_file('/etc/passwd')", "permission denied"),
            ("SELECT count(*) FROM pg_ls_dir('/')", "permission denied"),
            ("SELECT lo_creat(-1)", "read-only"),
            ("SELECT length(set_config('transaction_read_only', 'off', false))", "read-write"),
            ("CREATE TABLE mine (a int)", "permission denied|read-only"),
            ("SELECT nextval('seat_event_id_seq')", "permission denied|read-only"),
        ],
    )
    def test_can_neither_write_nor_look_where_it_may_not(
        self, workspace: Workspace, now: datetime, sql: str, why: str
    ) -> None:
        import re

        upload(workspace, now, 50)
        place_bounds = " /* :day_start :day_end */"
        # Bound inside a comment they would not be sent: the query compares them as well.
        if sql.startswith("SELECT"):
            sql += " WHERE" if " FROM " in sql else " FROM (SELECT) AS none WHERE"
            sql += " CAST(:day_start AS timestamptz) < CAST(:day_end AS timestamptz)"
        else:
            sql += place_bounds
        taken, failed = read(workspace, query(sql))
        assert taken == []
        assert re.search(why or "permission denied|read-only|parameter", failed[0].why), failed
        with workspace.session() as session:
            assert session.scalar(text("SELECT count(*) FROM drawing")) == 1
            assert session.scalar(text("SELECT value FROM plan_limit WHERE key = 'seats'")) == 5

    def test_is_stopped_when_it_takes_too_long(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hasty = settings().model_copy(update={"tenant_statement_timeout_seconds": 1})
        monkeypatch.setattr(databases, "settings", lambda: hasty)
        slow = query("SELECT count(pg_sleep(30))" + BOUNDS)
        taken, failed = read(workspace, slow, days=[DAY, DAY + timedelta(days=1)])
        assert taken == []
        assert "statement timeout" in failed[0].why
        assert failed[1].why == "waits: too slow"


class TestTheDay:
    def test_stays_open_while_a_query_fails_and_closes_when_it_is_mended(
        self, workspace: Workspace, now: datetime
    ) -> None:
        declare(now, query("SELECT 1 / 0" + BOUNDS))
        clock.set_now(now + timedelta(days=1))
        with control_session() as session:
            metering.due_days(control_session=session, now=clock.now())
        step.STEP.work()
        with control_session() as session:
            row = session.scalars(select(MeteringDay)).one()
            assert (row.done_at, row.attempts) == (None, 1)
            assert "big_files: DivisionByZero" in str(row.last_error)
            read_by = set(session.scalars(select(Reading.meter)))
        assert read_by == {
            *("seats", "seats_named", "seats_active", "storage_gb_days", "files_added")
        }
        declare(now, query("SELECT 7" + BOUNDS))
        with control_session() as session:
            metering.read_again(control_session=session, start=DAY, end=DAY + timedelta(days=1))
        step.STEP.work()
        with control_session() as session:
            assert session.scalars(select(MeteringDay)).one().done_at is not None
            quantity = session.scalar(select(Reading.quantity).filter_by(meter="big_files"))
        assert quantity == 7


class TestSeats:
    def test_named_peak_and_active_are_three_numbers(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with workspace.session() as session:
            guest = members.invite(
                tenant_session=session, email="g@customer.example", name="손님",
                role="member", actor=BY, now=now,
            ).id  # fmt: skip
        with workspace.session() as session:
            members.note_act(tenant_session=session, member_id=guest, now=now)
            members.note_act(tenant_session=session, member_id=guest, now=now)
            members.deactivate(
                tenant_session=session, member_id=guest, actor=BY, now=now + timedelta(hours=1)
            )
        with control_session() as session:
            order = metering.begin(
                control_session=session, tenant_id=workspace.tenant_id, days=[DAY]
            )
        taken = {each.meter: each.quantity for each in metering.perform(order)}
        assert (taken["seats"], taken["seats_named"], taken["seats_active"]) == (2, 1, 1)
        upload(workspace, now, 10)
        taken = {each.meter: each.quantity for each in metering.perform(order)}
        assert taken["seats_active"] == 2

    def test_of_a_database_that_never_wrote_activity_down_are_not_zero(
        self, workspace: Workspace
    ) -> None:
        from tests.conftest import administrator

        with control_session() as session:
            order = metering.begin(
                control_session=session, tenant_id=workspace.tenant_id, days=[DAY]
            )
        with administrator(order.place.database) as connection:
            connection.execute("DROP TABLE member_activity")
        assert "seats_active" not in {each.meter for each in metering.perform(order)}
