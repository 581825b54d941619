"""Stripe's wire: forms with brackets, errors, lists in pages, and fields that are expanded."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

import stripe

Row = dict[str, Any]
PAGE_SIZE_MAX = 100
_BRACKETS = re.compile(r"\[([^\]]*)\]")


class Refusal(Exception):
    """A request that is turned away. `saved`: whether its key replays that, once it ran."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        saved: bool = False,
        **more: Any,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.saved = saved
        self.body = {"error": {"message": message, "type": kind, **more}}


def missing(kind: str, row_id: object, param: str = "id", status: int = 404) -> Refusal:
    """This function will say that there is no such object."""
    name = kind.replace("_", " ") if kind != "payment_intent" else kind
    return Refusal(
        status, f"No such {name}: '{row_id}'", code="resource_missing", param=param, saved=True
    )


def new_id(prefix: str) -> str:
    """This function will make an id as Stripe's look."""
    return f"{prefix}_{secrets.token_hex(12)}"


def form(pairs: Iterable[tuple[str, str]]) -> Row:
    """This function will read `a[b][0]=c` into nested dicts, and numbered keys into lists."""
    found: Row = {}
    for name, value in pairs:
        head, parts = name.partition("[")[0], _BRACKETS.findall(name)
        at: Row = found
        for part, following in zip([head, *parts], [*parts, None], strict=True):
            key = part or str(len(at))
            if following is None:
                at[key] = value
            else:
                at = at.setdefault(key, {})
    return {name: _lists(value) for name, value in found.items()}


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    inner = {key: _lists(each) for key, each in value.items()}
    return list(inner.values()) if all(key.isdigit() for key in inner) else inner


def published(call: str) -> frozenset[str]:
    """This function will return the parameters that Stripe's SDK publishes for a call."""
    named = getattr(stripe.params, call, None) or getattr(stripe.params.checkout, call)
    return frozenset(set(named.__annotations__) - set(stripe.RequestOptions.__annotations__))


def take(given: Mapping[str, Any], known: frozenset[str]) -> None:
    """This function will turn away a parameter that Stripe does not publish."""
    for name in given:
        if name not in known:
            raise Refusal(
                400,
                f"Received unknown parameter: {name}",
                code="parameter_unknown",
                param=name,
            )


def required(given: Mapping[str, Any], *names: str) -> None:
    """This function will turn away a request that lacks one of these."""
    for name in names:
        if not given.get(name):
            message = f"Missing required param: {name}."
            raise Refusal(400, message, code="parameter_missing", param=name)


def whole(given: Mapping[str, Any], name: str) -> int:
    """This function will read a whole positive number."""
    try:
        value = int(given[name])
    except ValueError as error:
        raise Refusal(
            400, f"Invalid integer: {given[name]}", code="parameter_invalid_integer", param=name
        ) from error
    if value < 1:
        message = "This value must be greater than or equal to 1."
        raise Refusal(400, message, code="parameter_invalid_integer", param=name)
    return value


def page(rows: list[Row], query: Mapping[str, Any], url: str) -> Row:
    """This function will return a page of a list: the newest first, as everywhere at Stripe."""
    found = [row for row in reversed(rows) if _created(row, query.get("created"))]
    limit = min(max(int(query.get("limit", 10)), 1), PAGE_SIZE_MAX)
    if "starting_after" in query:
        ids = [row["id"] for row in found]
        if query["starting_after"] not in ids:
            raise missing(url.rpartition("/")[2], query["starting_after"], "starting_after", 400)
        found = found[ids.index(query["starting_after"]) + 1 :]
    return {
        "object": "list",
        "url": url,
        "has_more": len(found) > limit,
        "data": found[:limit],
    }


def _created(row: Row, asked: Any) -> bool:
    if asked is None:
        return True
    bounds = asked if isinstance(asked, dict) else {"gte": asked, "lte": asked}
    tests = {
        "gt": lambda bound: row["created"] > bound,
        "gte": lambda bound: row["created"] >= bound,
        "lt": lambda bound: row["created"] < bound,
        "lte": lambda bound: row["created"] <= bound,
    }
    return all(tests[name](int(bound)) for name, bound in bounds.items())


def shown(row: Row) -> Row:
    """This function will return a row as the merchant sees it, without what is only known here."""
    return {name: value for name, value in row.items() if not name.startswith("_")}
