"""Reading what gateways answer: what must be there is held to be, and what must not matter is not.

Vendors add fields and values without notice, so only what is used is read. Whatever can't be made
out raises GatewayUnavailable: where money may have moved, its caller answers `Unknown` then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, tzinfo
from typing import Any

import httpx

from invoices.gateways.port import GatewayUnavailable


def body(response: httpx.Response) -> Any:
    """This function will read the JSON of an answer. Raises: GatewayUnavailable."""
    try:
        return response.json()
    # Nested without end is as unreadable as broken.
    except (ValueError, RecursionError) as error:
        raise GatewayUnavailable(
            f"The gateway answered {response.status_code} without a readable body."
        ) from error


def mapping(value: Any) -> dict[str, Any]:
    """This function will hold that a value is a JSON object. Raises: GatewayUnavailable."""
    if not isinstance(value, dict):
        raise GatewayUnavailable("The gateway's answer is not an object.")
    return value


def rows(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """This function will read a list of objects. Raises: GatewayUnavailable."""
    found = row.get(name)
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise _lacks(name)
    return found


def text(row: Mapping[str, Any], name: str) -> str:
    """This function will read a text that must be there. Raises: GatewayUnavailable."""
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise _lacks(name)
    return value


def optional_text(row: Any, name: str) -> str | None:
    """This function will read a text that may be absent, or its object with it."""
    value = row.get(name) if isinstance(row, dict) else None
    return value if isinstance(value, str) and value else None


def whole(row: Mapping[str, Any], name: str) -> int:
    """This function will read a whole number that must be there. Raises: GatewayUnavailable."""
    value = row.get(name)
    if type(value) is not int:
        raise _lacks(name)
    return value


def moment(row: Mapping[str, Any], name: str, *, zone: tzinfo | None = None) -> datetime:
    """This function will read a point in time, of `zone` where it names no offset.

    Raises: GatewayUnavailable (not there, or no offset and no zone).
    """
    try:
        found = datetime.fromisoformat(text(row, name))
    except ValueError as error:
        raise _lacks(name) from error
    if found.tzinfo is not None:
        return found
    if zone is None:
        raise _lacks(f"the offset of {name}")
    return found.replace(tzinfo=zone)


def day(row: Mapping[str, Any], name: str) -> date:
    """This function will read a calendar day, also of a time. Raises: GatewayUnavailable."""
    try:
        return date.fromisoformat(text(row, name)[:10])
    except ValueError as error:
        raise _lacks(name) from error


def _lacks(name: str) -> GatewayUnavailable:
    return GatewayUnavailable(f"The gateway's answer lacks {name}.")
