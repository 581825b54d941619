"""When a timed task is due: rules that list their moments between two others, in a time zone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Rule(Protocol):
    """Lists, oldest first, the moments in `(after, until]`, aware and in UTC."""

    def moments(self, *, after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """This function will yield each moment once."""
        ...

    @property
    def span(self) -> timedelta:
        """No two neighbouring moments are farther apart than this."""
        ...


@dataclass(frozen=True, slots=True)
class Daily:
    """Every day at a wall-clock time of the contract's zone: `Daily("00:10")`.

    A time that the clocks skip is taken as if they had not; one that comes twice, the first.
    """

    at: str
    span = timedelta(days=1, hours=3)

    def moments(self, *, after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """This function will yield one moment for each calendar day."""
        wall = time.fromisoformat(self.at)
        day = after.astimezone(zone).date() - timedelta(days=1)
        last = until.astimezone(zone).date()
        while day <= last:
            moment = datetime.combine(day, wall, tzinfo=zone).astimezone(UTC)
            if after < moment <= until:
                yield moment
            day += timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Hourly:
    """Every hour at a minute, counted in UTC, so that no hour is skipped or doubled."""

    minute: int
    span = timedelta(hours=1)

    def moments(self, *, after: datetime, until: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """This function will yield one moment for each hour; the zone plays no part."""
        del zone
        moment = after.astimezone(UTC).replace(minute=self.minute, second=0, microsecond=0)
        moment -= timedelta(hours=1)
        while moment <= until:
            if moment > after:
                yield moment
            moment += timedelta(hours=1)
