"""What an event has to look like: one decoded JSON value in, a body or the reason against it out.

Nothing here reaches the database or the clock, so that one bad event costs its batch nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from json.encoder import encode_basestring  # what `json.dumps` writes, letters left as they are
from typing import Any, NamedTuple

from app.base.config import Settings, settings

FIELDS = frozenset({"id", "tenant", "type", "time", "quantity", "properties"})
CHANGEABLE = FIELDS - {"id", "tenant"}
NAME_LENGTH_MAX = 100  # of an event's type, of a tenant's name and of a property's
# What a quantity column holds: 26 digits before the point, 12 behind it.
QUANTITY_DIGITS_MAX = 26
QUANTITY_DECIMALS_MAX = 12
NUMBER_DIGITS_MAX = 40

# No control characters; no half of a surrogate pair, which no database can store.
_LINE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_STORABLE = re.compile(r"[^\x00\ud800-\udfff]*")
_NUMBER = re.compile(r"\d{1,40}(\.\d{1,40})?", re.ASCII)
_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?([Zz]|[+-]\d\d(:?\d\d)?)", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why one event was not taken: a word for programs, the field, and what to do about it."""

    reason: str
    detail: str
    field: str | None = None


class Body(NamedTuple):
    """A sound event; `tenant` is as it was named, hashes are hex, `at` is ISO 8601 in UTC."""

    tenant: str
    id: str
    id_hash: str
    body_hash: str
    type: str
    at: str
    quantity: str
    properties: str


@dataclass(frozen=True, slots=True)
class Changes:
    """What an event is to say from now on, in the form of a Body; nothing where it stays."""

    type: str | None = None
    at: str | None = None
    quantity: str | None = None
    properties: str | None = None


class _Unfit(Exception):
    def __init__(self, reason: str, detail: str, field: str | None = None) -> None:
        super().__init__(reason)
        self.refusal = Refusal(reason, detail, field)


@dataclass(frozen=True, slots=True)
class _Window:
    """From when to when an event's time is taken, and the limits of everything else."""

    oldest: datetime
    newest: datetime
    limits: Settings


def read_all(events: Sequence[Any], *, now: datetime) -> list[Body | Refusal]:
    """This function will check each event and bring what it says into one form.

    Two events that mean the same have the same `body_hash`: 1.50 and 1.5, +09:00 and Z, whatever
    the order of their properties. A Refusal among the events stays as it is.
    """
    window = _window(now)
    return [_read(event, window) for event in events]


def _window(now: datetime) -> _Window:
    limits = settings()
    return _Window(
        now - timedelta(days=limits.event_backdating_days),
        now + timedelta(seconds=limits.event_clock_skew_seconds),
        limits,
    )


def _read(event: Any, window: _Window) -> Body | Refusal:
    if isinstance(event, Refusal):
        return event
    limits = window.limits
    try:
        if not isinstance(event, dict):
            raise _Unfit("not_an_object", "An event is a JSON object.")
        if not event.keys() <= FIELDS:
            _name_the_unknown(event)
        event_id = _line(event, "id", limits.event_id_length_max)
        tenant = _line(event, "tenant", NAME_LENGTH_MAX)
        kind = _line(event, "type", NAME_LENGTH_MAX)
        at = _moment(event, window)
        quantity = _quantity(event)
        properties = _properties(event, limits)
    except _Unfit as unfit:
        return unfit.refusal
    meaning = f"{len(kind)}:{kind}|{at}|{quantity}|{properties}"
    return Body(tenant, event_id, _hash(event_id), _hash(meaning), kind, at, quantity, properties)


def read_changes(changes: Mapping[str, Any], *, now: datetime) -> Changes | Refusal:
    """This function will check the fields that an event is to have anew, as those of a new one.

    A time is taken within the window in which an event of that time would be taken now.
    """
    window = _window(now)
    try:
        for name in changes:
            if name not in CHANGEABLE:
                known = ", ".join(sorted(CHANGEABLE))
                raise _Unfit("unknown_field", f"What can be amended is: {known}.", name[:100])
        return Changes(
            _line(changes, "type", NAME_LENGTH_MAX) if "type" in changes else None,
            _moment(changes, window) if "time" in changes else None,
            _quantity(changes) if "quantity" in changes else None,
            _properties(changes, window.limits) if "properties" in changes else None,
        )
    except _Unfit as unfit:
        return unfit.refusal


def read_time(value: Any) -> datetime | Refusal:
    """This function will read the time that an event lies at, whenever that was."""
    try:
        return _time(value)
    except _Unfit as unfit:
        return unfit.refusal


def is_id(text: str) -> bool:
    """This function will tell whether an event could have this id."""
    return len(text) <= settings().event_id_length_max and _LINE.fullmatch(text) is not None


def hash_of(event_id: str) -> str:
    """This function will return what an event's id is known by for its tenant's life, in hex."""
    return _hash(event_id)


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=16).hexdigest()


def _name_the_unknown(event: Mapping[str, Any]) -> None:
    for name in event:
        if name not in FIELDS:
            known = ", ".join(sorted(FIELDS))
            raise _Unfit("unknown_field", f"An event has only these fields: {known}.", name[:100])


def _line(event: Mapping[str, Any], field: str, length_max: int) -> str:
    value = event.get(field)
    if value is None:
        raise _Unfit("missing", f"Give the event's {field}.", field)
    if isinstance(value, str) and len(value) <= length_max and _LINE.fullmatch(value):
        return value
    raise _Unfit(
        f"bad_{field}", f"Give 1 to {length_max} characters without control characters.", field
    )


def _moment(event: Mapping[str, Any], window: _Window) -> str:
    at = _time(event.get("time"))
    if at < window.oldest:
        days = window.limits.event_backdating_days
        raise _Unfit("too_old", f"Events are taken for {days} days after their time.", "time")
    if at > window.newest:
        ahead = window.limits.event_clock_skew_seconds
        raise _Unfit(
            "in_the_future", f"The time is over {ahead} seconds ahead of our clock.", "time"
        )
    return at.isoformat()


def _time(value: Any) -> datetime:
    if value is None:
        raise _Unfit("missing", "Give the time at which it was used.", "time")
    try:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        example = "2026-03-10T12:00:00+09:00"
        raise _Unfit(
            "bad_time", f"Give ISO 8601 with a time zone, such as {example}.", "time"
        ) from None


def _quantity(event: Mapping[str, Any]) -> str:
    value = event.get("quantity", 1)
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, int) and not isinstance(value, bool):
        value = Decimal(value)
    if isinstance(value, Decimal) and _is_writable(value) and value >= 0:
        text = plain(value)
        digits, _, decimals = text.partition(".")
        if len(digits) <= QUANTITY_DIGITS_MAX and len(decimals) <= QUANTITY_DECIMALS_MAX:
            return text
    raise _Unfit(
        "bad_quantity",
        f"Give a number from 0, with at most {QUANTITY_DIGITS_MAX} digits before the point"
        f" and {QUANTITY_DECIMALS_MAX} behind it.",
        "quantity",
    )


def _is_writable(number: Decimal) -> bool:
    """Whether a number has a length that anybody means: 1e999999999 is short only as it stands."""
    return number.is_finite() and -NUMBER_DIGITS_MAX < number.adjusted() < NUMBER_DIGITS_MAX


def plain(number: Decimal) -> str:
    """This function will write a number in the one way that all its spellings share."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _properties(event: Mapping[str, Any], limits: Settings) -> str:
    given = event.get("properties")
    if given is None or given == {}:
        return "{}"
    if not isinstance(given, dict):
        raise _Unfit("bad_properties", "Properties are a JSON object.", "properties")
    if len(given) > limits.event_properties_max:
        most = limits.event_properties_max
        raise _Unfit("too_many_properties", f"Give at most {most} properties.", "properties")
    parts = [f"{_property_name(name)}:{_property(name, given[name])}" for name in sorted(given)]
    text = "{" + ",".join(parts) + "}"
    most_letters = limits.event_properties_bytes_max // 4
    if len(text) > most_letters and len(text.encode()) > limits.event_properties_bytes_max:
        most = limits.event_properties_bytes_max
        raise _Unfit("properties_too_large", f"Give at most {most} bytes.", "properties")
    return text


@lru_cache(maxsize=4_096)
def _property_name(name: str) -> str:
    if len(name) > NAME_LENGTH_MAX or not _LINE.fullmatch(name):
        raise _Unfit(
            "bad_properties",
            f"A property's name has 1 to {NAME_LENGTH_MAX} characters, none for control.",
            "properties",
        )
    return encode_basestring(name)


def _property(name: str, value: Any) -> str:
    if isinstance(value, str) and _STORABLE.fullmatch(value):
        return encode_basestring(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        value = Decimal(value)
    if isinstance(value, Decimal) and _is_writable(value):
        text = plain(value)
        if len(text) <= 2 * NUMBER_DIGITS_MAX:
            return text
    raise _Unfit(
        "bad_properties",
        "A property is a text without NUL, a number of usual length, true, false or null.",
        f"properties.{name}",
    )
