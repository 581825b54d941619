"""Fingerprints: one canonical JSON for whatever must be shown later to be unchanged. Pure."""

from __future__ import annotations

import hashlib
import json
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID


def canonical_json(value: Any) -> str:
    """This function will write a value as JSON in the only way: sorted keys, no spaces.

    Decimals become plain text without trailing zeros, so 1.50 and 1.500000000000 read alike
    whether they come from a program or from a NUMERIC column.

    Raises: TypeError for a float or any other type that has no exact text.
    """
    return json.dumps(
        _exact(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False
    )


def sha256(value: Any) -> str:
    """This function will return the hex digest of a value's canonical JSON."""
    return sha256_of(canonical_json(value))


def sha256_of(canonical: str) -> str:
    """This function will return the hex digest of what is canonical JSON already."""
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def plain_decimal(value: Decimal) -> str:
    """This function will write a decimal without exponent or trailing zeros: `0.25`, `100`."""
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


# Most values by far; what needs no conversion is not looked at twice.
_PLAIN = frozenset({str, int, bool, type(None)})


def _exact(value: Any) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is dict:
        return {
            key if type(key) is str else str(key): each if type(each) in _PLAIN else _exact(each)
            for key, each in value.items()
        }
    if kind is list or kind is tuple:
        return [each if type(each) in _PLAIN else _exact(each) for each in value]
    return plain_decimal(value) if kind is Decimal else _exact_of_a_kind(value)


def _exact_of_a_kind(value: Any) -> Any:
    """What is no plain value, or is one by inheritance."""
    if isinstance(value, date):  # a datetime is a date too
        return value.isoformat()
    if isinstance(value, UUID | Decimal):
        return plain_decimal(value) if isinstance(value, Decimal) else str(value)
    if isinstance(value, str | int):
        return value
    if isinstance(value, dict):
        return {str(key): _exact(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(each) for each in value]
    raise TypeError(f"{type(value).__name__} has no exact text")
