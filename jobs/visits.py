"""Visit: what the pages left in the buffer is written to the database in bulk."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import structlog
from redis import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.base.db import control_session
from jobs.steps import Step
from jobs.wakeups import valkey
from tenants import visits
from tenants.visits import BUFFER, VisitRecord, VisitUnreadable

log = structlog.get_logger(__name__)

CHUNK = 1_000
# Any number that no other advisory lock of ours uses: one worker empties the buffer at a time.
_ONE_AT_A_TIME = 0x7669736974


def due(_control_session: Session, _now: datetime) -> bool:
    """This function will tell whether visits wait in the buffer; without Valkey none do."""
    try:
        return bool(valkey().exists(BUFFER))
    except RedisError:
        return False


def drain() -> int:
    """This function will write a chunk of the buffer and then cut it off the buffer.

    Written before it is cut: killed in between, the same records come again and are skipped by
    their ids. Two drains at once would cut what only one had read, so a lock lets one through.
    """
    with control_session() as guard:
        if not guard.scalar(select(func.pg_try_advisory_xact_lock(_ONE_AT_A_TIME))):
            return 0
        try:
            lines = valkey().lrange(BUFFER, 0, CHUNK - 1)
            records = _read(lines)
            _store(records)
            if lines:
                valkey().ltrim(BUFFER, len(lines), -1)
        except RedisError as error:
            log.warning("visits.buffer_away", error=type(error).__name__)
            return 0
    return len(lines)


def _read(lines: Sequence[bytes | str]) -> list[VisitRecord]:
    records = []
    for line in lines:
        try:
            records.append(VisitRecord.from_json(json.loads(line)))
        except (VisitUnreadable, ValueError):
            log.warning("visits.unreadable", length=len(line))
    return records


def _store(records: Sequence[VisitRecord]) -> None:
    try:
        with control_session() as session:
            visits.store(control_session=session, records=records)
    except DataError:
        if len(records) == 1:
            log.warning("visits.refused", visit_id=str(records[0].id))
            return
        # One record that the database can't take must not keep the others in the buffer.
        for record in records:
            _store([record])


STEP = Step(name="visits", queue="default", due=due, work=drain)
