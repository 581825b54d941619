"""Usage: what meters of pushed events come to in windows of time, exactly.

Whole hours come from the rollups. What a window's bounds cut off an hour, hours that are marked
and hours that are not covered yet are folded from the events by the same text, so a total never
depends on how far the rolling has come.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base.errors import Invalid
from tenants.event_bodies import plain
from tenants.meter_definitions import MeterDefinition
from tenants.usage_folds import MEASURES, digest_of, folds, parts_of_windows, values

HOUR = timedelta(hours=1)
# As many places as a quantity's column keeps; the half goes to the even digit.
QUANTITY_STEP = Decimal("1e-12")
_PRECISION = 100


class NotCounted(Invalid):
    """A window asks for a meter that is not declared, or not one of pushed events."""


@dataclass(frozen=True, slots=True)
class Window:
    """A tenant's time `[start, end)` under a meter; `group` keeps to these values of `group_by`."""

    tenant_id: UUID
    meter: str
    start: datetime
    end: datetime
    group: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Total:
    """What a meter comes to in a window: `quantity` has at most 12 decimals.

    `transactions` are the events that counted; `sha256` fingerprints all that it was made from.
    """

    window: Window
    meter_version: int
    quantity: Decimal
    transactions: int
    sha256: str


def totals(
    *,
    usage_session: Session,
    meters: Mapping[str, MeterDefinition],
    windows: Sequence[Window],
) -> list[Total]:
    """This function will return the total of each window, in their order, by a query a meter.

    A window without events comes to 0. Meters are by code, as `meters.definitions` returns them.

    Raises: NotCounted.
    """
    by_meter: dict[str, list[tuple[int, Window]]] = defaultdict(list)
    for number, window in enumerate(windows):
        definition = meters.get(window.meter)
        if definition is None or definition.source != "events":
            raise NotCounted(f"No meter of events is called {window.meter}.", field="meter")
        if window.end <= window.start:
            raise NotCounted("A window ends after it starts.", field="end")
        for name in window.group:
            if name not in definition.group_by:
                raise NotCounted(f"{window.meter} is not grouped by {name}.", field="group")
        by_meter[window.meter].append((number, window))
    found: dict[int, Total] = {}
    for code, asked in by_meter.items():
        found |= _of_meter(usage_session, meters[code], asked)
    return [found[number] for number in range(len(windows))]


def _of_meter(
    usage_session: Session, definition: MeterDefinition, asked: Sequence[tuple[int, Window]]
) -> dict[int, Total]:
    grouped = any(window.group for _, window in asked)
    looks_back = definition.aggregation == "weighted_sum"
    fold = next(iter(folds([definition], parts_of_windows(), "true")))
    statement = _QUERY.format(
        before=_BEFORE if looks_back else "",
        levels=_LEVELS if looks_back else "",
        cut_off=_CUT_OFF if looks_back else "",
        raw=fold.select,
        measures=", ".join(f"r.{name}" for name in MEASURES),
        digest=digest_of("r", "r.piece_start"),
        mine=_MINE if grouped else "",
        reduce=_REDUCE[definition.aggregation],
        values=_VALUES.format(
            raw=values(definition, parts_of_windows(), "true").select, mine=_MINE if grouped else ""
        )
        if definition.aggregation == "unique"
        else "",
    )
    bound = _parts(definition, asked) | fold.parameters
    if definition.aggregation == "unique":
        bound |= values(definition, parts_of_windows(), "true").parameters
    bound |= {
        "meter": definition.code,
        "version": definition.version,
        "whose": sorted({window.tenant_id for _, window in asked}),
    }
    rows = {row.n: row for row in usage_session.execute(text(statement), bound)}
    return {number: _total(definition, window, rows.get(number)) for number, window in asked}


def _parts(
    definition: MeterDefinition, asked: Sequence[tuple[int, Window]]
) -> dict[str, list[Any]]:
    """Each window as its whole hours, and what is left before and after them."""
    parts: dict[str, list[Any]] = {
        name: [] for name in ("n", "tenants", "starts", "ends", "froms", "tos", "groups")
    }
    for number, window in asked:
        start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
        whole_from, whole_to = _floor(start + HOUR - timedelta(microseconds=1)), _floor(end)
        if whole_from > whole_to:  # within one hour
            whole_from = whole_to = end
        wanted = [window.group.get(name) for name in definition.group_by] if window.group else None
        for name, value in (
            ("n", number),
            ("tenants", window.tenant_id),
            ("starts", start),
            ("ends", end),
            ("froms", whole_from),
            ("tos", whole_to),
            ("groups", wanted and json.dumps(wanted)),
        ):
            parts[name].append(value)
    return parts


def _floor(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def _total(definition: MeterDefinition, window: Window, row: Any) -> Total:
    # In UTC: two moments of one zone differ by what its clocks show.
    start, end = window.start.astimezone(UTC), window.end.astimezone(UTC)
    quantity, events, digest = Decimal(0), 0, Decimal(0)
    if row is not None:
        quantity, events, digest = Decimal(row.quantity or 0), int(row.events), row.digest
    with localcontext(prec=_PRECISION):
        if definition.aggregation == "weighted_sum":
            microseconds = (end - start) // timedelta(microseconds=1)
            quantity = quantity * 1_000_000 / microseconds
        quantity = quantity.quantize(QUANTITY_STEP, rounding=ROUND_HALF_EVEN)
    quantity = Decimal(plain(quantity))
    facts = [
        definition.sha256,
        str(definition.version),
        str(window.tenant_id),
        start.isoformat(),
        end.isoformat(),
        json.dumps(dict(window.group), ensure_ascii=False, sort_keys=True),
        plain(quantity),
        str(events),
        str(int(digest)),
    ]
    sha256 = hashlib.sha256("\n".join(facts).encode("utf-8", "surrogatepass")).hexdigest()
    return Total(window, definition.version, quantity, events, sha256)


# Windows with their whole hours; then the hours that are rolled up, and segments of events for all
# the rest. OFFSET 0 keeps each window to its own stretch of the index: joined by the tenant alone,
# each window of a tenant would go through all of the tenant's hours. A level counts from before its
# window, so `weighted_sum` looks back: of the hours that are rolled up only at the last one of each
# group, however long its history is; what is marked or not covered is read from the events.
_QUERY = """
WITH asked AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:n AS int[]), CAST(:tenants AS uuid[]),
        CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]),
        CAST(:froms AS timestamptz[]), CAST(:tos AS timestamptz[]), CAST(:groups AS text[]))
        AS a (n, tenant_id, start_at, end_at, whole_from, whole_to, wanted)
), ranges AS MATERIALIZED (
    SELECT n, tenant_id, wanted, whole_from AS from_at, whole_to AS to_at
    FROM asked WHERE whole_from < whole_to
    {before}
), cover AS MATERIALIZED (
    SELECT coalesce((SELECT since FROM usage_cover WHERE meter = :meter AND version = :version),
        'infinity') AS since, usage_events_since() AS kept
), marked AS MATERIALIZED (
    SELECT DISTINCT tenant_id, hour FROM usage_mark, cover
    WHERE tenant_id = ANY(:whose) AND hour >= cover.kept
), rolled AS (
    SELECT a.n, a.wanted, r.* FROM ranges AS a CROSS JOIN cover CROSS JOIN LATERAL (
        SELECT * FROM usage_rollup
        WHERE tenant_id = a.tenant_id AND meter = :meter AND version = :version
          AND hour >= a.from_at AND hour < a.to_at
          AND (hour >= cover.since OR hour < cover.kept) OFFSET 0
    ) AS r
    WHERE a.from_at > '-infinity' AND NOT EXISTS (
        SELECT FROM marked WHERE marked.tenant_id = a.tenant_id AND marked.hour = r.hour)
    {levels}
), segments AS MATERIALIZED (
    SELECT n, tenant_id, start_at AS from_at, whole_from AS to_at
    FROM asked WHERE start_at < whole_from
    UNION ALL
    SELECT n, tenant_id, whole_to, end_at FROM asked WHERE whole_to < end_at
    {cut_off}
    UNION ALL
    SELECT a.n, a.tenant_id, greatest(a.from_at, cover.kept), least(a.to_at, cover.since)
    FROM ranges AS a, cover
    WHERE greatest(a.from_at, cover.kept) < least(a.to_at, cover.since)
    UNION ALL
    SELECT a.n, a.tenant_id, marked.hour, marked.hour + interval '1 hour'
    FROM ranges AS a JOIN marked USING (tenant_id) CROSS JOIN cover
    WHERE marked.hour >= greatest(a.from_at, cover.since) AND marked.hour < a.to_at
), pieces AS (
    SELECT r.n, r.hour AS piece_start, r.hour + interval '1 hour' AS piece_end, r.group_key,
        {measures}, r.digest FROM rolled AS r WHERE true {mine}
    UNION ALL
    SELECT r.n, r.piece_start, r.piece_end, r.group_key, {measures}, {digest}
    FROM ({raw}) AS r JOIN asked AS a USING (n) WHERE true {mine}
){values}
{reduce}
"""
_BEFORE = """UNION ALL
    SELECT n, tenant_id, wanted, '-infinity', date_trunc('hour', start_at, 'UTC') FROM asked"""
# The groups one after the other, each a look into the index, and then each one's last hour.
_LEVELS = """UNION ALL
    SELECT a.n, a.wanted, r.* FROM ranges AS a CROSS JOIN cover CROSS JOIN LATERAL (
        WITH RECURSIVE known AS (
            (SELECT group_key FROM usage_rollup WHERE tenant_id = a.tenant_id AND meter = :meter
                AND version = :version AND first_at IS NOT NULL ORDER BY group_key LIMIT 1)
            UNION ALL
            SELECT (SELECT r.group_key FROM usage_rollup AS r
                WHERE r.tenant_id = a.tenant_id AND r.meter = :meter AND r.version = :version
                    AND r.first_at IS NOT NULL AND r.group_key > known.group_key
                ORDER BY r.group_key LIMIT 1)
            FROM known WHERE known.group_key IS NOT NULL
        ) SELECT group_key FROM known WHERE group_key IS NOT NULL
    ) AS g CROSS JOIN LATERAL (
        SELECT * FROM usage_rollup AS l
        WHERE l.tenant_id = a.tenant_id AND l.meter = :meter AND l.version = :version
            AND l.group_key = g.group_key AND l.hour < a.to_at AND l.first_at IS NOT NULL
            AND (l.hour >= cover.since OR l.hour < cover.kept) AND NOT EXISTS (
                SELECT FROM marked WHERE marked.tenant_id = l.tenant_id AND marked.hour = l.hour)
        ORDER BY l.hour DESC LIMIT 1
    ) AS r
    WHERE a.from_at = '-infinity'"""
_CUT_OFF = """UNION ALL
    SELECT n, tenant_id, date_trunc('hour', start_at, 'UTC'), start_at FROM asked
    WHERE date_trunc('hour', start_at, 'UTC') < start_at"""
_MINE = """AND (wanted IS NULL OR NOT EXISTS (
    SELECT FROM jsonb_array_elements_text(CAST(wanted AS jsonb)) WITH ORDINALITY AS w (value, place)
    WHERE w.value IS NOT NULL
      AND w.value IS DISTINCT FROM CAST(group_key AS jsonb) ->> CAST(w.place - 1 AS int)))"""
_VALUES = """, different AS (
    SELECT n, count(DISTINCT value_hash) AS quantity FROM (
        SELECT r.n, v.value_hash FROM rolled AS r JOIN usage_value AS v
            USING (tenant_id, meter, version, hour, group_key) WHERE true {mine}
        UNION ALL
        SELECT r.n, r.value_hash FROM ({raw}) AS r JOIN asked AS a USING (n) WHERE true {mine}
    ) AS found GROUP BY n
)"""
_SUMMED = (
    "SELECT n, {quantity} AS quantity, sum(events) AS events, sum(digest) AS digest"
    " FROM pieces GROUP BY n"
)
_REDUCE = {
    "count": _SUMMED.format(quantity="sum(events)"),
    "sum": _SUMMED.format(quantity="sum(total)"),
    "max": _SUMMED.format(quantity="max(highest)"),
    "min": _SUMMED.format(quantity="min(lowest)"),
    "unique": "SELECT * FROM different JOIN"
    " (SELECT n, sum(events) AS events, sum(digest) AS digest FROM pieces GROUP BY n)"
    " AS counted USING (n)",
    "latest": "SELECT DISTINCT ON (n) n, latest AS quantity,"
    " sum(events) OVER (PARTITION BY n) AS events, sum(digest) OVER (PARTITION BY n) AS digest"
    ' FROM pieces ORDER BY n, latest_at DESC, latest_id COLLATE "C" DESC',
    # Where the level was before the window, each piece, and from its end on the level it left.
    "weighted_sum": """, opening AS (
    SELECT DISTINCT ON (p.n, p.group_key) p.n, p.group_key, p.latest, p.latest_at
    FROM pieces AS p JOIN asked AS a USING (n) WHERE p.piece_start < a.start_at
    ORDER BY p.n, p.group_key, p.latest_at DESC, p.latest_id COLLATE "C" DESC
), stretches AS (
    SELECT n, group_key, p.piece_start, p.first_at, p.piece_end, p.integral, p.latest, p.events,
        p.digest
    FROM pieces AS p JOIN asked AS a USING (n) WHERE p.piece_start >= a.start_at
    UNION ALL
    SELECT n, group_key, '-infinity', a.start_at, a.start_at, 0, o.latest, 0,
        hashtextextended(o.group_key || CAST(trim_scale(o.latest) AS text), 0)
    FROM opening AS o JOIN asked AS a USING (n)
), followed AS (
    SELECT s.*, lead(first_at) OVER (PARTITION BY n, group_key ORDER BY piece_start) AS until
    FROM stretches AS s
)
SELECT n, sum(integral + latest * extract(epoch FROM coalesce(until, a.end_at) - piece_end))
    AS quantity, sum(events) AS events, sum(digest) AS digest
FROM followed JOIN asked AS a USING (n) GROUP BY n""",
}
