"""Events for meters to count, and a slow and obvious way to count them, of its own code."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any
from uuid import UUID

from sqlalchemy import insert
from sqlalchemy.orm import Session

from tenants import meter_definitions
from tenants.meter_definitions import MeterDefinition
from tenants.usage_models import Event

NAMES = {"ko": "사용량", "en": "Usage"}


def meter(code: str, **declared: Any) -> MeterDefinition:
    """This function will return a sound definition of a meter of API calls, changed as asked."""
    fields = {"code": code, "unit": "calls", "names": NAMES, "event_type": "api.call"} | declared
    return meter_definitions.read(fields, version=1)


def all_kinds() -> list[MeterDefinition]:
    """This function will return a meter of each aggregation, some with groups or filters."""
    big = {"property": "size", "operator": "gte", "value": 50}
    paid = {"property": "tier", "operator": "in", "value": ["gold", "silver", 3]}
    return [
        meter("calls", aggregation="count"),
        meter("calls_by_region", aggregation="count", group_by=["region", "tier"]),
        meter("units", aggregation="sum"),
        meter("paid_units", aggregation="sum", filters=[paid], group_by=["region"]),
        meter("size", aggregation="sum", value="size"),
        meter("largest", aggregation="max", value="size", filters=[big]),
        meter("smallest", aggregation="min", value="size", group_by=["region"]),
        meter("users", aggregation="unique", value="user"),
        meter("users_by_region", aggregation="unique", value="user", group_by=["region"]),
        meter("last", aggregation="latest", value="size"),
        meter("last_by_region", aggregation="latest", group_by=["region"]),
        meter("held", aggregation="weighted_sum", event_type="capacity"),
        meter("held_by_region", aggregation="weighted_sum", event_type="capacity",
              group_by=["region"], filters=[big]),
    ]  # fmt: skip


@dataclass(frozen=True)
class Used:
    """One event as it was pushed."""

    tenant_id: UUID
    id: str
    type: str
    at: datetime
    quantity: Decimal
    properties: dict[str, Any]


def generate(
    dice: random.Random, *, tenants: Sequence[UUID], start: datetime, end: datetime, n: int
) -> list[Used]:
    """This function will invent events of some tenants, some at the same moment or on the hour."""
    seconds = int((end - start).total_seconds())
    events: list[Used] = []
    for number in range(n):
        at = start + timedelta(seconds=dice.randrange(seconds), microseconds=dice.randrange(10**6))
        if dice.random() < 0.1:
            at = at.replace(minute=0, second=0, microsecond=0)
        if events and dice.random() < 0.1:
            at = events[-1].at
        properties: dict[str, Any] = {"size": Decimal(dice.randrange(1, 100_000)) / 1000}
        if dice.random() < 0.2:
            properties["size"] = dice.choice(["12", None, True, 7])
        for name, choices in (
            ("region", ["seoul", "busan", "한국", None]),
            ("tier", ["gold", "silver", "free", 3, "3"]),
            ("user", [f"u{n}" for n in range(12)]),
        ):
            if dice.random() < 0.9:
                properties[name] = dice.choice(choices)
        kind = dice.choice(["api.call", "api.call", "capacity", "other"])
        quantity = Decimal(dice.randrange(0, 10**6)) / 10 ** dice.randrange(0, 7)
        tenant_id = dice.choice(list(tenants))
        events.append(Used(tenant_id, f"e{dice.random()}-{number}", kind, at, quantity, properties))
    return events


def store(session: Session, events: Sequence[Used]) -> None:
    """This function will write events as an accepted call does: the marks come of themselves."""
    months = sorted({used.at.date().replace(day=1) for used in events})
    session.execute(_months(months))
    for begin in range(0, len(events), 200):
        session.execute(
            insert(Event),
            [
                {
                    "tenant_id": used.tenant_id,
                    "id": used.id,
                    "type": used.type,
                    "at": used.at,
                    "quantity": used.quantity,
                    "properties": {
                        name: float(value) if isinstance(value, Decimal) else value
                        for name, value in used.properties.items()
                    },
                    "received_at": used.at,
                }
                for used in events[begin : begin + 200]
            ],
        )


def _months(months: Sequence[Any]) -> Any:
    from sqlalchemy import func, select

    return select(func.ensure_event_months(months))


def count(
    definition: MeterDefinition,
    events: Sequence[Used],
    tenant_id: UUID,
    *,
    start: datetime,
    end: datetime,
    group: dict[str, str] | None = None,
) -> tuple[Decimal, int]:
    """This function will count events one by one, and return the quantity and how many counted."""
    groups: dict[tuple[Any, ...], list[tuple[datetime, str, Any]]] = defaultdict(list)
    for used in events:
        if used.tenant_id != tenant_id or used.at >= end:
            continue
        value = _value(definition, used)
        if value is None:
            continue
        mine = tuple(_text(used.properties.get(name)) for name in definition.group_by)
        if all(dict(zip(definition.group_by, mine, strict=True)).get(k) == v
               for k, v in (group or {}).items()):  # fmt: skip
            groups[mine].append((used.at, used.id, value))
    inside = sorted(row for rows in groups.values() for row in rows if row[0] >= start)
    found = [row[2] for row in inside]
    kind = definition.aggregation
    if kind == "weighted_sum":
        return _average(groups, start, end), len(inside)
    if kind in ("count", "unique"):
        return Decimal(len(found) if kind == "count" else len(set(found))), len(inside)
    if not found:
        return Decimal(0), 0
    total = {"sum": sum, "max": max, "min": min, "latest": lambda rows: rows[-1]}[kind](found)
    return Decimal(total), len(inside)


def _average(groups: Any, start: datetime, end: datetime) -> Decimal:
    with localcontext(prec=100):
        start, end, area = start.astimezone(UTC), end.astimezone(UTC), Decimal(0)
        for rows in groups.values():
            level, since = Decimal(0), start
            for at, _, value in sorted(rows):
                if at > start:
                    area += level * ((at - since) // timedelta(microseconds=1))
                    since = at
                level = value
            area += level * ((end - since) // timedelta(microseconds=1))
        average = area / ((end - start) // timedelta(microseconds=1))
        return average.quantize(Decimal("1e-12"), rounding=ROUND_HALF_EVEN)


def _value(definition: MeterDefinition, used: Used) -> Any:
    if used.type != definition.event_type:
        return None
    for condition in definition.filters:
        held = used.properties.get(condition.property)
        number = None if isinstance(held, bool | str) or held is None else Decimal(held)
        if condition.operator == "in":
            if not any(_same(held, each) for each in condition.value):
                return None
        elif number is None or number < condition.value:
            return None
    if definition.value == "quantity" or definition.aggregation == "count":
        return used.quantity if definition.value else 1
    held = used.properties.get(definition.value)
    if definition.aggregation == "unique":
        return _text(held)
    return None if isinstance(held, bool | str) or held is None else Decimal(held)


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) == isinstance(other, str) and one == other


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
