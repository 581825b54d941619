"""Whether rollups are what the events come to: every hour that is covered and not marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from tenants.meter_definitions import MeterDefinition
from tenants.rollups import HOUR, SEGMENTS, Segment, arrays
from tenants.usage_folds import (
    Source,
    digest_of,
    folds,
    hour_of,
    hours_between,
    hours_of_segments,
    values,
)

SAMPLED = 100

_MINE = "JOIN wanted AS w ON w.meter = r.meter AND w.version = r.version"
_WITHIN = (
    "JOIN segments AS s ON s.tenant_id = r.tenant_id AND r.hour >= s.from_at AND r.hour < s.to_at"
)


@dataclass(frozen=True, slots=True)
class Difference:
    """An hour of one group whose rollup is not what its events come to."""

    tenant_id: UUID
    hour: datetime
    meter: str
    version: int
    group_key: str


def differences(
    *,
    usage_session: Session,
    definitions: Iterable[MeterDefinition],
    segments: Sequence[Segment] | None = None,
) -> Iterator[Difference]:
    """This function will compute hours anew and yield those that are rolled up otherwise.

    By default every hour there is; each query sees marks, events and rollups of one moment.
    """
    counted = [each for each in definitions if each.source == "events"]
    source = hours_between() if segments is None else hours_of_segments()
    where = "e.type = ANY(:types)" if segments is None else "true"
    bound = {} if segments is None else arrays(segments)
    mine = _MINE if segments is None else f"{_MINE} {_WITHIN}"
    for fold in folds(counted, source, where):
        query = _query(
            bool(bound),
            f"SELECT tenant_id, hour, meter, version, group_key, {digest_of('piece', 'hour')}"  # noqa: S608
            f" AS digest FROM ({fold.select}) AS piece",
            f"SELECT r.tenant_id, r.hour, r.meter, r.version, r.group_key,"  # noqa: S608
            f" CASE WHEN r.digest = {digest_of('r', 'r.hour')} THEN r.digest END AS digest"
            f" FROM usage_rollup AS r {mine}",
        )
        yield from _found(usage_session, query, fold.meters, bound | fold.parameters)
    for each in counted:
        if each.aggregation == "unique":
            yield from _other_values(
                usage_session, each, source=source, where=where, bound=bound, mine=mine
            )


def _other_values(
    usage_session: Session,
    definition: MeterDefinition,
    *,
    source: Source,
    where: str,
    bound: dict[str, Any],
    mine: str,
) -> Iterator[Difference]:
    fold = values(definition, source, where)
    key = "r.tenant_id, r.hour, r.meter, r.version, r.group_key"
    query = _query(
        bool(bound),
        f"SELECT tenant_id, hour, :meter AS meter, CAST(:version AS bigint) AS version, group_key,"  # noqa: S608
        " string_agg(CAST(value_hash AS text), ' ' ORDER BY value_hash) AS digest"
        f" FROM ({fold.select}) AS found GROUP BY tenant_id, hour, group_key",
        f"SELECT {key}, string_agg(CAST(r.value_hash AS text), ' ' ORDER BY r.value_hash) AS digest"  # noqa: S608
        f" FROM usage_value AS r {mine} GROUP BY {key}",
    )
    named = {"meter": definition.code, "version": definition.version}
    yield from _found(usage_session, query, [definition], bound | fold.parameters | named)


def _query(some: bool, fresh: str, stored: str) -> str:
    """What is new against what is stored, where the two have to agree."""
    return f"""
        WITH {SEGMENTS + "," if some else ""}
        wanted (meter, version) AS MATERIALIZED (
            SELECT * FROM unnest(CAST(:meters AS text[]), CAST(:versions AS bigint[]))
        ), uneven AS (
            SELECT tenant_id, hour, meter, version, group_key
            FROM ({fresh}) AS fresh FULL JOIN ({stored}) AS stored
                USING (tenant_id, hour, meter, version, group_key)
            WHERE fresh.digest IS DISTINCT FROM stored.digest
        )
        SELECT u.* FROM uneven AS u JOIN usage_cover AS c USING (meter, version)
        WHERE u.hour >= c.since AND u.hour >= usage_events_since()
            AND NOT EXISTS (SELECT FROM usage_mark WHERE tenant_id = u.tenant_id AND hour = u.hour)
        ORDER BY meter, tenant_id, hour, group_key
    """  # noqa: S608 - our own text


def _found(
    usage_session: Session,
    query: str,
    definitions: Sequence[MeterDefinition],
    bound: dict[str, Any],
) -> Iterator[Difference]:
    named = {
        "meters": [each.code for each in definitions],
        "versions": [each.version for each in definitions],
    }
    for row in usage_session.execute(text(query), bound | named):
        yield Difference(row.tenant_id, row.hour, row.meter, row.version, row.group_key)


def sample(*, usage_session: Session, n: int = SAMPLED) -> list[Segment]:
    """This function will choose hours at random, some of rollups and some of events.

    A rollup that should not be is found by the first, one that is missing by the second.
    """
    rows = usage_session.execute(
        text(f"({_some('usage_rollup', 'hour')}) UNION ({_some('event', hour_of('at'))})"),
        {"n": n},
    )
    return [Segment(row.tenant_id, row.hour, row.hour + HOUR) for row in rows]


def _some(table: str, hour: str) -> str:
    """Hours of rows on random pages; of a small table any page is read."""
    return f"""
        SELECT DISTINCT tenant_id, {hour} AS hour FROM {table} TABLESAMPLE SYSTEM ((
            SELECT least(100, 10000.0 * :n / greatest(sum(reltuples), 1)) FROM pg_class
            WHERE oid = '{table}'::regclass OR oid IN
                (SELECT inhrelid FROM pg_inherits WHERE inhparent = '{table}'::regclass)))
        LIMIT :n
    """  # noqa: S608 - our own text
