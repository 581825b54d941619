"""The application clock, read by doors alone, and the real one for leases and time-outs.

In demonstrations and tests the application clock may be set: the distance from the real clock is
kept in a small file that all processes of that one machine read, so it goes on ticking from there.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from app.base.config import settings
from app.base.errors import Forbidden


class ClockIsReal(Forbidden):
    """Somebody tried to set the clock of a real installation."""


def real_now() -> datetime:
    """This function will return the time on the wall: for leases, time-outs and key windows."""
    return datetime.now(UTC)


def now() -> datetime:
    """This function will return the application's time, aware and in UTC."""
    return real_now() + _offset()


def today(now: datetime, timezone: str) -> date:
    """This function will return the calendar day of `now` in a contract's time zone."""
    return now.astimezone(ZoneInfo(timezone)).date()


def set_now(moment: datetime) -> None:
    """This function will make the application clock read `moment` and tick on from there.

    Raises: ClockIsReal outside the demo and test environments.
    """
    if not settings().clock_may_be_set:
        raise ClockIsReal("The clock can be set only where TENANTRY_ENVIRONMENT is demo or test.")
    path = _path()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_text(repr((moment - real_now()).total_seconds()))
    fresh.replace(path)


def reset() -> None:
    """This function will let the application clock follow the real one again."""
    _path().unlink(missing_ok=True)


def _offset() -> timedelta:
    if not settings().clock_may_be_set:
        return timedelta()
    try:
        return timedelta(seconds=float(_path().read_text()))
    except FileNotFoundError:
        return timedelta()


def _path() -> Path:
    return settings().var_dir / "clock"
