"""Replay: from append-only events to what each meter read on a day. Pure: no database, no clock.

A day is `[start, end)` of the contract's time zone, so it may have 23 or 25 hours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from zoneinfo import ZoneInfo

BYTES_PER_GB = 10**9
# As many places as the column keeps; the half goes to the even digit, so that errors cancel out.
GB_DAYS_STEP = Decimal("1e-12")
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Change:
    """One event: seats taken or given back, or bytes stored or freed; `counts` marks an upload."""

    id: int
    at: datetime
    delta: int
    counts: bool = False


@dataclass(frozen=True, slots=True)
class DayReading:
    """What one meter read on one day, and the hash of all that it was replayed from."""

    meter: str
    day: date
    quantity: Decimal
    evidence_sha256: str


@dataclass(frozen=True, slots=True)
class Act:
    """That a member was active in the quarter of an hour that begins then."""

    quarter: datetime
    member: str


def bounds(day: date, timezone: str) -> tuple[datetime, datetime]:
    """This function will return when a day begins and ends in a time zone, in UTC.

    Where the clocks skip midnight the day begins with the first moment that exists, and where
    midnight comes twice, with the first one; neighbouring days always meet.
    """
    zone = ZoneInfo(timezone)

    def midnight(on: date) -> datetime:
        return datetime.combine(on, time(), tzinfo=zone).astimezone(UTC)

    return midnight(day), midnight(day + timedelta(days=1))


def read_days(
    *,
    days: Sequence[date],
    timezone: str,
    seats_before: int,
    seat_changes: Sequence[Change],
    bytes_before: int,
    storage_changes: Sequence[Change],
    acts: Sequence[Act] | None = None,
) -> Iterator[DayReading]:
    """This function will yield every meter of each day, in one pass over the events.

    `…_before` is what stood when the first day began; the events lie between that moment and the
    end of the last day, ordered by time and id. Days rise and may have gaps. Without `acts` nobody
    wrote down who was active, which is not the same as nobody being it.
    """
    seats, storage = _Tape(seats_before, seat_changes), _Tape(bytes_before, storage_changes)
    for day in days:
        start, end = bounds(day, timezone)
        opening, changes = seats.cut(start, end)
        peak = level = opening
        for change in changes:
            level += change.delta
            peak = max(peak, level)
        yield _reading("seats", day, Decimal(peak), opening, changes)
        yield _reading("seats_named", day, Decimal(level), opening, changes)

        opening, changes = storage.cut(start, end)
        gigabyte_days = _gigabyte_days(opening, changes, start, end)
        yield _reading("storage_gb_days", day, gigabyte_days, opening, changes)
        uploads = [change for change in changes if change.counts]
        yield _reading("files_added", day, Decimal(len(uploads)), 0, uploads)
        if acts is not None:
            yield _active(day, [act for act in acts if start <= act.quarter < end])


class _Tape:
    """Events that are read once, forwards, and the level that they have come to."""

    def __init__(self, level: int, changes: Sequence[Change]) -> None:
        self._level = level
        self._changes = changes
        self._next = 0

    def cut(self, start: datetime, end: datetime) -> tuple[int, list[Change]]:
        """This function will return the level at `start` and the changes in `[start, end)`."""
        self._take_until(start)
        opening = self._level
        return opening, self._take_until(end)

    def _take_until(self, end: datetime) -> list[Change]:
        first = self._next
        while self._next < len(self._changes) and self._changes[self._next].at < end:
            self._level += self._changes[self._next].delta
            self._next += 1
        return list(self._changes[first : self._next])


def _gigabyte_days(
    opening: int, changes: Sequence[Change], start: datetime, end: datetime
) -> Decimal:
    """Bytes by how long they were held, over the length of the day: a GB all day long is 1."""
    level, since, byte_microseconds = opening, start, 0
    for change in changes:
        byte_microseconds += level * ((change.at - since) // _MICROSECOND)
        level, since = level + change.delta, change.at
    byte_microseconds += level * ((end - since) // _MICROSECOND)
    with localcontext() as exact:
        exact.prec = 60
        share = Decimal(byte_microseconds) / ((end - start) // _MICROSECOND * BYTES_PER_GB)
        return share.quantize(GB_DAYS_STEP, rounding=ROUND_HALF_EVEN)


def _active(day: date, acts: Sequence[Act]) -> DayReading:
    """How many different members were active; the evidence is who, without when."""
    members = sorted({act.member for act in acts})
    evidence = hashlib.sha256("\n".join([f"seats_active {day}", *members]).encode())
    return DayReading("seats_active", day, Decimal(len(members)), evidence.hexdigest())


def _reading(
    meter: str, day: date, quantity: Decimal, opening: int, changes: Sequence[Change]
) -> DayReading:
    evidence = hashlib.sha256(f"{meter} {day} {opening}\n".encode())
    for change in changes:
        moment = change.at.astimezone(UTC).isoformat(timespec="microseconds")
        evidence.update(f"{change.id} {moment} {change.delta}\n".encode())
    return DayReading(meter, day, quantity, evidence.hexdigest())
