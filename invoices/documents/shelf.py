"""Papers to JSON and back, and the fingerprint of what they say."""

from __future__ import annotations

import types
import typing
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import cache
from typing import Any

from app.base.errors import Invalid
from invoices import fingerprints
from invoices.documents.papers import (
    CashReceiptPaper,
    InvoicePaper,
    Paper,
    QuotationPaper,
    ReceiptPaper,
    StatementPaper,
    TaxInvoicePaper,
)

KINDS: dict[str, type[Paper]] = {
    "invoice": InvoicePaper,
    "tax_invoice": TaxInvoicePaper,
    "receipt": ReceiptPaper,
    "quotation": QuotationPaper,
    "statement": StatementPaper,
    "cash_receipt": CashReceiptPaper,
}


class UnreadablePaper(Invalid):
    """Stored paper data does not have the shape of its kind."""


def kind_of(paper: Paper) -> str:
    """This function will return the word that names the paper's kind: a key of KINDS."""
    return next(kind for kind, shape in KINDS.items() if isinstance(paper, shape))


def to_json(paper: Paper) -> dict[str, Any]:
    """This function will turn a paper into plain JSON values (dates ISO, decimals as text)."""
    return {"kind": kind_of(paper), **_plain(paper)}


def from_json(stored: dict[str, Any]) -> Paper:
    """This function will rebuild a paper from what to_json made.

    Raises: UnreadablePaper for an unknown kind or field, or a value of the wrong shape.
    """
    shape = KINDS.get(stored.get("kind", ""))
    if shape is None:
        raise UnreadablePaper("The stored paper names no known kind.", field="kind")
    return typing.cast(Paper, _built(shape, {k: v for k, v in stored.items() if k != "kind"}))


def content_sha256(paper: Paper) -> str:
    """This function will return the hex digest of the paper's canonical JSON."""
    return fingerprints.sha256(to_json(paper))


_AS_IT_IS = frozenset({str, int, bool, type(None)})


def _plain(value: Any) -> Any:
    kind: type = type(value)
    if kind in _AS_IT_IS:
        return value
    if names := _fields(kind):
        return {name: _plain(getattr(value, name)) for name in names}
    if kind is tuple:
        return [_plain(each) for each in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, Decimal) else value


@cache
def _fields(cls: type) -> tuple[str, ...]:
    """A run turns many thousand papers to JSON, of a handful of kinds."""
    return tuple(field.name for field in fields(cls)) if is_dataclass(cls) else ()


@cache
def _shapes(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _built(shape: Any, value: Any) -> Any:
    """This function will build one value of `shape`, the inverse of _plain."""
    if isinstance(shape, types.UnionType):
        if value is None:
            return None
        return _built(next(arm for arm in shape.__args__ if arm is not types.NoneType), value)
    if typing.get_origin(shape) is tuple:
        if not isinstance(value, list):
            raise UnreadablePaper("The stored paper has no list where its kind has one.")
        return tuple(_built(typing.get_args(shape)[0], each) for each in value)
    if is_dataclass(shape):
        return _record(typing.cast(type, shape), value)
    if issubclass(shape, (Enum, Decimal, date)):
        return _parsed(shape, value)
    if type(value) is not shape:
        raise UnreadablePaper(f"The stored paper has {type(value).__name__} for {shape.__name__}.")
    return value


def _record(shape: type, value: Any) -> Any:
    if not isinstance(value, dict):
        raise UnreadablePaper(f"The stored paper has no {shape.__name__} where its kind has one.")
    hints = _shapes(shape)
    if unknown := sorted(value.keys() - hints.keys()):
        raise UnreadablePaper(f"The stored paper has unknown fields: {', '.join(unknown)}.")
    try:
        return shape(**{name: _built(hints[name], each) for name, each in value.items()})
    except TypeError as missing:
        raise UnreadablePaper(f"The stored {shape.__name__} lacks fields.") from missing


def _parsed(shape: Any, value: Any) -> Any:
    if not isinstance(value, str):
        raise UnreadablePaper(f"The stored paper has {type(value).__name__} where text belongs.")
    try:
        return date.fromisoformat(value) if shape is date else shape(value)
    except (ValueError, InvalidOperation) as wrong:
        raise UnreadablePaper(f"The stored paper has no valid {shape.__name__}.") from wrong
