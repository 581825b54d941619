"""What a meter is: a declared, versioned way to count. Pure: no database, no clock.

A definition has one canonical form, so that declaring the same again changes nothing. What each
aggregation counts, in a window `[start, end)`:

- `count`: events. `sum`, `max`, `min`: of the value. `unique`: different texts of a property.
- `latest`: the value of the last event in the window, 0 without one; ties go to the higher id.
- `weighted_sum`: an event sets a level that holds until the next one; the quantity is the average
  of the level over the window, weighted by time. What was set before the window counts.

With `group_by` each group is counted for itself and a total puts the groups together: levels of
`weighted_sum` add up; `max`, `min`, `latest` and `unique` look over all groups.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from app.base.errors import Invalid
from tenants.event_bodies import NAME_LENGTH_MAX, plain

SOURCES = ("events", "sql", "readings")
AGGREGATIONS = ("count", "sum", "max", "min", "unique", "latest", "weighted_sum")
OPERATORS = ("eq", "in", "gt", "gte", "lt", "lte")
QUANTITY = "quantity"
FILTERS_MAX = 10
CHOICES_MAX = 100
GROUPS_MAX = 4
SQL_LENGTH_MAX = 10_000
DAY_PARAMETERS = ("day_start", "day_end")
# `:day_start`, but neither a cast's two colons nor the one inside 10:30.
PARAMETER = re.compile(r"(?<![:\w]):([a-z_]\w*)(?!:)")

_CODE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_FIELDS = frozenset(
    {"code", "source", "aggregation", "event_type", "value", "filters", "group_by"}
    | {"unit", "names", "sql"}
)


class MeterUnsound(Invalid):
    """A declaration that nobody could count by; `field` names what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """A condition on one property: `value` is a text, number or truth value, for `in` several."""

    property: str
    operator: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterDefinition:
    """One version of a meter; see the module for what each aggregation means.

    `value` is `quantity` or the name of a property. `aggregation` is empty where the source gives
    one number a day. `version` 0 is one that is not declared yet.
    """

    code: str
    version: int = 0
    source: str = "events"
    aggregation: str = ""
    event_type: str = ""
    value: str = ""
    filters: tuple[Filter, ...] = ()
    group_by: tuple[str, ...] = ()
    unit: str = ""
    name_ko: str = ""
    name_en: str = ""
    sql: str = ""

    @property
    def canonical(self) -> str:
        """The one JSON text of what is declared; the version is not part of it."""
        return json.dumps(facts(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def sha256(self) -> str:
        """What the canonical form hashes to."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()


def facts(definition: MeterDefinition) -> dict[str, Any]:
    """This function will write a definition as the JSON value that `read` takes."""
    told: dict[str, Any] = {
        "code": definition.code,
        "source": definition.source,
        "unit": definition.unit,
        "names": {"ko": definition.name_ko, "en": definition.name_en},
    }
    if definition.source == "events":
        told |= {
            "aggregation": definition.aggregation,
            "event_type": definition.event_type,
            "filters": [_filter_facts(each) for each in definition.filters],
            "group_by": list(definition.group_by),
        }
        if definition.value:
            told["value"] = definition.value
    elif definition.source == "sql":
        told["sql"] = definition.sql
    return told


def _filter_facts(condition: Filter) -> dict[str, Any]:
    value = condition.value
    several = isinstance(value, tuple)
    written = [_written(each) for each in value] if several else _written(value)
    return {
        "property": condition.property,
        "operator": condition.operator,
        "value": written,
    }


def _written(value: Any) -> Any:
    """A number is written as an object, so that 1 and "1" stay two things."""
    return {"number": plain(value)} if isinstance(value, Decimal) else value


def read(declared: Any, *, version: int = 0) -> MeterDefinition:
    """This function will check one declaration, decoded from a file, and return its definition.

    Raises: MeterUnsound, with the field at fault.
    """
    if not isinstance(declared, Mapping):
        raise MeterUnsound("A meter is declared as fields with values.", field="meter")
    for name in declared:
        if name not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            raise MeterUnsound(f"A meter has only these fields: {known}.", field=str(name))
    code = declared.get("code")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise MeterUnsound(
            "Give 1 to 63 small letters, digits and underscores, a letter first.", field="code"
        )
    source = _choice(declared, "source", SOURCES, default="events")
    unit = _text(declared, "unit", 40)
    names = declared.get("names")
    if not isinstance(names, Mapping) or set(names) != {"ko", "en"}:
        raise MeterUnsound("Name the meter in two languages, ko and en.", field="names")
    return MeterDefinition(
        code=code,
        version=version,
        source=source,
        unit=unit,
        name_ko=_text(names, "ko", 100, "names.ko"),
        name_en=_text(names, "en", 100, "names.en"),
        **{"events": _event_facts, "sql": _sql_facts, "readings": _no_facts}[source](declared),
    )


def _event_facts(declared: Mapping[str, Any]) -> dict[str, Any]:
    _without(declared, "sql")
    aggregation = _choice(declared, "aggregation", AGGREGATIONS)
    value = declared.get("value", "")
    if aggregation == "count":
        _without(declared, "value")
    elif aggregation == "unique":
        value = _property(value, "value")
        if value == QUANTITY:
            raise MeterUnsound("Name the property whose different texts count.", field="value")
    else:
        value = _property(value or QUANTITY, "value")
    return {
        "aggregation": aggregation,
        "event_type": _text(declared, "event_type", NAME_LENGTH_MAX),
        "value": value,
        "filters": _filters(declared.get("filters", ())),
        "group_by": _group_by(declared.get("group_by", ())),
    }


def _sql_facts(declared: Mapping[str, Any]) -> dict[str, Any]:
    _without(declared, "aggregation", "event_type", "value", "filters", "group_by")
    statement = declared.get("sql")
    if not isinstance(statement, str) or not 0 < len(statement.strip()) <= SQL_LENGTH_MAX:
        raise MeterUnsound(
            f"Give one SELECT of at most {SQL_LENGTH_MAX} characters that returns one number.",
            field="sql",
        )
    named = set(PARAMETER.findall(statement))
    if named != set(DAY_PARAMETERS):
        wrong = ", ".join(sorted(named ^ set(DAY_PARAMETERS)))
        raise MeterUnsound(
            f"The day's bounds are :day_start and :day_end, both and no other; see {wrong}.",
            field="sql",
        )
    return {"sql": statement.strip().rstrip(";").strip()}


def _no_facts(declared: Mapping[str, Any]) -> dict[str, Any]:
    _without(declared, "aggregation", "event_type", "value", "filters", "group_by", "sql")
    return {}


def _without(declared: Mapping[str, Any], *fields: str) -> None:
    for name in fields:
        if declared.get(name) not in (None, "", [], ()):
            raise MeterUnsound(f"A meter of this kind has no {name}.", field=name)


def _choice(
    declared: Mapping[str, Any], field: str, choices: Sequence[str], default: str = ""
) -> str:
    value = declared.get(field, default)
    if value not in choices:
        raise MeterUnsound(f"Choose one of {', '.join(choices)}.", field=field)
    return str(value)


def _text(declared: Mapping[str, Any], field: str, length_max: int, told: str = "") -> str:
    value = declared.get(field)
    if not isinstance(value, str) or not 0 < len(value.strip()) <= length_max:
        raise MeterUnsound(f"Give 1 to {length_max} characters.", field=told or field)
    return value.strip()


def _property(value: Any, field: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= NAME_LENGTH_MAX:
        raise MeterUnsound(f"Name a property by 1 to {NAME_LENGTH_MAX} characters.", field=field)
    return value


def _group_by(declared: Any) -> tuple[str, ...]:
    if not isinstance(declared, Sequence) or isinstance(declared, str):
        raise MeterUnsound("Give a list of properties.", field="group_by")
    if len(declared) > GROUPS_MAX or len(set(map(str, declared))) != len(declared):
        raise MeterUnsound(f"Give at most {GROUPS_MAX} different properties.", field="group_by")
    return tuple(_property(each, f"group_by[{place}]") for place, each in enumerate(declared))


def _filters(declared: Any) -> tuple[Filter, ...]:
    if not isinstance(declared, Sequence) or isinstance(declared, str):
        raise MeterUnsound("Give a list of conditions.", field="filters")
    if len(declared) > FILTERS_MAX:
        raise MeterUnsound(f"Give at most {FILTERS_MAX} conditions.", field="filters")
    found = {_filter(each, f"filters[{place}]") for place, each in enumerate(declared)}
    # Every condition has to hold, so their order says nothing.
    return tuple(sorted(found, key=lambda each: json.dumps(_filter_facts(each), sort_keys=True)))


def _filter(declared: Any, field: str) -> Filter:
    if not isinstance(declared, Mapping) or set(declared) != {"property", "operator", "value"}:
        raise MeterUnsound("A condition has a property, an operator and a value.", field=field)
    operator = _choice_of(declared["operator"], field)
    value = declared["value"]
    if operator == "in":
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not 0 < len(value) <= CHOICES_MAX
        ):
            raise MeterUnsound(f"Give a list of 1 to {CHOICES_MAX} values.", field=f"{field}.value")
        scalars = {_scalar(each, f"{field}.value[{place}]") for place, each in enumerate(value)}
        value = tuple(sorted(scalars, key=lambda each: json.dumps(_written(each))))
    else:
        value = _scalar(value, f"{field}.value")
        if operator != "eq" and not isinstance(value, Decimal):
            raise MeterUnsound("Only numbers can be compared.", field=f"{field}.value")
    return Filter(
        property=_property(declared["property"], f"{field}.property"),
        operator=operator,
        value=value,
    )


def _choice_of(operator: Any, field: str) -> str:
    if operator not in OPERATORS:
        raise MeterUnsound(f"Choose one of {', '.join(OPERATORS)}.", field=f"{field}.operator")
    return str(operator)


def _scalar(value: Any, field: str) -> Any:
    """A text, a truth value, or a number as Decimal: a float as it was written in its file."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Mapping) and set(value) == {"number"}:
        value = value["number"]
        return _number(value, field)
    if isinstance(value, int | float | Decimal):
        return _number(value, field)
    if isinstance(value, str) and "\x00" not in value and len(value) <= 1_000:
        return value
    raise MeterUnsound("Give a text, a number, true or false.", field=field)


def _number(value: Any, field: str) -> Decimal:
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except (InvalidOperation, TypeError, ValueError):
        raise MeterUnsound("Give a number.", field=field) from None
    if not number.is_finite() or abs(number.adjusted()) >= 30:
        raise MeterUnsound("Give a number of usual length.", field=field)
    return Decimal(plain(number))
