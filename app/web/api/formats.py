"""The forms in which events arrive: JSON, a JSON object a line, CloudEvents 1.0."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from decimal import Decimal, InvalidOperation
from typing import Any

from flask import request

from app.base.config import settings
from app.web.api.door import Problem
from tenants.event_bodies import Refusal

_ATTRIBUTES = {"id": "id", "type": "type", "time": "time"}
_DATA = frozenset({"quantity", "properties"})
_NOT_CLOUD = "not_a_cloud_event"


def events() -> list[Any]:
    """This function will read the events of this call, each as the room takes it.

    Raises: Problem for a body that holds no events at all.
    """
    text = _text(_READERS)
    return _READERS[request.mimetype](text)


def one_object() -> dict[str, Any]:
    """This function will read the one JSON object of this call, numbers as they were written.

    Raises: Problem for a body that is none.
    """
    found = _document(_text(("application/json",)))
    if not isinstance(found, dict):
        raise Problem(422, "Send one JSON object.")
    return found


def _text(forms: Collection[str]) -> str:
    request.max_content_length = settings().event_body_bytes_max
    if (
        request.mimetype not in forms
        or request.mimetype_params.get("charset", "utf-8").lower() != "utf-8"
    ):
        raise Problem(415, f"Send one of these in UTF-8: {', '.join(forms)}.")
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Problem(415, "Send the body as it is, not compressed.")
    if "Transfer-Encoding" in request.headers and not request.environ.get("wsgi.input_terminated"):
        raise Problem(411, "Send the length of the body.")
    try:
        return request.get_data(cache=False).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8, from byte {error.start} on.") from error


def _decoded(text: str) -> Any:
    """Numbers stay as they were written: no float touches a quantity."""
    try:
        return json.loads(text, parse_float=Decimal, parse_int=Decimal, parse_constant=_no_number)
    except InvalidOperation:
        return json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_no_number)


def _number(written: str) -> Decimal:
    try:
        return Decimal(written)
    except InvalidOperation:  # an exponent beyond all bounds: that event is refused, not the call
        return _no_number(written)


def _no_number(_: str) -> Decimal:
    return Decimal("NaN")


def _document(text: str) -> Any:
    try:
        return _decoded(text)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Problem(400, f"The body is not JSON: {error.msg} at {place}.") from error
    except RecursionError as error:
        raise Problem(400, "The body is nested too deeply.") from error


def _json(text: str) -> list[Any]:
    found = _document(text)
    if isinstance(found, dict) and "events" in found:
        if not isinstance(found["events"], list) or len(found) > 1:
            raise Problem(422, 'Send {"events": […]} and nothing beside it.')
        found = found["events"]
    return found if isinstance(found, list) else [found]


def _lines(text: str) -> list[Any]:
    found = []
    for line in text.split("\n"):
        if line.strip():
            try:
                found.append(_decoded(line))
            except (json.JSONDecodeError, RecursionError):
                found.append(Refusal("not_json", "This line is not a JSON object."))
    return found


def _cloud_event(text: str) -> list[Any]:
    return [_from_cloud(_document(text))]


def _cloud_events(text: str) -> list[Any]:
    found = _document(text)
    if not isinstance(found, list):
        raise Problem(422, "A batch of CloudEvents is a JSON array.")
    return [_from_cloud(each) for each in found]


def _from_cloud(given: Any) -> Any:
    """An event of ours, or why it is none. Its id counts for its source: the two name it together.

    Source: CloudEvents 1.0.2, required attributes; unknown extensions are passed over.
    """
    if not isinstance(given, dict) or given.get("specversion") != "1.0":
        return Refusal(_NOT_CLOUD, 'Send a JSON object with specversion "1.0".', "specversion")
    source = given.get("source")
    if not isinstance(source, str) or not source:
        return Refusal("missing", "Give the event's source.", "source")
    data = given.get("data", {})
    if not isinstance(data, dict) or not data.keys() <= _DATA or "data_base64" in given:
        return Refusal("bad_data", "Data is a JSON object with quantity and properties.", "data")
    event = {ours: given[theirs] for theirs, ours in _ATTRIBUTES.items() if theirs in given}
    if isinstance(event.get("id"), str) and event["id"]:
        event["id"] = f"{source} {event['id']}"
    tenant = given.get("tenant", given.get("subject"))
    return event | data | ({} if tenant is None else {"tenant": tenant})


_READERS: dict[str, Callable[[str], list[Any]]] = {
    "application/json": _json,
    "application/x-ndjson": _lines,
    "application/cloudevents+json": _cloud_event,
    "application/cloudevents-batch+json": _cloud_events,
}
