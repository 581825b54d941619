"""Toss Payments' published shapes, and a check of a value against one: no more than they use."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_DATA = Path(__file__).parents[2] / "data" / "toss_openapi_subset.json"
PUBLISHED: dict[str, Any] = json.loads(_DATA.read_text())
RESPONSES, REQUESTS = PUBLISHED["responses"], PUBLISHED["requests"]
# Fields of the interface that came after the transcription.
NEWER = frozenset({"cancelStatus"})
_TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


def misfits(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """This function will name every place where the value is not of the published shape.

    Null stands for a field that does not apply; a field that nobody published is a misfit.
    """
    if "$ref" in schema:
        return misfits(value, RESPONSES[schema["$ref"].rsplit("/", 1)[1]], at)
    if value is None:
        return []
    kind = schema.get("type", "object")
    if not isinstance(value, _TYPES[kind]) or (kind != "boolean" and isinstance(value, bool)):
        return [f"{at}: {value!r} is not of type {kind}"]
    found = []
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is none of {schema['enum']}")
    if isinstance(value, str):
        found += _text(value, schema, at)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += misfits(item, schema.get("items", {}), f"{at}[{number}]")
    elif isinstance(value, dict):
        found += _fields(value, schema, at)
    elif not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        found.append(f"{at}: {value!r} is out of bounds")
    return found


def _text(value: str, schema: dict[str, Any], at: str) -> list[str]:
    found = []
    if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
        found.append(f"{at}: {len(value)} letters")
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    return found


def _fields(value: dict[str, Any], schema: dict[str, Any], at: str) -> list[str]:
    known = schema.get("properties")
    found = [f"{at}.{name}: missing" for name in schema.get("required", []) if name not in value]
    if known is None:
        return found
    for name, item in value.items():
        if name in known:
            found += misfits(item, known[name], f"{at}.{name}")
        elif name not in NEWER:
            found.append(f"{at}.{name}: not published")
    return found
