"""Rules list their moments; slots are written down once, whoever looks and however late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import clock, leases
from app.base.config import settings
from app.base.db import control_session as commit
from jobs import timetable
from jobs.models import Slot
from jobs.rules import Daily, Hourly
from jobs.timetable import TIMETABLE, Entry, enumerate_slots
from tests.conftest import Scenario

SEOUL = ZoneInfo("Asia/Seoul")
NEW_YORK = ZoneInfo("America/New_York")
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)


def nothing(_due_at: datetime, _now: datetime) -> None:
    """A task that needs no work to be due."""


def due_at(session: Session, task: str) -> list[datetime]:
    return list(session.scalars(select(Slot.due_at).where(Slot.task == task).order_by(Slot.due_at)))


class TestRules:
    def test_a_day_of_the_contract_begins_in_its_own_zone(self) -> None:
        moments = Daily("00:10").moments(
            after=MIDNIGHT, until=MIDNIGHT + timedelta(days=2), zone=SEOUL
        )
        assert [f"{moment:%d %H:%M}" for moment in moments] == ["01 15:10", "02 15:10"]

    def test_a_moment_belongs_to_one_of_two_neighbouring_spans(self) -> None:
        edge = MIDNIGHT.replace(hour=15, minute=10)
        rule = Daily("00:10")
        before = list(rule.moments(after=edge - timedelta(days=1), until=edge, zone=SEOUL))
        after = list(rule.moments(after=edge, until=edge + timedelta(hours=1), zone=SEOUL))
        assert (before, after) == ([edge], [])

    @pytest.mark.parametrize(
        ("night", "days"),
        [(datetime(2026, 3, 6, tzinfo=UTC), 4), (datetime(2026, 10, 30, tzinfo=UTC), 4)],
    )
    def test_a_day_is_neither_lost_nor_doubled_when_clocks_change(
        self, night: datetime, days: int
    ) -> None:
        """In New York 02:30 does not exist on 8 March 2026, and 01:30 comes twice on 1 November."""
        for wall in ("01:30", "02:30"):
            moments = list(
                Daily(wall).moments(after=night, until=night + timedelta(days=days), zone=NEW_YORK)
            )
            assert len({moment.astimezone(NEW_YORK).date() for moment in moments}) == days
            assert len(moments) == days

    def test_every_hour_has_one_moment(self) -> None:
        moments = list(
            Hourly(5).moments(after=MIDNIGHT, until=MIDNIGHT + timedelta(days=1), zone=SEOUL)
        )
        assert len(moments) == 24
        assert all(moment.minute == 5 for moment in moments)


class TestSlots:
    entries = (
        Entry("each_day", Daily("00:10"), True, nothing),
        Entry("latest_hour", Hourly(0), False, nothing),
    )

    def look(self, session: Session, now: datetime) -> int:
        return enumerate_slots(control_session=session, now=now, entries=self.entries)

    def test_a_first_look_begins_with_the_latest_moment(
        self, control_session: Session, now: datetime
    ) -> None:
        assert self.look(control_session, now) == 2
        assert due_at(control_session, "each_day") == [datetime(2026, 3, 9, 15, 10, tzinfo=UTC)]

    def test_looking_again_adds_nothing(self, control_session: Session, now: datetime) -> None:
        self.look(control_session, now)
        assert self.look(control_session, now + timedelta(seconds=5)) == 0

    def test_two_months_missed_are_played_for_days_and_skipped_for_hours(
        self, control_session: Session, now: datetime
    ) -> None:
        self.look(control_session, now)
        self.look(control_session, now + timedelta(days=60))
        assert len(due_at(control_session, "each_day")) == 61
        assert len(due_at(control_session, "latest_hour")) == 2

    def test_a_clock_set_back_adds_nothing(self, control_session: Session, now: datetime) -> None:
        self.look(control_session, now)
        assert self.look(control_session, now - timedelta(days=3)) == 0

    def test_a_clock_gone_wild_is_bounded(self, control_session: Session, now: datetime) -> None:
        self.look(control_session, now)
        self.look(control_session, now + timedelta(days=365 * 30))
        assert len(due_at(control_session, "each_day")) == 1 + timetable.BACKLOG_MAX


class TestTheWholeTable:
    def test_names_each_task_once(self) -> None:
        names = [entry.task for entry in TIMETABLE]
        assert len(names) == len(set(names))

    def test_runs_through_on_an_empty_system(
        self, scenario: Scenario, set_clock: Callable[[datetime], None], now: datetime
    ) -> None:
        set_clock(now)
        with commit() as session:
            enumerate_slots(control_session=session, now=clock.now())
        while timetable.STEP.work():
            continue
        with commit() as session:
            left = session.execute(
                select(Slot.task, Slot.last_error).where(Slot.done_at.is_(None))
            ).all()
        assert left == []

    def test_gives_each_slot_of_a_week_to_one_of_two_nodes_of_which_one_sleeps_half_the_time(
        self, control_session: Session
    ) -> None:
        begins, week = datetime(2026, 3, 1, tzinfo=UTC), 7 * 24
        zone = ZoneInfo(settings().contract_timezone)
        taken: dict[str, list[UUID]] = {"steady": [], "sleepy": []}
        for hour in range(week + 1):
            now = begins + timedelta(hours=hour)
            awake = ["steady", "sleepy"] if (hour // 12) % 2 else ["steady"]
            new = [enumerate_slots(control_session=control_session, now=now) for _ in awake]
            assert new[1:] in ([], [0]), "the second to look finds all written down"
            # The one that sleeps takes a few while it is awake, and the other what is left.
            for node in reversed(awake):
                taken[node] += leases.claim(
                    control_session=control_session,
                    model=Slot,
                    due=Slot.done_at.is_(None),
                    limit=4 if node == "sleepy" else timetable.SLOTS_AT_ONCE,
                    order_by=Slot.due_at,
                )
        slots = {slot.id: slot for slot in control_session.scalars(select(Slot))}
        claimed = Counter(taken["steady"] + taken["sleepy"])
        assert set(claimed) == set(slots)
        assert set(claimed.values()) == {1}
        assert all(taken.values()), "both nodes took part"
        for entry in TIMETABLE:
            listed = list(
                entry.rule.moments(after=begins, until=begins + timedelta(hours=week), zone=zone)
            )
            found = due_at(control_session, entry.task)
            # The first look began with the latest moment before it.
            assert found[1:] == listed, entry.task
            assert found[0] <= begins
