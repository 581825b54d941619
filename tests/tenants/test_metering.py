from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text

from app.base import clock
from app.base.audit import Actor
from app.base.db import control_session
from jobs import metering as step
from tenants import databases, drawings, members, metering
from tenants.models import MeteringDay, Reading, Tenant
from tenants.replay import Change, bounds, read_days
from tests.workspaces import Workspace, make_workspace

BY = Actor("member", "tests")
GB = 10**9
PDF = b"%PDF-1.7\n"


def seoul(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC) - timedelta(hours=9)


def values(taken: Any, meter: str) -> dict[date, Decimal]:
    return {reading.day: reading.quantity for reading in taken if reading.meter == meter}


class TestReplay:
    def read(self, days: list[date], timezone: str = "Asia/Seoul", **given: Any) -> list[Any]:
        empty: dict[str, Any] = {
            "seats_before": 0,
            "seat_changes": [],
            "bytes_before": 0,
            "storage_changes": [],
        }
        return list(read_days(days=days, timezone=timezone, **(empty | given)))

    def test_sees_a_peak_within_the_day_and_carries_the_level_over_days(self) -> None:
        changes = [
            Change(1, seoul(10, 9), 1),
            Change(2, seoul(10, 9, 30), 1),
            Change(3, seoul(10, 10), -1),
            Change(4, seoul(10, 11), -1),
            Change(5, seoul(12, 0), -1),
        ]
        days = [date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 12)]
        taken = self.read(days, seats_before=3, seat_changes=changes)
        assert list(values(taken, "seats").values()) == [5, 3, 3]

    def test_counts_an_event_at_midnight_to_the_day_that_begins(self) -> None:
        changes = [Change(1, seoul(11, 0), 1)]
        taken = self.read([date(2026, 3, 10), date(2026, 3, 11)], seat_changes=changes)
        assert list(values(taken, "seats").values()) == [0, 1]

    def test_weighs_bytes_by_the_time_that_they_were_held(self) -> None:
        changes = [
            Change(1, seoul(10, 6), GB, counts=True),
            Change(2, seoul(10, 18), -GB),
            Change(3, seoul(11, 8), 3 * GB, counts=True),
        ]
        days = [date(2026, 3, 10), date(2026, 3, 11), date(2026, 3, 12)]
        taken = self.read(days, bytes_before=2 * GB, storage_changes=changes)
        assert list(values(taken, "storage_gb_days").values()) == [
            Decimal("2.5"),
            Decimal("4"),
            Decimal("5"),
        ]
        assert list(values(taken, "files_added").values()) == [1, 1, 0]

    def test_rounds_to_twelve_places_once(self) -> None:
        taken = self.read(
            [date(2026, 3, 10)], storage_changes=[Change(1, seoul(10, 8), 1, counts=True)]
        )
        assert values(taken, "storage_gb_days") == {date(2026, 3, 10): Decimal("0.000000000667")}

    def test_skips_days_that_are_not_asked_for_but_not_their_events(self) -> None:
        changes = [Change(1, seoul(11, 5), 4), Change(2, seoul(11, 6), -1)]
        taken = self.read([date(2026, 3, 10), date(2026, 3, 12)], seat_changes=changes)
        assert list(values(taken, "seats").values()) == [0, 3]

    @pytest.mark.parametrize(
        ("timezone", "day", "hours"),
        [
            ("America/New_York", date(2026, 3, 8), 23),
            ("America/New_York", date(2026, 11, 1), 25),
            ("Asia/Beirut", date(2026, 3, 29), 23),  # midnight itself is skipped
            ("America/Havana", date(2026, 11, 1), 25),  # midnight itself comes twice
            ("Asia/Seoul", date(2026, 3, 10), 24),
        ],
    )
    def test_knows_how_long_each_day_is_and_days_always_meet(
        self, timezone: str, day: date, hours: int
    ) -> None:
        start, end = bounds(day, timezone)
        assert end - start == timedelta(hours=hours)
        assert bounds(day - timedelta(days=1), timezone)[1] == start
        assert bounds(day + timedelta(days=1), timezone)[0] == end
        held = self.read([day], timezone, bytes_before=GB)
        assert values(held, "storage_gb_days") == {day: 1}

    def test_gives_other_evidence_for_other_events_with_the_same_result(self) -> None:
        days = [date(2026, 3, 10)]
        quiet = self.read(days, seats_before=3)
        busy = self.read(
            days,
            seats_before=3,
            seat_changes=[Change(1, seoul(10, 9), -1), Change(2, seoul(10, 10), 1)],
        )
        assert values(quiet, "seats") == values(busy, "seats")
        assert quiet[0].evidence_sha256 != busy[0].evidence_sha256


@pytest.fixture
def workspace(scenario: Any, now: datetime) -> Workspace:
    return make_workspace(now=now)


def live(workspace: Workspace, now: datetime) -> None:
    """Two seats more for an hour on the second day, a file from the third day's noon."""
    invited = []
    for number in range(2):
        with workspace.session() as session:
            invited.append(
                members.invite(
                    tenant_session=session,
                    email=f"m{number}@customer.example",
                    name="구성원",
                    role="member",
                    actor=BY,
                    now=now + timedelta(days=1),
                ).id
            )
    for member_id in invited:
        with workspace.session() as session:
            members.deactivate(
                tenant_session=session,
                member_id=member_id,
                actor=BY,
                now=now + timedelta(days=1, hours=1),
            )
    with workspace.session() as session:
        drawings.upload(
            tenant_session=session,
            name="a.pdf",
            stream=io.BytesIO(PDF + b"x" * (500_000 - len(PDF))),
            member_id=workspace.admin_id,
            actor=BY,
            now=now + timedelta(days=2),
        )


def enumerate_days(now: datetime) -> int:
    with control_session() as session:
        return metering.due_days(control_session=session, now=now)


def rows(workspace: Workspace) -> list[tuple[Any, ...]]:
    with control_session() as session:
        return [
            (row.day, row.meter, row.quantity, row.evidence_sha256)
            for row in session.scalars(
                select(Reading)
                .where(Reading.tenant_id == workspace.tenant_id)
                .order_by(Reading.day, Reading.meter)
            )
        ]


class TestDays:
    def test_are_listed_from_the_trial_s_first_day_to_yesterday_and_once(
        self, workspace: Workspace, now: datetime
    ) -> None:
        assert enumerate_days(now) == 0
        assert enumerate_days(now + timedelta(days=4)) == 4
        assert enumerate_days(now + timedelta(days=4)) == 0
        with control_session() as session:
            days = session.scalars(select(MeteringDay.day).order_by(MeteringDay.day)).all()
        assert days == [date(2026, 3, day) for day in (10, 11, 12, 13)]

    def test_end_at_midnight_of_the_contract_s_zone(
        self, workspace: Workspace, now: datetime
    ) -> None:
        elsewhere = make_workspace(now=now, timezone="America/New_York")
        assert enumerate_days(seoul(11, 0) - timedelta(seconds=1)) == 1  # New York: yesterday
        assert enumerate_days(seoul(11, 0)) == 1
        with control_session() as session:
            assert {row.tenant_id: row.day for row in session.scalars(select(MeteringDay))} == {
                elsewhere.tenant_id: date(2026, 3, 9),
                workspace.tenant_id: date(2026, 3, 10),
            }

    def test_go_on_while_suspended_and_stop_when_the_erasure_begins(
        self, workspace: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            tenant = session.get_one(Tenant, workspace.tenant_id)
            tenant.state, tenant.suspended_at = "suspended", now
        assert enumerate_days(now + timedelta(days=1)) == 1
        with control_session() as session:
            tenant = session.get_one(Tenant, workspace.tenant_id)
            tenant.state, tenant.suspended_at = "destroying", None
        assert enumerate_days(now + timedelta(days=2)) == 0


class TestReadings:
    def test_are_the_same_rows_taken_daily_or_a_week_late_and_three_times(
        self, workspace: Workspace, now: datetime
    ) -> None:
        live(workspace, now)
        for day in range(1, 8):
            enumerate_days(now + timedelta(days=day))
            assert step.STEP.work() == 1
        daily = rows(workspace)
        with control_session() as session:
            session.execute(text("DELETE FROM reading; DELETE FROM metering_day"))
        assert enumerate_days(now + timedelta(days=7)) == 7
        assert step.STEP.work() == 7
        assert step.STEP.work() == 0
        assert rows(workspace) == daily
        for _ in range(3):
            with control_session() as session:
                order = metering.begin(
                    control_session=session,
                    tenant_id=workspace.tenant_id,
                    days=[row[0] for row in daily],
                )
            taken = metering.perform(order)
            with control_session() as session:
                metering.record(
                    control_session=session,
                    order=order,
                    taken=taken,
                    now=clock.now() + timedelta(days=30),
                )
        assert rows(workspace) == daily
        seats = {day.day: quantity for day, meter, quantity, _ in daily if meter == "seats"}
        assert seats == {10: 1, 11: 3, 12: 1, 13: 1, 14: 1, 15: 1, 16: 1}
        stored = [quantity for _, meter, quantity, _ in daily if meter == "storage_gb_days"]
        assert stored[:4] == [0, 0, Decimal("0.00025"), Decimal("0.0005")]

    def test_of_a_second_pass_keep_the_moment_of_the_first(
        self, workspace: Workspace, now: datetime
    ) -> None:
        enumerate_days(now + timedelta(days=1))
        step.STEP.work()
        with control_session() as session:
            first = session.scalars(select(Reading.taken_at)).all()
            order = metering.begin(
                control_session=session, tenant_id=workspace.tenant_id, days=[date(2026, 3, 10)]
            )
            metering.record(
                control_session=session,
                order=order,
                taken=metering.perform(order),
                now=now + timedelta(days=9),
            )
        with control_session() as session:
            assert session.scalars(select(Reading.taken_at)).all() == first

    def test_are_missing_where_a_database_refuses_and_come_once_it_opens(
        self, workspace: Workspace, now: datetime
    ) -> None:
        other = make_workspace(now=now)
        with control_session() as session:
            name = databases.placement(session, workspace.tenant_id).database
        shut(name, True)
        enumerate_days(now + timedelta(days=2))
        assert step.STEP.work() == 4
        span = {"start": date(2026, 3, 10), "end": date(2026, 3, 12)}
        with control_session() as session:
            assert metering.missing_days(
                control_session=session, tenant_id=workspace.tenant_id, **span
            ) == [date(2026, 3, 10), date(2026, 3, 11)]
            assert not metering.missing_days(
                control_session=session, tenant_id=other.tenant_id, **span
            )
            errors = session.scalars(
                select(MeteringDay.last_error).where(MeteringDay.tenant_id == workspace.tenant_id)
            ).all()
        assert all(error and "TenantDatabaseUnavailable" in error for error in errors)
        shut(name, False)
        with control_session() as session:
            session.execute(text("UPDATE metering_day SET retry_at = NULL"))
        assert step.STEP.work() == 2
        with control_session() as session:
            assert not metering.missing_days(
                control_session=session, tenant_id=workspace.tenant_id, **span
            )
            assert (
                session.scalars(
                    select(MeteringDay.last_error).where(MeteringDay.last_error.is_not(None))
                ).all()
                == []
            )

    def test_that_were_given_up_are_tried_again_the_next_day(
        self, workspace: Workspace, now: datetime
    ) -> None:
        enumerate_days(now + timedelta(days=1))
        with control_session() as session:
            session.execute(text("UPDATE metering_day SET attempts = 12"))
        assert step.STEP.work() == 0
        enumerate_days(now + timedelta(days=2))
        assert step.STEP.work() == 2

    def test_of_a_day_count_as_missing_until_every_meter_is_there(
        self, workspace: Workspace, now: datetime
    ) -> None:
        enumerate_days(now + timedelta(days=1))
        step.STEP.work()
        with control_session() as session:
            session.execute(text("DELETE FROM reading WHERE meter = 'files_added'"))
            assert metering.missing_days(
                control_session=session,
                tenant_id=workspace.tenant_id,
                start=date(2026, 3, 10),
                end=date(2026, 3, 11),
            ) == [date(2026, 3, 10)]
            found = metering.readings(
                control_session=session,
                tenant_id=workspace.tenant_id,
                start=date(2026, 3, 10),
                end=date(2026, 3, 11),
            )
        assert "files_added" not in {reading.meter for reading in found}

    def test_take_a_chunk_of_tenants_at_a_time(
        self, workspace: Workspace, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_workspace(now=now)
        enumerate_days(now + timedelta(days=3))
        one = step.settings().model_copy(update={"metering_chunk": 1})
        monkeypatch.setattr(step, "settings", lambda: one)
        assert [step.STEP.work() for _ in range(3)] == [3, 3, 0]


def shut(database: str, refuse: bool) -> None:
    from tests.conftest import administrator

    with administrator() as connection:
        connection.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS {not refuse}".encode())
