"""Rollups: what each meter counted in each hour, kept in step with the events by recomputing hours.

Whoever stores events marks their hours in the same transaction. A roll takes marks and computes
their hours anew from the events, all in one transaction: killed at any line, the marks are still
there. What is not covered yet it leaves alone. It holds its shard's lock from before it reads, so
of two that recompute the same hour the later one has seen more. A new version of a meter starts
with no hour covered; chunks, newest first, move `since` back, and until then its hours are read
from the events themselves.

Source: docs/decisions/meters-and-rollups.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.psycopg import dialect as PsycopgDialect
from sqlalchemy.orm import Session

from tenants.meter_definitions import MeterDefinition
from tenants.usage_folds import (
    MEASURES,
    digest_of,
    folds,
    hours_between,
    hours_of_segments,
    values,
)

SHARDS = 16
MARKS_AT_ONCE = 20_000
HOUR = timedelta(hours=1)
# A chunk of a new version's past: all tenants' events of so many days are read at once.
CHUNK = timedelta(days=1)

_DIALECT = PsycopgDialect()  # type: ignore[no-untyped-call]
_LOCK = "hashtext('usage rollups')"
_SHARD = f"uuid_hash(tenant_id) & {SHARDS - 1}"
_KEY = "tenant_id, hour, meter, version, group_key"
_COLUMNS = f"{_KEY}, {', '.join(MEASURES)}"
_VALUE = f"{_KEY}, value_hash"
_WHERE_BETWEEN = "e.type = ANY(:types) AND e.at >= :from_at AND e.at < :to_at"
SEGMENTS = """segments AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:froms AS timestamptz[]),
        CAST(:tos AS timestamptz[])) AS s (tenant_id, from_at, to_at)
)"""


@dataclass(frozen=True, slots=True)
class Segment:
    """Whole hours of one tenant, `[from_at, to_at)`."""

    tenant_id: UUID
    from_at: datetime
    to_at: datetime


def take_shard(*, usage_session: Session) -> int | None:
    """This function will lock, until the transaction ends, a shard of tenants with marked hours.

    None when nothing is marked, or others are at all of it. Read the meters after it: whatever is
    covered by then is among them.
    """
    shards = usage_session.scalars(
        text(f"SELECT DISTINCT {_SHARD} AS shard FROM usage_mark ORDER BY shard")  # noqa: S608
    ).all()
    for shard in shards:
        if usage_session.scalar(
            text(f"SELECT pg_try_advisory_xact_lock({_LOCK}, :shard)"), {"shard": shard}
        ):
            return int(shard)
    return None


def anything_marked(*, usage_session: Session) -> bool:
    """This function will tell whether an hour waits to be rolled up."""
    return bool(usage_session.scalar(text("SELECT EXISTS (SELECT FROM usage_mark)")))


def roll(*, usage_session: Session, definitions: Iterable[MeterDefinition], shard: int) -> int:
    """This function will recompute marked hours of a shard that this transaction has locked.

    It returns how many marks it took; 0 means that none is left.
    """
    marks = usage_session.execute(
        text(
            "DELETE FROM usage_mark WHERE ctid = ANY(ARRAY(SELECT ctid FROM usage_mark"  # noqa: S608
            f" WHERE {_SHARD} = :shard LIMIT :most FOR UPDATE SKIP LOCKED))"
            " RETURNING tenant_id, hour, hour >= usage_events_since() AS there"
        ),
        {"shard": shard, "most": MARKS_AT_ONCE},
    ).all()
    hours = {(mark.tenant_id, mark.hour) for mark in marks if mark.there}
    if hours:
        recompute(
            usage_session=usage_session, definitions=definitions, segments=list(_joined(hours))
        )
    return len(marks)


def _joined(hours: Iterable[tuple[UUID, datetime]]) -> Iterator[Segment]:
    """Neighbouring hours as one segment: read in one go."""
    open_segment: Segment | None = None
    for tenant_id, hour in sorted(hours):
        if open_segment and (open_segment.tenant_id, open_segment.to_at) == (tenant_id, hour):
            open_segment = Segment(tenant_id, open_segment.from_at, hour + HOUR)
            continue
        if open_segment:
            yield open_segment
        open_segment = Segment(tenant_id, hour, hour + HOUR)
    if open_segment:
        yield open_segment


def recompute(
    *,
    usage_session: Session,
    definitions: Iterable[MeterDefinition],
    segments: Sequence[Segment],
) -> None:
    """This function will compute the hours of some segments anew; their shards are locked."""
    counted = [each for each in definitions if each.source == "events"]
    if not counted:
        return
    where = arrays(segments)
    for table in ("usage_rollup", "usage_value"):
        usage_session.execute(
            text(
                f"WITH {SEGMENTS} DELETE FROM {table} AS r USING segments AS s"  # noqa: S608
                " CROSS JOIN unnest(CAST(:meters AS text[]), CAST(:versions AS bigint[]))"
                " AS m (meter, version) WHERE r.tenant_id = s.tenant_id AND r.meter = m.meter"
                " AND r.version = m.version AND r.hour >= s.from_at AND r.hour < s.to_at"
            ),
            where | _named(counted),
        )
    for fold in folds(counted, hours_of_segments(), "true"):
        usage_session.execute(
            text(
                f"WITH {SEGMENTS} INSERT INTO usage_rollup ({_COLUMNS}, digest)"  # noqa: S608
                f" SELECT {_COLUMNS}, {digest_of('piece', 'hour')} FROM ({fold.select}) AS piece"
                " JOIN usage_cover USING (meter, version) WHERE hour >= since"
            ),
            where | fold.parameters,
        )
    for each in _unique(counted):
        fold = values(each, hours_of_segments(), "true")
        usage_session.execute(
            text(
                f"WITH {SEGMENTS} INSERT INTO usage_value ({_VALUE})"  # noqa: S608 - our own text
                " SELECT tenant_id, hour, meter, version, group_key, value_hash"
                f" FROM ({fold.select}) AS found CROSS JOIN usage_cover"
                " WHERE meter = :meter AND version = :version AND hour >= since"
            ),
            {**where, **fold.parameters, "meter": each.code, "version": each.version},
        )


def arrays(segments: Sequence[Segment]) -> dict[str, Any]:
    """This function will return what SEGMENTS binds."""
    return {
        "tenants": [each.tenant_id for each in segments],
        "froms": [each.from_at for each in segments],
        "tos": [each.to_at for each in segments],
    }


def _named(definitions: Sequence[MeterDefinition]) -> dict[str, Any]:
    return {
        "meters": [each.code for each in definitions],
        "versions": [each.version for each in definitions],
    }


def _unique(definitions: Sequence[MeterDefinition]) -> list[MeterDefinition]:
    return [each for each in definitions if each.aggregation == "unique"]


def anything_uncovered(*, usage_session: Session, definitions: Iterable[MeterDefinition]) -> bool:
    """This function will tell whether a meter's past waits to be rolled up, or an old one to go."""
    covered = _cover(usage_session)
    wanted = {(each.code, each.version) for each in definitions if each.source == "events"}
    return covered.keys() != wanted or any(since is not None for since in covered.values())


def _cover(usage_session: Session) -> dict[tuple[str, int], datetime | None]:
    """Since when each version is covered; None for ever, which Python has no moment for."""
    return {
        (row.meter, row.version): row.since
        for row in usage_session.execute(
            text(
                "SELECT meter, version, CASE WHEN since = 'infinity'"
                " THEN TIMESTAMPTZ '9999-12-31 00:00+00' WHEN since > '-infinity'"
                " THEN since END AS since FROM usage_cover"
            )
        )
    }


def lock_all(*, usage_session: Session) -> None:
    """This function will keep every roll waiting until the transaction ends."""
    usage_session.execute(
        text(
            f"SELECT pg_advisory_xact_lock({_LOCK}, shard)"  # noqa: S608 - our own text
            f" FROM generate_series(0, {SHARDS - 1}) AS shard"
        )
    )


def cover(
    *,
    usage_session: Session,
    definitions: Iterable[MeterDefinition],
    now: datetime,
    chunk: timedelta = CHUNK,
) -> bool:
    """This function will roll up one more chunk of what is not covered; True if more is left.

    All shards are locked by `lock_all` in this transaction, and the meters read after it.
    """
    counted = [each for each in definitions if each.source == "events"]
    covered = _enlist(usage_session, counted)
    waiting = {since for since in covered.values() if since is not None}
    if not waiting:
        return False
    newest = max(waiting)
    members = [each for each in counted if covered[each.code, each.version] == newest]
    kept = usage_session.scalar(
        text("SELECT CASE WHEN e < 'infinity' THEN e END FROM usage_events_since() AS e")
    )
    ahead = newest > now + chunk  # nothing is covered yet: the first chunk has no end
    from_at = _hour(now) - chunk if ahead else newest - chunk
    reached = kept is None or from_at <= kept
    if kept is not None:
        _fill(usage_session, members, max(from_at, kept), newest)
    usage_session.execute(
        text(
            "UPDATE usage_cover SET since = CASE WHEN :reached THEN '-infinity'"
            " ELSE CAST(:from_at AS timestamptz) END WHERE (meter, version) IN (SELECT * FROM"
            " unnest(CAST(:meters AS text[]), CAST(:versions AS bigint[])))"
        ),
        {"reached": reached, "from_at": from_at, **_named(members)},
    )
    return not reached or len(waiting) > 1


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _enlist(
    usage_session: Session, definitions: Sequence[MeterDefinition]
) -> dict[tuple[str, int], datetime | None]:
    """Begin with versions that are new, and throw away those that nobody counts by any more."""
    known = _cover(usage_session)
    wanted = {(each.code, each.version) for each in definitions}
    for meter, version in known.keys() - wanted:
        for table in ("usage_rollup", "usage_value", "usage_cover"):
            usage_session.execute(
                text(f"DELETE FROM {table} WHERE meter = :meter AND version = :version"),  # noqa: S608
                {"meter": meter, "version": version},
            )
    for meter, version in sorted(wanted - known.keys()):
        usage_session.execute(
            text("INSERT INTO usage_cover (meter, version, since) VALUES (:m, :v, 'infinity')"),
            {"m": meter, "v": version},
        )
    return {key: since for key, since in _cover(usage_session).items() if key in wanted}


def _fill(
    usage_session: Session,
    definitions: Sequence[MeterDefinition],
    from_at: datetime,
    to_at: datetime,
) -> None:
    bounds = {"from_at": from_at, "to_at": to_at}
    # A hash table of every tenant's hours of a chunk, with room: the planner expects as many groups
    # as events, and would sort them, which takes longer than all the rest.
    usage_session.execute(text("SET LOCAL work_mem = '64MB'"))
    usage_session.execute(text("SET LOCAL enable_sort = off"))
    for fold in folds(definitions, hours_between(), _WHERE_BETWEEN):
        pieces = f"SELECT {_COLUMNS}, {digest_of('piece', 'hour')} FROM ({fold.select}) AS piece"  # noqa: S608
        _carry(
            usage_session, pieces, bounds | fold.parameters, f"usage_rollup ({_COLUMNS}, digest)"
        )
    for each in _unique(definitions):
        fold = values(each, hours_between(), _WHERE_BETWEEN)
        meter = {"meter": each.code, "version": each.version}
        query = (
            "SELECT tenant_id, hour, CAST(:meter AS text), CAST(:version AS bigint), group_key,"  # noqa: S608
            f" value_hash FROM ({fold.select}) AS found"
        )
        _carry(usage_session, query, bounds | fold.parameters | meter, f"usage_value ({_VALUE})")


def _carry(usage_session: Session, query: str, bound: Mapping[str, Any], target: str) -> None:
    """Copy what a query finds into a table: an INSERT … SELECT would read with one process only."""
    connection = usage_session.connection().connection.driver_connection
    assert isinstance(connection, psycopg.Connection)
    statement = str(text(query).compile(dialect=_DIALECT))
    with psycopg.ClientCursor(connection) as cursor:
        with cursor.copy(f"COPY ({statement}) TO STDOUT (FORMAT binary)", bound) as found:
            rows = b"".join(found)
        with cursor.copy(f"COPY {target} FROM STDIN (FORMAT binary)") as into:
            into.write(rows)


def start_anew(*, usage_session: Session, meters: Sequence[str] = ()) -> None:
    """This function will call nothing of these meters covered any more, by default of all.

    Every shard is locked meanwhile. What lies before the oldest events stays as it is.
    """
    lock_all(usage_session=usage_session)
    chosen = "(cardinality(CAST(:meters AS text[])) = 0 OR meter = ANY(:meters))"
    for table in ("usage_rollup", "usage_value"):
        usage_session.execute(
            text(f"DELETE FROM {table} WHERE hour >= usage_events_since() AND {chosen}"),  # noqa: S608
            {"meters": list(meters)},
        )
    usage_session.execute(
        text(f"UPDATE usage_cover SET since = 'infinity' WHERE {chosen}"),  # noqa: S608
        {"meters": list(meters)},
    )
