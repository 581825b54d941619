"""Rolling up: marks, chunks, several at once, and whatever is killed or planted in between."""

from __future__ import annotations

import random
import signal
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import SYSTEM
from app.base.db import control_session as commit_control
from app.base.db import usage_session as commit_usage
from jobs import rollups as step
from tenants import meters, rollup_checks, rollups, usage
from tenants.usage import Window
from tests.conftest import Scenario
from tests.tenants.counting import Used, all_kinds, count, generate, meter, store

START = datetime(2026, 3, 5, tzinfo=UTC)
END = datetime(2026, 3, 10, tzinfo=UTC)


def differences(session: Session, definitions: Any, **only: Any) -> list[Any]:
    return list(rollup_checks.differences(usage_session=session, definitions=definitions, **only))


def one(session: Session, query: str) -> Any:
    return session.scalar(text(query))


@pytest.fixture
def filled(usage_session: Session, now: datetime) -> tuple[Session, list[Any], list[Used]]:
    definitions = all_kinds()
    tenants = [ids.uuid7() for _ in range(4)]
    events = generate(random.Random(7), tenants=tenants, start=START, end=END, n=400)
    store(usage_session, events)
    while rollups.cover(usage_session=usage_session, definitions=definitions, now=now):
        pass
    usage_session.execute(text("DELETE FROM usage_mark"))
    return usage_session, definitions, events


class TestChecks:
    def test_find_nothing_where_nothing_is_wrong(self, filled: Any) -> None:
        session, definitions, _ = filled
        assert differences(session, definitions) == []
        sampled = rollup_checks.sample(usage_session=session)
        assert rollup_checks.SAMPLED <= len(sampled) <= 2 * rollup_checks.SAMPLED
        assert differences(session, definitions, segments=sampled) == []

    @pytest.mark.parametrize(
        "planted",
        [
            "UPDATE usage_rollup SET total = total + 0.000000000001 WHERE ctid IN"
            " (SELECT ctid FROM usage_rollup WHERE meter = 'units' LIMIT 1)",
            "UPDATE usage_rollup SET integral = integral + 1 WHERE ctid IN"
            " (SELECT ctid FROM usage_rollup WHERE meter = 'held' LIMIT 1)",
            "DELETE FROM usage_rollup WHERE ctid IN"
            " (SELECT ctid FROM usage_rollup WHERE meter = 'calls' LIMIT 1)",
            "UPDATE usage_rollup SET hour = hour - interval '7 days' WHERE ctid IN"
            " (SELECT ctid FROM usage_rollup WHERE meter = 'users' AND hour > '2026-03-09'"
            " LIMIT 1)",
            "UPDATE usage_value SET value_hash = uuidv7() WHERE ctid IN"
            " (SELECT ctid FROM usage_value WHERE meter = 'users' LIMIT 1)",
            "DELETE FROM usage_value WHERE ctid IN (SELECT ctid FROM usage_value LIMIT 1)",
        ],
    )
    def test_find_whatever_is_planted(self, filled: Any, planted: str) -> None:
        session, definitions, _ = filled
        tamper(session, planted)
        found = differences(session, definitions)
        assert 1 <= len(found) <= 2
        every = [rollups.Segment(each.tenant_id, each.hour, each.hour + rollups.HOUR)
                 for each in found]  # fmt: skip
        assert differences(session, definitions, segments=every) == found

    def test_wait_for_hours_that_are_marked(self, filled: Any) -> None:
        session, definitions, events = filled
        late = generate(random.Random(8), tenants=[events[0].tenant_id], start=START, end=END, n=20)
        store(session, late)
        assert differences(session, definitions) == []
        session.execute(text("DELETE FROM usage_mark"))
        assert differences(session, definitions)


def tamper(session: Session, statement: str) -> None:
    """Run a statement that changes rollups in the two steps that the runtime role is granted."""
    if statement.startswith("UPDATE"):
        table = statement.split()[1]
        columns = [
            row[0]
            for row in session.execute(
                text(
                    "SELECT column_name FROM information_schema.columns WHERE table_name = :t"
                    " ORDER BY ordinal_position"
                ),
                {"t": table},
            )
        ]
        change, where = statement.split(" SET ")[1].split(" WHERE ", 1)
        name, expression = change.split(" = ", 1)
        moved = ", ".join(expression if each == name else each for each in columns)
        statement = (
            f"WITH gone AS (DELETE FROM {table} WHERE {where} RETURNING *)"
            f" INSERT INTO {table} SELECT {moved} FROM gone"
        )
    session.execute(text(statement))


class TestCover:
    def test_goes_back_chunk_by_chunk_and_totals_never_change(
        self, usage_session: Session, now: datetime
    ) -> None:
        definitions = all_kinds()
        tenant = ids.uuid7()
        events = generate(random.Random(1), tenants=[tenant], start=START, end=END, n=200)
        store(usage_session, events)
        usage_session.execute(text("DELETE FROM usage_mark"))
        asked = [Window(tenant, each.code, START, END) for each in definitions]
        wanted = [count(each, events, tenant, start=START, end=END) for each in definitions]
        by_code = {each.code: each for each in definitions}
        left, rounds = True, 0
        while left:
            left = rollups.cover(usage_session=usage_session, definitions=definitions, now=now)
            found = usage.totals(usage_session=usage_session, meters=by_code, windows=asked)
            assert [(each.quantity, each.transactions) for each in found] == wanted
            rounds += 1
        assert rounds > 5
        assert not rollups.anything_uncovered(usage_session=usage_session, definitions=definitions)

    def test_begins_anew_with_a_version_and_forgets_the_one_before(self, filled: Any) -> None:
        session, _, events = filled
        first = meter("units", aggregation="sum")
        second = meter("units", aggregation="max")
        object.__setattr__(second, "version", 2)
        assert rollups.anything_uncovered(usage_session=session, definitions=[second])
        rollups.cover(usage_session=session, definitions=[second], now=END)
        assert one(session, "SELECT count(*) FROM usage_rollup WHERE version = 1") == 0
        while rollups.cover(usage_session=session, definitions=[second], now=END):
            pass
        assert differences(session, [second]) == []
        tenant = events[0].tenant_id
        for definition in (first, second):
            (total,) = usage.totals(
                usage_session=session,
                meters={"units": definition},
                windows=[Window(tenant, "units", START, END)],
            )
            wanted = count(definition, events, tenant, start=START, end=END)
            assert (total.quantity, total.transactions) == wanted

    def test_keeps_hours_whose_events_are_gone(self, filled: Any) -> None:
        session, definitions, events = filled
        tenant = events[0].tenant_id
        asked = [Window(tenant, each.code, START, END) for each in definitions]
        by_code = {each.code: each for each in definitions}
        before = usage.totals(usage_session=session, meters=by_code, windows=asked)
        session.execute(text("SELECT drop_event_months_before('2026-04-01')"))
        assert usage.totals(usage_session=session, meters=by_code, windows=asked) == before
        rollups.start_anew(usage_session=session)
        while rollups.cover(usage_session=session, definitions=definitions, now=END):
            pass
        assert usage.totals(usage_session=session, meters=by_code, windows=asked) == before
        assert differences(session, definitions) == []


class TestTheStep:
    def declared(self, now: datetime) -> list[Any]:
        with commit_control() as session:
            meters.declare(control_session=session, definitions=all_kinds(), actor=SYSTEM, now=now)
            return meters.counted(control_session=session)

    def test_two_beside_writers_end_with_what_the_events_come_to(
        self, scenario: Scenario, now: datetime, set_clock: Any
    ) -> None:
        set_clock(now)
        definitions = self.declared(now)
        tenants = [ids.uuid7() for _ in range(20)]
        events = generate(random.Random(3), tenants=tenants, start=START, end=END, n=3_000)
        writing = threading.Event()
        writing.set()
        failures: list[BaseException] = []

        def guarded(run: Any) -> Any:
            def inner() -> None:
                try:
                    run()
                except BaseException as error:
                    failures.append(error)

            return inner

        def write(part: int) -> Any:
            def run() -> None:
                mine = events[part::2]
                for begin in range(0, len(mine), 100):
                    with commit_usage() as session:
                        store(session, mine[begin : begin + 100])

            return run

        def work() -> None:
            while writing.is_set():
                step.STEP.work()

        writers = [threading.Thread(target=guarded(write(part))) for part in (0, 1)]
        rollers = [threading.Thread(target=guarded(work)) for _ in range(2)]
        for thread in writers + rollers:
            thread.start()
        for thread in writers:
            thread.join()
        writing.clear()
        for thread in rollers:
            thread.join()
        assert failures == []
        while step.STEP.work():
            pass
        with commit_control() as control, commit_usage() as session:
            assert not step.STEP.due(control, now)
            assert one(session, "SELECT count(*) FROM usage_mark") == 0
            assert one(session, "SELECT count(*) FROM event") == len(events)
            assert differences(session, definitions) == []

    def test_killed_before_its_commit_leaves_the_marks(
        self, scenario: Scenario, now: datetime, set_clock: Any
    ) -> None:
        set_clock(now)  # else it would cover every hour until today
        self.declared(now)
        with commit_usage() as session:
            store(session, generate(random.Random(4), tenants=[ids.uuid7()], start=START,
                                    end=END, n=50))  # fmt: skip
        code = (
            "import os, signal\n"
            "from tenants import rollups\n"
            "real = rollups.recompute\n"
            "def kill(**given):\n"
            "    real(**given)\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
            "rollups.recompute = kill\n"
            "from jobs.rollups import STEP\n"
            "STEP.work()\n"
        )
        killed = scenario.run_python(code)
        killed.communicate(timeout=60)
        assert killed.returncode == -signal.SIGKILL
        with commit_usage() as session:
            assert one(session, "SELECT count(*) FROM usage_mark") > 0
            assert one(session, "SELECT count(*) FROM usage_rollup") == 0
        while step.STEP.work():
            pass
        with commit_control() as control, commit_usage() as session:
            counted = meters.counted(control_session=control)
            assert one(session, "SELECT count(*) FROM usage_rollup") > 0
            assert differences(session, counted) == []


def test_a_duplicate_marks_nothing(usage_session: Session, now: datetime) -> None:
    tenant = ids.uuid7()
    events = generate(random.Random(5), tenants=[tenant], start=START, end=END, n=10)
    store(usage_session, events)
    usage_session.execute(text("DELETE FROM usage_mark"))
    usage_session.execute(text("INSERT INTO event SELECT * FROM event WHERE false"))
    assert one(usage_session, "SELECT count(*) FROM usage_mark") == 0
    store(usage_session, events[:1])
    assert one(usage_session, "SELECT count(*) FROM usage_mark") == 1
    assert events[0].at - one(usage_session, "SELECT hour FROM usage_mark") < timedelta(hours=1)
