"""The stage: a whole system of its own, its clock, and the wait until it has nothing left to do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Select, exists, func, or_, select
from sqlalchemy.orm import Session

from app.base import clock, secrets
from app.base.config import settings
from app.base.db import Base, close_connections, control_session
from app.base.leases import Leased
from app.cli.demo.browser import DidNotWork
from app.embedded.system import System, start_system
from jobs.models import Slot
from jobs.registry import all_steps

# The road is the same; only waiting is shorter, so that two months hold the whole story.
SETTINGS = {
    "TENANTRY_RETENTION_DAYS": "30",
    "TENANTRY_GATEWAY_READ_TIMEOUT_SECONDS": "2",
    "TENANTRY_SWEEP_SECONDS": "1",
}
# A Monday morning in Seoul; the story is the same on whatever day it is played.
BEGINNING = datetime(2026, 3, 2, 0, 30, tzinfo=UTC)
PATIENCE_SECONDS = 60.0
POLL_SECONDS = 0.05


class Stage:
    """The system that the demonstration plays on; it lives in a scratch folder."""

    def __init__(self, directory: Path) -> None:
        # The clock is set before anything looks at it: a timetable never runs backwards.
        _read_settings({"TENANTRY_VAR_DIR": str(directory), "TENANTRY_ENVIRONMENT": "demo"})
        clock.set_now(BEGINNING)
        self.system: System = start_system(directory, settings_of_its_own=SETTINGS)
        # From here on this process reads the scratch system's settings: its clock and its rows.
        _read_settings(self.system.environment)

    @property
    def site(self) -> str:
        """The address of the pages."""
        return self.system.addresses["site"]

    def set_clock(self, moment: datetime) -> None:
        """This function will move the application clock."""
        clock.set_now(moment)

    def days_later(self, days: int, *, hour: int = 9) -> None:
        """This function will move on to an hour of a later day in Seoul and let all settle."""
        zone = ZoneInfo(settings().contract_timezone)
        local = clock.now().astimezone(zone) + timedelta(days=days)
        self.set_clock(local.replace(hour=hour, minute=30, second=0).astimezone(UTC))
        self.settle()

    def settle(self) -> None:
        """This function will wait until no step has anything due and no slot is open.

        Raises: DidNotWork naming what is still due when patience ends.
        """
        # The timetable looks at the clock about once a second: let it see the new time first.
        seen = clock.now()
        self.wait(lambda: _slots_known(seen), "the timetable")
        quiet = 0
        deadline = time.monotonic() + PATIENCE_SECONDS
        while quiet < 3:
            with control_session() as session:
                busy = next(_due(session), None)  # one is enough to know that it is not over
                if busy and time.monotonic() > deadline:
                    due = ", ".join(_due(session))
                    raise DidNotWork(f"still due after {PATIENCE_SECONDS:.0f} s: {due or busy}")
            quiet = 0 if busy else quiet + 1
            time.sleep(POLL_SECONDS)

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """This function will wait for something.

        Raises: DidNotWork naming it when patience ends.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not ready():
            if time.monotonic() > deadline:
                raise DidNotWork(f"{what} did not come within {PATIENCE_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)


def _read_settings(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    settings.cache_clear()
    secrets.forget()
    close_connections()


def _slots_known(moment: datetime) -> bool:
    """The newest hourly slot lies less than an hour (and a little) back."""
    with control_session() as session:
        newest = session.scalar(select(Slot.due_at).order_by(Slot.due_at.desc()).limit(1))
    return newest is not None and moment - newest < timedelta(minutes=61)


def _due(session: Session) -> Iterator[str]:
    """What is in somebody's hands or waiting to be tried again, then what is due."""
    for table, busy in session.execute(_leases()).mappings().one().items():
        if busy:
            yield str(table)
    now = clock.now()
    for step in all_steps().values():
        if step.due(session, now):
            yield step.name


def _leases() -> Select[Any]:
    """Of each table with leases: whether one is held, or a pause lasts."""
    later = func.clock_timestamp()
    tables: list[Any] = [
        mapper.class_ for mapper in Base.registry.mappers if issubclass(mapper.class_, Leased)
    ]
    held: list[Any] = [
        exists()
        .where(or_(table.lease_until > later, table.retry_at > later))
        .label(table.__tablename__)
        for table in tables
    ]
    return select(*held)
