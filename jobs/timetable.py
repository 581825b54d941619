"""The whole schedule on one screen, and the slots that make each moment of it happen once.

The table names moments of the contract's time zone by the application clock. Due moments become
rows (`slot`), inserted by whichever node looks first; each row is then leased, run and marked
done by a worker. So two schedulers double nothing, a night without any loses nothing, and a test
clock that jumps two months plays them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import control_session, notify
from jobs import housekeeping, tasks
from jobs.models import Slot
from jobs.rules import Daily, Hourly, Rule
from jobs.steps import Step, anything_due, settle_each

log = structlog.get_logger(__name__)

SLOTS_AT_ONCE = 50
# More missed moments of one task than this are a clock gone wild, not a backlog.
BACKLOG_MAX = 400


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the timetable.

    `replay` says whether each missed moment is run (because its date matters), or only the
    latest (because the task looks at everything anyway). `run(due_at, now)` opens its own
    transactions; `due_at` is the business moment, `now` the application clock.
    """

    task: str
    rule: Rule
    replay: bool
    run: Callable[[datetime, datetime], None]


TIMETABLE: tuple[Entry, ...] = (
    # Task                  When                Each one missed?  What
    Entry("metering_days", Daily("00:10"), True, tasks.list_metering_days),
    Entry("trials", Hourly(5), False, tasks.wake("lifecycle")),
    Entry("billing", Hourly(15), False, tasks.wake("invoicing")),
    Entry("quotas", Hourly(10), False, tasks.wake("quotas")),
    Entry("revenue", Daily("00:20"), True, tasks.recognise_revenue),
    Entry("credits", Daily("00:30"), False, tasks.lapse_credits),
    Entry("settlements", Daily("06:00"), True, tasks.ask_for_settlements),
    Entry("dunning", Hourly(20), False, tasks.wake("dunning")),
    Entry("tax_evidence", Daily("09:00"), False, tasks.wake("evidence")),
    Entry("tax_deadlines", Daily("09:05"), False, tasks.tell_tax_deadlines),
    Entry("businesses", Daily("04:00"), False, tasks.ask_about_businesses),
    Entry("reconciliation", Hourly(40), False, tasks.report_strays),
    Entry("unpaid_unknown", Hourly(50), False, tasks.wake("payment")),
    Entry("visit_partitions", Daily("02:00"), False, tasks.keep_visit_partitions),
    Entry("event_partitions", Daily("02:10"), False, tasks.keep_event_partitions),
    Entry("erasures", Daily("03:00"), False, tasks.erase_overdue_applications),
    Entry("housekeeping", Daily("03:30"), False, housekeeping.keep_house),
)


def enumerate_slots(
    *,
    control_session: Session,
    now: datetime,
    entries: Sequence[Entry] = TIMETABLE,
) -> int:
    """This function will write down every moment that came due since the last one known.

    It returns how many were new. At the very first look a task starts with its latest moment.
    A clock set backwards adds nothing: what was done stays done.
    """
    zone = ZoneInfo(settings().contract_timezone)
    latest = _latest(control_session, [entry.task for entry in entries])
    missed = []
    for entry in entries:
        known = latest.get(entry.task)
        after = known or now - entry.rule.span
        if after >= now:
            continue
        moments = list(entry.rule.moments(after=after, until=now, zone=zone))
        keep = BACKLOG_MAX if entry.replay and known else 1
        if entry.replay and len(moments) > keep and known:
            log.warning("slots.dropped", task=entry.task, dropped=len(moments) - keep)
        missed += [{"task": entry.task, "due_at": moment} for moment in moments[-keep:]]
    if not missed:
        return 0
    new = control_session.execute(
        insert(Slot)
        .values(missed)
        .on_conflict_do_nothing(index_elements=["task", "due_at"])
        .returning(Slot.id)
    ).all()
    if new:
        notify(control_session, STEP.name)
    return len(new)


def _latest(control_session: Session, task_names: list[str]) -> dict[str, datetime]:
    """The newest slot of each task, one descent of the index each: this runs every second."""
    found = control_session.execute(
        text(
            "SELECT task, (SELECT max(due_at) FROM slot WHERE slot.task = wanted.task)"
            " FROM unnest(CAST(:tasks AS text[])) AS wanted (task)"
        ),
        {"tasks": task_names},
    )
    return {task: at for task, at in found if at is not None}


def run_slot(slot_id: UUID, *, entries: Sequence[Entry] = TIMETABLE) -> None:
    """This function will run one leased slot and mark it done.

    A slot of a task that is no longer in the table is closed unrun.
    """
    with control_session() as session:
        slot = session.get_one(Slot, slot_id)
        task, due_at, done = slot.task, slot.due_at, slot.done_at is not None
    entry = next((one for one in entries if one.task == task), None)
    if done:
        return
    if entry is None:
        log.warning("slot.of_no_task", task=task)
    else:
        entry.run(due_at, clock.now())
    with control_session() as session:
        session.get_one(Slot, slot_id).done_at = clock.now()


def _due(control_session: Session, now: datetime) -> bool:
    del now  # a slot is written down when it is due, never before
    return anything_due(control_session, Slot, _OPEN)


def _work() -> int:
    return settle_each(
        step=STEP.name,
        model=Slot,
        due=_OPEN,
        perform_one=run_slot,
        limit=SLOTS_AT_ONCE,
        order_by=Slot.due_at,
    )


_OPEN = Slot.done_at.is_(None)
STEP = Step(name="timetable", queue="default", due=_due, work=_work)
