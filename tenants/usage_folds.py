"""How raw events fold into pieces: one SQL text for rollups, edges of windows and checks.

A piece is what one meter counted in one group over a part of one hour. Whoever needs pieces says
which events (`source`) and by what they are told apart (`keys`); what is computed from the events
is the same text everywhere, so a rolled-up hour and one read anew can't differ. Pure.
"""
# ruff: noqa: S608 - the texts are our own; whatever was declared is bound

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tenants.meter_definitions import QUANTITY, Filter, MeterDefinition

ADDITIVE = ("count", "sum", "max", "min")
# What a piece says; what its meter does not need is null.
MEASURES = (
    *("events", "total", "lowest", "highest", "latest", "latest_at", "latest_id"),
    *("first_at", "integral"),
)
_TYPES = {
    "events": "bigint",
    "latest_at": "timestamptz",
    "latest_id": "text",
    "first_at": "timestamptz",
}
_COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_UNGROUPED = "'[]'"


def hour_of(moment: str) -> str:
    """This function will return the SQL of the hour in which a moment lies."""
    return f"date_bin('1 hour', {moment}, TIMESTAMPTZ '2000-01-01 00:00:00+00')"


def digest_of(piece: str, start: str) -> str:
    """This function will return the SQL of a piece's checksum."""
    columns = ", ".join(f"{piece}.{name}" for name in ("group_key", *MEASURES))
    return f"usage_digest({start}, {columns})"


@dataclass(frozen=True, slots=True)
class Source:
    """Where events come from: a FROM clause whose events are `e`.

    `keys` are (name, expression) of what pieces are told apart by; `end` is the expression of the
    moment at which an event's piece ends.
    """

    tables: str
    keys: tuple[tuple[str, str], ...]
    end: str

    @property
    def names(self) -> str:
        """The names of the keys, for GROUP BY and column lists."""
        return ", ".join(name for name, _ in self.keys)

    @property
    def columns(self) -> str:
        """The keys with their expressions, for a SELECT list."""
        return ", ".join(f"{expression} AS {name}" for name, expression in self.keys)


def hours_of_segments() -> Source:
    """This function will return the events of `segments (tenant_id, from_at, to_at)`, by hour.

    OFFSET 0 keeps each segment a look into the index: joined as a whole, a poor guess of their
    number reads every event there is.
    """
    return Source(
        "segments AS s CROSS JOIN LATERAL (SELECT * FROM event WHERE tenant_id = s.tenant_id"
        " AND type = ANY(:types) AND at >= s.from_at AND at < s.to_at OFFSET 0) AS e",
        (("tenant_id", "e.tenant_id"), ("hour", hour_of("e.at"))),
        f"{hour_of('e.at')} + interval '1 hour'",
    )


def hours_between() -> Source:
    """This function will return every tenant's events of `[:from_at, :to_at)`, by hour."""
    return Source(
        "event AS e",
        (("tenant_id", "e.tenant_id"), ("hour", hour_of("e.at"))),
        f"{hour_of('e.at')} + interval '1 hour'",
    )


def parts_of_windows() -> Source:
    """This function will return the events of `segments (n, tenant_id, from_at, to_at)`.

    Pieces keep the number and lie within the segment: the first and last may be part of an hour.
    """
    return Source(
        "segments AS s CROSS JOIN LATERAL (SELECT * FROM event WHERE tenant_id = s.tenant_id"
        " AND type = ANY(:types) AND at >= s.from_at AND at < s.to_at OFFSET 0) AS e",
        (
            ("n", "s.n"),
            ("piece_start", f"greatest(s.from_at, {hour_of('e.at')})"),
            ("piece_end", f"least(s.to_at, {hour_of('e.at')} + interval '1 hour')"),
        ),
        f"least(s.to_at, {hour_of('e.at')} + interval '1 hour')",
    )


@dataclass(frozen=True, slots=True)
class Fold:
    """A SELECT of pieces: its columns are the keys, meter, version, group_key and the measures.

    `wide` is the part that reads events, with a set of columns for each of `meters`; `narrow` turns
    rows of it into pieces of one meter each.
    """

    wide: str
    narrow: str
    parameters: dict[str, Any]
    meters: tuple[MeterDefinition, ...]

    @property
    def select(self) -> str:
        """The whole of it as one query expression."""
        return f"WITH wide AS MATERIALIZED ({self.wide}) {self.narrow}"


def folds(
    definitions: Sequence[MeterDefinition], source: Source, where: str = "e.type = ANY(:types)"
) -> Iterator[Fold]:
    """This function will yield the queries that fold events for these meters, few in number."""
    together: dict[tuple[str, ...], list[MeterDefinition]] = defaultdict(list)
    for definition in definitions:
        if definition.aggregation in ADDITIVE:
            together[definition.group_by].append(definition)
        else:
            yield _ALONE[definition.aggregation](definition, source, where)
    for several in together.values():
        yield _additive(several, source, where)


def values(definition: MeterDefinition, source: Source, where: str) -> Fold:
    """This function will return the query of a `unique` meter's different values, with counts."""
    parameters = _Parameters([definition])
    wide = (
        f"SELECT {source.names}, group_key, value_hash, count(*) AS events"
        f" FROM (SELECT {source.columns}, {_group(definition.group_by, parameters)} AS group_key,"
        f" {_value_hash(definition, parameters)} AS value_hash FROM {source.tables} WHERE {where})"
        f" AS e WHERE value_hash IS NOT NULL GROUP BY {source.names}, group_key, value_hash"
    )
    narrow = f"SELECT {source.names}, group_key, value_hash, events FROM wide"
    return Fold(wide, narrow, parameters.bound, (definition,))


def counting(definition: MeterDefinition, group: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """This function will return the condition that an event `e` counts, and what is bound in it."""
    parameters = _Parameters([definition])
    value = _value_hash if definition.aggregation == "unique" else _counted
    conditions = [f"({value(definition, parameters)}) IS NOT NULL"]
    for name, wanted in sorted(group.items()):
        held = f"e.properties ->> {parameters.bind(name, 'text')}"
        conditions.append(f"{held} = {parameters.bind(wanted, 'text')}")
    del parameters.bound["types"]
    return " AND ".join(conditions), parameters.bound


class _Parameters:
    """Values to bind, each under a name of its own."""

    def __init__(self, definitions: Sequence[MeterDefinition]) -> None:
        self.bound: dict[str, Any] = {"types": sorted({each.event_type for each in definitions})}

    def bind(self, value: Any, kind: str) -> str:
        """This function will return the SQL that stands for a value."""
        name = f"p{len(self.bound)}"
        self.bound[name] = value
        return f"CAST(:{name} AS {kind})"


def _additive(definitions: Sequence[MeterDefinition], source: Source, where: str) -> Fold:
    parameters = _Parameters(definitions)
    group = _group(definitions[0].group_by, parameters)
    counted, measured, rows = [], [], []
    for place, each in enumerate(definitions):
        counted.append(f"{_counted(each, parameters)} AS v{place}")
        columns = {"events": f"count(v{place})"}
        if each.aggregation != "count":
            name, function = {
                "sum": ("total", "sum"),
                "max": ("highest", "max"),
                "min": ("lowest", "min"),
            }[each.aggregation]
            columns[name] = f"{function}(v{place})"
        measured += [f"{expression} AS {name}{place}" for name, expression in columns.items()]
        rows.append(_row(each, {name: f"{name}{place}" for name in columns}, parameters))
    wide = (
        f"SELECT {source.names}, group_key, {', '.join(measured)}"
        f" FROM (SELECT {source.columns}, {group} AS group_key, {', '.join(counted)}"
        f" FROM {source.tables} WHERE {where}) AS e GROUP BY {source.names}, group_key"
    )
    return Fold(wide, _narrow(source, rows), parameters.bound, tuple(definitions))


def _latest(definition: MeterDefinition, source: Source, where: str) -> Fold:
    parameters = _Parameters([definition])
    wide = (
        f"SELECT DISTINCT ON ({source.names}, group_key) {source.names}, group_key,"
        f" count(*) OVER (PARTITION BY {source.names}, group_key) AS events,"
        " v AS latest, at AS latest_at, id AS latest_id"
        f" FROM ({_ordered(definition, source, where, parameters)}) AS e WHERE v IS NOT NULL"
        f' ORDER BY {source.names}, group_key, at DESC, id COLLATE "C" DESC'
    )
    return _alone(definition, source, wide, parameters, "events latest latest_at latest_id")


def _weighted_sum(definition: MeterDefinition, source: Source, where: str) -> Fold:
    parameters = _Parameters([definition])
    wide = (
        f"SELECT {source.names}, group_key, count(*) AS events, min(at) AS first_at,"
        " sum(v * extract(epoch FROM coalesce(following, until) - at)) AS integral,"
        " max(v) FILTER (WHERE following IS NULL) AS latest, max(at) AS latest_at,"
        " max(id) FILTER (WHERE following IS NULL) AS latest_id"
        " FROM (SELECT *, lead(at) OVER"
        f' (PARTITION BY {source.names}, group_key ORDER BY at, id COLLATE "C") AS following'
        f" FROM ({_ordered(definition, source, where, parameters)}) AS e WHERE v IS NOT NULL) AS e"
        f" GROUP BY {source.names}, group_key"
    )
    measures = "events first_at integral latest latest_at latest_id"
    return _alone(definition, source, wide, parameters, measures)


def _unique(definition: MeterDefinition, source: Source, where: str) -> Fold:
    parameters = _Parameters([definition])
    found = values(definition, source, where)
    parameters.bound |= found.parameters
    wide = (
        f"SELECT {source.names}, group_key, CAST(sum(events) AS bigint) AS events,"
        " CAST(count(*) AS numeric) AS total,"
        " CAST(bit_xor(hashtextextended(CAST(value_hash AS text), 0)) AS numeric) AS lowest"
        f" FROM ({found.wide}) AS e GROUP BY {source.names}, group_key"
    )
    return _alone(definition, source, wide, parameters, "events total lowest")


_ALONE = {"latest": _latest, "weighted_sum": _weighted_sum, "unique": _unique}


def _alone(
    definition: MeterDefinition, source: Source, wide: str, parameters: _Parameters, measures: str
) -> Fold:
    row = _row(definition, {name: name for name in measures.split()}, parameters)
    return Fold(wide, _narrow(source, [row]), parameters.bound, (definition,))


def _ordered(
    definition: MeterDefinition, source: Source, where: str, parameters: _Parameters
) -> str:
    return (
        f"SELECT {source.columns}, {_group(definition.group_by, parameters)} AS group_key,"
        f" e.at, e.id, {source.end} AS until, {_counted(definition, parameters)} AS v"
        f" FROM {source.tables} WHERE {where}"
    )


def _row(definition: MeterDefinition, columns: dict[str, str], parameters: _Parameters) -> str:
    measures = [
        f"{columns[name] if name in columns else _nothing(name)} AS {name}" for name in MEASURES
    ]
    meter = parameters.bind(definition.code, "text")
    version = parameters.bind(definition.version, "bigint")
    return (
        f"{meter} AS meter, {version} AS version, group_key, {', '.join(measures)}"
        f" FROM wide WHERE {columns['events']} > 0"
    )


def _nothing(name: str) -> str:
    return f"CAST(NULL AS {_TYPES.get(name, 'numeric')})"


def _narrow(source: Source, rows: Sequence[str]) -> str:
    return " UNION ALL ".join(f"SELECT {source.names}, {row}" for row in rows)


def _group(properties: Sequence[str], parameters: _Parameters) -> str:
    if not properties:
        return _UNGROUPED
    texts = [f"e.properties ->> {parameters.bind(name, 'text')}" for name in properties]
    return f"CAST(jsonb_build_array({', '.join(texts)}) AS text)"


def _counted(definition: MeterDefinition, parameters: _Parameters) -> str:
    """The value of an event that counts; null for every other."""
    conditions = [f"e.type = {parameters.bind(definition.event_type, 'text')}"]
    conditions += [_condition(each, parameters) for each in definition.filters]
    if definition.aggregation == "count":
        value = "1"
    elif definition.value == QUANTITY:
        value = "e.quantity"
    else:
        value = _number(definition.value, parameters)
    return f"CASE WHEN {' AND '.join(conditions)} THEN {value} END"


def _value_hash(definition: MeterDefinition, parameters: _Parameters) -> str:
    conditions = [f"e.type = {parameters.bind(definition.event_type, 'text')}"]
    conditions += [_condition(each, parameters) for each in definition.filters]
    value = f"e.properties ->> {parameters.bind(definition.value, 'text')}"
    hashed = f"substr(sha256(convert_to({value}, 'UTF8')), 1, 16)"
    return f"CASE WHEN {' AND '.join(conditions)} THEN CAST(encode({hashed}, 'hex') AS uuid) END"


def _number(name: str, parameters: _Parameters) -> str:
    """A property's number; null where there is none. The CASE keeps other texts from being cast."""
    bound = parameters.bind(name, "text")
    return (
        f"CASE WHEN jsonb_typeof(e.properties -> {bound}) = 'number'"
        f" THEN CAST(e.properties ->> {bound} AS numeric) END"
    )


def _condition(condition: Filter, parameters: _Parameters) -> str:
    if condition.operator in _COMPARISONS:
        bound = parameters.bind(condition.value, "numeric")
        number = _number(condition.property, parameters)
        return f"({number}) {_COMPARISONS[condition.operator]} {bound}"
    found = f"e.properties -> {parameters.bind(condition.property, 'text')}"
    if condition.operator == "eq":
        return f"{found} = {parameters.bind(_json(condition.value), 'jsonb')}"
    wanted = parameters.bind([_json(each) for each in condition.value], "jsonb[]")
    return f"{found} = ANY({wanted})"


def _json(value: Any) -> str:
    return str(value) if isinstance(value, Decimal) else json.dumps(value, ensure_ascii=False)
