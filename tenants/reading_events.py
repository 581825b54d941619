"""What a reading was made from: one day's events in a tenant's own database, page by page.

Each page also says whether replaying the day gives the reading that is stored: the fingerprint
covers every event of the day, shown here or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, literal, select
from sqlalchemy.orm import Session

from app.base.errors import NotFound
from tenants import databases, metering, replay
from tenants.databases import TenantSession
from tenants.models import Reading
from tenants.schema import SeatEvent, StorageEvent

BYTES, SEATS = "bytes", "seats"
_TABLES = {"seats": SEATS, "storage_gb_days": BYTES, "files_added": BYTES}


class NoEventsKept(NotFound):
    """The meter is read in another way than from events of ours, or the day was never read."""


@dataclass(frozen=True, slots=True)
class ReadingEvent:
    """One change: seats or bytes more or fewer, and how many there were after it."""

    at: datetime
    kind: str
    delta: int
    after: int


@dataclass(frozen=True, slots=True)
class DayEvents:
    """A page of a day's events; `agrees` tells whether all of them give the stored reading."""

    reading: Reading
    unit: str
    events: list[ReadingEvent]
    count: int
    agrees: bool


def of_day(
    *,
    control_session: Session,
    tenant_id: UUID,
    meter: str,
    day: date,
    page: int,
    page_size: int,
) -> DayEvents:
    """This function will list a page (from 1) of the events behind one reading.

    Raises: NoEventsKept; NoDatabase once the tenant's data is erased; TenantDatabaseUnavailable.
    """
    reading = control_session.get(Reading, (tenant_id, meter, day))
    if reading is None or meter not in _TABLES:
        raise NoEventsKept("This reading has no events of ours behind it.")
    order = metering.begin(control_session=control_session, tenant_id=tenant_id, days=[day])
    start, end = replay.bounds(day, order.timezone)
    with databases.tenant_session(order.place) as session:
        count, events = _page(session, meter, (start, end), (page - 1) * page_size, page_size)
    replayed = next(each for each in metering.perform(order) if each.meter == meter)
    return DayEvents(
        reading=reading,
        unit=_TABLES[meter],
        events=events,
        count=count,
        agrees=(replayed.quantity, replayed.evidence_sha256)
        == (reading.quantity, reading.evidence_sha256),
    )


def _page(
    session: TenantSession, meter: str, within: tuple[datetime, datetime], skip: int, most: int
) -> tuple[int, list[ReadingEvent]]:
    table: type[SeatEvent] | type[StorageEvent] = SeatEvent if meter == "seats" else StorageEvent
    wanted = (
        select(SeatEvent.at, literal("seat"), SeatEvent.delta, SeatEvent.seats_after)
        if meter == "seats"
        else select(
            StorageEvent.at, StorageEvent.kind, StorageEvent.delta_bytes, StorageEvent.bytes_after
        )
    )
    those = [table.at >= within[0], table.at < within[1]]
    if meter == "files_added":
        those.append(StorageEvent.kind == "upload")
    count = session.scalars(select(func.count()).select_from(table).where(*those)).one()
    rows = session.execute(
        wanted.where(*those).order_by(table.at, table.id).offset(skip).limit(most)
    )
    return count, [ReadingEvent(at, kind, delta, after) for at, kind, delta, after in rows]
