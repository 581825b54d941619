"""Metering: each tenant's day is read once it is over, by replay of what its database wrote down.

A reading is the value computed from append-only events, so it comes out the same however often or
late it is taken. A day without a reading is missing; it never counts as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, bindparam, cast, func, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.base.config import settings
from app.base.db import notify
from tenants import databases, meters, replay, sql_meters
from tenants.databases import Placement, TenantSession
from tenants.meter_definitions import MeterDefinition
from tenants.models import LIVE_STATES, METERS, MeteringDay, Reading, Tenant
from tenants.replay import Act, Change, DayReading
from tenants.schema import MemberActivity, SeatEvent, StorageEvent
from tenants.sql_meters import Failure

# The tenants stay locked until the days are committed: an erasure that begins meanwhile throws
# them away, and one that began before leaves no tenant to list days of.
_EVERY_DAY = """
WITH living AS MATERIALIZED (
    SELECT id, timezone, trial_starts_at FROM tenant
    WHERE trial_starts_at IS NOT NULL AND state = ANY(:live)
    ORDER BY id FOR SHARE
)
INSERT INTO metering_day (tenant_id, day)
SELECT t.id, (first.day + offset_days)::date
FROM living t
CROSS JOIN LATERAL (
    SELECT coalesce(
        (SELECT max(m.day) + 1 FROM metering_day m WHERE m.tenant_id = t.id),
        (t.trial_starts_at AT TIME ZONE t.timezone)::date
    ) AS day
) first
CROSS JOIN LATERAL generate_series(
    0, (CAST(:now AS timestamptz) AT TIME ZONE t.timezone)::date - 1 - first.day
) offset_days
ON CONFLICT DO NOTHING
"""

# Listed or not, each day up to the last that was listed: what is done is done.
_DAYS_BETWEEN = """
INSERT INTO metering_day (tenant_id, day)
SELECT t.id, day::date
FROM tenant t
CROSS JOIN LATERAL generate_series(
    (t.trial_starts_at AT TIME ZONE t.timezone)::date,
    (SELECT max(m.day) FROM metering_day m WHERE m.tenant_id = t.id), interval '1 day') day
WHERE t.id = :tenant_id
ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Order:
    """Days of one tenant that are to be read; holds no connection."""

    tenant_id: UUID
    place: Placement
    timezone: str
    days: tuple[date, ...]  # rising
    queries: tuple[MeterDefinition, ...] = ()


def due_days(*, control_session: Session, now: datetime) -> int:
    """This function will write down every day that is over and not yet listed, of every tenant.

    A day counts from the trial's start for as long as the database exists, suspended or not. Days
    that gave up after too many tries are tried again. It returns how many days are new.
    """
    new = control_session.execute(
        text(_EVERY_DAY), {"now": now, "live": list(LIVE_STATES)}
    ).rowcount  # type: ignore[attr-defined]  # an INSERT's result
    control_session.execute(
        update(MeteringDay)
        .where(MeteringDay.done_at.is_(None), MeteringDay.attempts >= settings().work_attempts_max)
        .values(attempts=0, retry_at=None)
        .execution_options(synchronize_session=False)
    )
    return int(new)


def list_between(*, control_session: Session, tenant_id: UUID) -> None:
    """This function will list the days of a tenant anew that were thrown away unread.

    Those after the last that is listed are `due_days`'.
    """
    control_session.execute(text(_DAYS_BETWEEN), {"tenant_id": tenant_id})


def due_condition(*, tenants_max: int | None = None) -> ColumnElement[bool]:
    """This function will return the condition that a day waits to be read.

    With `tenants_max` only the days of so many tenants: all of one tenant's are read together.
    """
    waits = MeteringDay.done_at.is_(None)
    if tenants_max is None:
        return waits
    chosen = (
        select(MeteringDay.tenant_id)
        .where(
            waits,
            or_(
                MeteringDay.lease_until.is_(None),
                MeteringDay.lease_until < func.clock_timestamp(),
            ),
            or_(MeteringDay.retry_at.is_(None), MeteringDay.retry_at <= func.clock_timestamp()),
            MeteringDay.attempts < settings().work_attempts_max,
        )
        .distinct()
        .limit(tenants_max)
    )
    return waits & MeteringDay.tenant_id.in_(chosen)


def begin(*, control_session: Session, tenant_id: UUID, days: Sequence[date]) -> Order:
    """This function will find where a tenant's days are to be read.

    Raises: NoSuchTenant, NoDatabase.
    """
    place = databases.placement(control_session, tenant_id)
    timezone = control_session.scalars(select(Tenant.timezone).where(Tenant.id == tenant_id)).one()
    queries = tuple(
        each
        for each in meters.current(control_session=control_session).values()
        if each.source == "sql"
    )
    return Order(tenant_id, place, timezone, tuple(sorted(set(days))), queries)


def perform(order: Order) -> list[DayReading]:
    """This function will replay the tenant's events over all of its days; control is not asked.

    Raises: TenantDatabaseUnavailable.
    """
    if not order.days:
        return []
    start = replay.bounds(order.days[0], order.timezone)[0]
    end = replay.bounds(order.days[-1], order.timezone)[1]
    with databases.tenant_session(order.place) as session:
        return list(
            replay.read_days(
                days=order.days,
                timezone=order.timezone,
                seats_before=_sum_before(session, SeatEvent.at, SeatEvent.delta, start),
                seat_changes=_seat_changes(session, start, end),
                bytes_before=_sum_before(session, StorageEvent.at, StorageEvent.delta_bytes, start),
                storage_changes=_storage_changes(session, start, end),
                acts=_acts(session, start, end),
            )
        )


def query(order: Order) -> tuple[list[DayReading], list[Failure]]:
    """This function will read the tenant's days by every declared query; control is not asked.

    Raises: TenantDatabaseUnavailable.
    """
    return sql_meters.read_days(
        place=order.place,
        definitions=order.queries,
        days=order.days,
        timezone=order.timezone,
    )


def _sum_before(
    session: TenantSession,
    at: InstrumentedAttribute[datetime],
    delta: InstrumentedAttribute[int],
    start: datetime,
) -> int:
    total = cast(func.coalesce(func.sum(delta), 0), BigInteger)
    return session.scalars(select(total).where(at < start)).one()


def _seat_changes(session: TenantSession, start: datetime, end: datetime) -> list[Change]:
    rows = session.execute(
        select(SeatEvent.id, SeatEvent.at, SeatEvent.delta)
        .where(SeatEvent.at >= start, SeatEvent.at < end)
        .order_by(SeatEvent.at, SeatEvent.id)
    )
    return [Change(row.id, row.at, row.delta) for row in rows]


def _storage_changes(session: TenantSession, start: datetime, end: datetime) -> list[Change]:
    rows = session.execute(
        select(StorageEvent.id, StorageEvent.at, StorageEvent.delta_bytes, StorageEvent.kind)
        .where(StorageEvent.at >= start, StorageEvent.at < end)
        .order_by(StorageEvent.at, StorageEvent.id)
    )
    return [Change(row.id, row.at, row.delta_bytes, row.kind == "upload") for row in rows]


def _acts(session: TenantSession, start: datetime, end: datetime) -> list[Act] | None:
    """None where the tenant's database is of a time before anybody wrote it down."""
    if session.scalar(text("SELECT to_regclass('member_activity')")) is None:
        return None
    rows = session.execute(
        select(MemberActivity.quarter, MemberActivity.member_id).where(
            MemberActivity.quarter >= start, MemberActivity.quarter < end
        )
    )
    return [Act(row.quarter, str(row.member_id)) for row in rows]


def record(
    *,
    control_session: Session,
    order: Order,
    taken: Sequence[DayReading],
    now: datetime,
    failed: Sequence[Failure] = (),
) -> None:
    """This function will write readings down, and mark days as read of which nothing failed.

    What is there already and reads the same stays as it is, the moment it was taken included.
    """
    incomplete = {failure.day for failure in failed}
    if taken:
        fresh = insert(Reading).values(
            [
                {
                    "tenant_id": order.tenant_id,
                    "meter": reading.meter,
                    "day": reading.day,
                    "quantity": reading.quantity,
                    "evidence_sha256": reading.evidence_sha256,
                    "taken_at": now,
                }
                for reading in taken
            ]
        )
        control_session.execute(
            fresh.on_conflict_do_update(
                index_elements=["tenant_id", "meter", "day"],
                set_={
                    "quantity": fresh.excluded.quantity,
                    "evidence_sha256": fresh.excluded.evidence_sha256,
                    "taken_at": fresh.excluded.taken_at,
                },
                where=or_(
                    Reading.quantity != fresh.excluded.quantity,
                    Reading.evidence_sha256 != fresh.excluded.evidence_sha256,
                ),
            )
        )
    control_session.execute(
        update(MeteringDay)
        .where(
            MeteringDay.tenant_id == order.tenant_id,
            MeteringDay.day.in_([day for day in order.days if day not in incomplete]),
        )
        .values(
            done_at=func.coalesce(MeteringDay.done_at, now),
            lease_until=None,
            retry_at=None,
            attempts=0,
            last_error=None,
        )
        .execution_options(synchronize_session=False)
    )


def read_again(
    *, control_session: Session, start: date, end: date, tenant_id: UUID | None = None
) -> int:
    """This function will have the days of `[start, end)` read once more, of one tenant or of all.

    For a meter that did not exist when they were read; what reads the same stays as it is.
    """
    days = update(MeteringDay).where(MeteringDay.day >= start, MeteringDay.day < end)
    if tenant_id is not None:
        days = days.where(MeteringDay.tenant_id == tenant_id)
    again = control_session.execute(
        days.values(done_at=None, attempts=0, retry_at=None).execution_options(
            synchronize_session=False
        )
    )
    notify(control_session, "metering")
    return int(again.rowcount)  # type: ignore[attr-defined]  # an UPDATE's result


_READINGS = (
    select(Reading)
    .where(
        Reading.tenant_id == bindparam("tenant"),
        Reading.day >= bindparam("first"),
        Reading.day < bindparam("until"),
    )
    .order_by(Reading.day, Reading.meter)
)


def readings(*, control_session: Session, tenant_id: UUID, start: date, end: date) -> list[Reading]:
    """This function will return every reading of `[start, end)`, by day and meter."""
    days = {"tenant": tenant_id, "first": start, "until": end}
    return list(control_session.scalars(_READINGS, days))


def missing_days(
    *, control_session: Session, tenant_id: UUID, start: date, end: date
) -> list[date]:
    """This function will list the days of `[start, end)` of which not every meter is read.

    A day that nobody has listed yet is missing as well.
    """
    read = set(
        control_session.scalars(
            select(Reading.day)
            .where(
                Reading.tenant_id == tenant_id,
                Reading.day >= start,
                Reading.day < end,
                Reading.meter.in_(METERS),
            )
            .group_by(Reading.day)
            .having(func.count() == len(METERS))
        )
    )
    every = (start + timedelta(days=place) for place in range((end - start).days))
    return [day for day in every if day not in read]
