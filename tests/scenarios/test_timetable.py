"""Two schedulers over a simulated week, one of them paused half the time: each slot runs once."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from datetime import UTC, datetime

from sqlalchemy import select

from app.base import clock
from app.base.audit import AuditEvent
from app.base.db import control_session
from jobs.models import Slot
from tests.conftest import Scenario

# Each process is a node: it looks for slots and works on them, hour by hour through the week. The
# paused one sleeps through every other half day and wakes to find the rest done, or not.
NODE = """
import sys, time
from datetime import UTC, datetime, timedelta
from uuid import UUID
from app.base.audit import SYSTEM, append
from app.base.db import control_session
from jobs import steps, timetable
from jobs.models import Slot
from jobs.rules import Daily, Hourly

name, paused = sys.argv[1], sys.argv[2] == "paused"

def task(task_name):
    def run(due_at, now):
        with control_session() as session:
            append(control_session=session, actor=SYSTEM, action=task_name, subject_kind="slot",
                subject_id=due_at.isoformat(), now=now, why=name)
    return run

entries = (
    timetable.Entry("daily", Daily("00:10"), True, task("daily")),
    timetable.Entry("hourly", Hourly(5), True, task("hourly")),
)
begin = datetime(2026, 3, 1, tzinfo=UTC)
for hour in range(7 * 24 + 1):
    if paused and (hour // 12) % 2:
        continue
    now = begin + timedelta(hours=hour, minutes=5)
    with control_session() as session:
        timetable.enumerate_slots(control_session=session, now=now, entries=entries)
    while steps.settle_each(step="timetable", model=Slot, due=Slot.done_at.is_(None),
            perform_one=lambda key: timetable.run_slot(key, entries=entries), limit=3,
            order_by=Slot.due_at):
        pass
print("done")
"""


def test_each_slot_runs_once(scenario: Scenario) -> None:
    clock.set_now(datetime(2026, 3, 10, tzinfo=UTC))
    nodes = [
        scenario.run_python(NODE, "steady", "running"),
        scenario.run_python(NODE, "sleepy", "paused"),
    ]
    for node in nodes:
        output, errors = finish(node)
        assert output.strip() == "done", errors
    with control_session() as session:
        written = select(AuditEvent.action, AuditEvent.subject_id)
        runs = Counter(
            (action, moment)
            for action, moment in session.execute(written.where(AuditEvent.subject_kind == "slot"))
        )
        slots = session.execute(select(Slot.task, Slot.due_at, Slot.done_at)).all()
        who = set(session.scalars(select(AuditEvent.why).where(AuditEvent.subject_kind == "slot")))
    assert {run: count for run, count in runs.items() if count > 1} == {}
    assert all(slot.done_at is not None for slot in slots)
    counted = Counter(slot.task for slot in slots)
    assert counted == Counter(hourly=7 * 24 + 1, daily=8), json.dumps(counted)
    assert set(runs) == {(slot.task, slot.due_at.isoformat()) for slot in slots}
    assert who == {"steady", "sleepy"}, "both nodes took part"


def finish(node: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return node.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        node.kill()
        raise
