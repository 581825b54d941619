"""`flask bench rollup` and `live-usage`: rolling up and reading usage over very many raw events."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from app.base import installation
from app.base.db import usage_session
from tenants import live_usage, meter_definitions, rollup_checks, rollups
from tenants.meter_definitions import MeterDefinition

TENANTS = 100
DAYS = 30
EVENTS_AT_ONCE = 500_000
LIVE_LIMIT_MS = 50.0
NOW = datetime(2026, 3, 31, tzinfo=UTC)
DAY_ONE = NOW.date() - timedelta(days=DAYS)
# Three kinds of event in turn, over a month in rising order, as they would have arrived.
_EVENTS = text("""
    INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
    SELECT CAST(lpad(to_hex(n * 7919 % :tenants), 32, '0') AS uuid), 'bench-' || n,
        (ARRAY['api.call', 'render.seconds', 'disk.held'])[n % 3 + 1], at, n % 1000 / 8.0,
        jsonb_build_object('region', (ARRAY['seoul', 'busan'])[n % 2 + 1], 'size', n % 977), at
    FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) AS n
    CROSS JOIN LATERAL (SELECT CAST(:start AS timestamptz)
        + make_interval(secs => :days * 86400.0 * n / :events) AS at) AS moment
""")
_FLOOR = text("""
    SELECT count(*), sum(events), sum(quantity) FROM (
        SELECT tenant_id, type, date_bin('1 hour', at, TIMESTAMPTZ '2000-01-01 00:00:00+00'),
            count(*) AS events, sum(quantity) AS quantity
        FROM event GROUP BY 1, 2, 3 OFFSET 0) AS rolled
""")


def meters() -> list[MeterDefinition]:
    """This function will return what is counted: each kind of event once, one of them by region."""
    names = {"ko": "사용량", "en": "Usage"}
    declared = (
        {"code": "calls", "aggregation": "count", "event_type": "api.call"},
        {"code": "render", "aggregation": "sum", "event_type": "render.seconds"},
        {"code": "disk", "aggregation": "max", "event_type": "disk.held"},
    )
    return [
        meter_definitions.read({"unit": "unit", "names": names, **each}, version=1)
        for each in declared
    ]


def fill(events: int) -> None:
    """This function will store so many events of a month, in statements of a bounded size."""
    with usage_session() as session:
        session.execute(text("SELECT ensure_event_months(ARRAY[CAST(:m AS date)])"), {"m": DAY_ONE})
    for first in range(0, events, EVENTS_AT_ONCE):
        with usage_session() as session:
            session.execute(
                _EVENTS,
                {
                    "tenants": TENANTS,
                    "first": first,
                    "last": min(first + EVENTS_AT_ONCE, events) - 1,
                    "start": NOW - timedelta(days=DAYS),
                    "days": DAYS,
                    "events": events,
                },
            )
    with usage_session() as session:
        session.execute(text("DELETE FROM usage_mark"))
    _outside("VACUUM (ANALYZE) event")


def _outside(statement: str) -> None:
    """A statement that runs in no transaction, as the tables' owner."""
    with installation.usage_administrator(database=_database()) as connection:
        connection.execute(statement)


def _database() -> str:
    with usage_session() as session:
        return str(session.scalar(text("SELECT current_database()")))


def compare_rebuild(*, events: int, n: int) -> tuple[list[float], list[float]]:
    """This function will return the seconds of rebuilding all rollups, and of one GROUP BY."""
    fill(events)
    definitions = meters()
    ours, floor = [], []
    for _ in range(n):
        floor.append(_timed(lambda: _run(_FLOOR)))
        _forget()
        ours.append(_timed(lambda: _rebuild(definitions)))
    with usage_session() as session:
        wrong = list(rollup_checks.differences(usage_session=session, definitions=definitions))
    assert not wrong, f"{len(wrong)} rollups are not what the events come to"
    return ours, floor


def _forget() -> None:
    """As before the first roll: over old rows it would measure their vacuum as well."""
    with usage_session() as session:
        rollups.start_anew(usage_session=session)
    _outside("TRUNCATE usage_rollup")
    _outside("CHECKPOINT")


def _run(statement: Any) -> None:
    with usage_session() as session:
        session.execute(text("SET LOCAL work_mem = '64MB'"))  # as much as the rebuilding has
        session.execute(statement).all()


def _rebuild(definitions: list[MeterDefinition]) -> None:
    left = True
    while left:
        with usage_session() as session:
            rollups.lock_all(usage_session=session)
            left = rollups.cover(usage_session=session, definitions=definitions, now=NOW)


def _timed(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def read_live(*, events: int, n: int) -> list[tuple[str, list[float]]]:
    """This function will return the seconds of `n` looks at tenants' usage, of each kind.

    Some hours are marked meanwhile, as they always are where events arrive.
    """
    fill(events)
    definitions = meters()
    _rebuild(definitions)
    _outside("VACUUM (ANALYZE) usage_rollup")
    with usage_session() as session:
        session.execute(
            text(
                "INSERT INTO usage_mark (tenant_id, hour) SELECT DISTINCT tenant_id,"
                " date_bin('1 hour', at, TIMESTAMPTZ '2000-01-01 00:00:00+00') FROM event"
                " WHERE at >= :now - interval '2 hours'"
            ),
            {"now": NOW},
        )
    last = NOW.date() - timedelta(days=1)
    looks = (
        ("month by day", "day", DAY_ONE, "Asia/Seoul"),
        ("month by day, half-hour zone", "day", DAY_ONE, "Asia/Kolkata"),
        ("two days by hour", "hour", last - timedelta(days=1), "Asia/Seoul"),
        ("by month", "month", DAY_ONE, "Asia/Seoul"),
    )
    found = []
    for name, step, first, zone in looks:
        times = [
            _look(definitions[number % 3], UUID(int=number % TENANTS), (first, last), step, zone)
            for number in range(n + 3)
        ]
        found.append((name, times[3:]))
    return found


def _look(
    definition: MeterDefinition, tenant_id: UUID, days: tuple[date, date], step: str, zone: str
) -> float:
    with usage_session() as session:
        started = time.perf_counter()
        live_usage.courses(
            usage_session=session,
            definitions=[definition],
            tenant_id=tenant_id,
            first=days[0],
            last=days[1],
            step=step,
            timezone=zone,
        )
        return time.perf_counter() - started
