"""PortOne's published shapes, and what of a value departs from them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_PUBLISHED = json.loads(
    (Path(__file__).parents[2] / "data" / "portone_shapes.json").read_text(encoding="utf-8")
)
SHAPES: dict[str, Any] = _PUBLISHED["shapes"]
ENUMS: dict[str, list[str]] = _PUBLISHED["enums"]
# Which of several shapes a value has is told by its tag.
UNIONS = {
    "Payment": (
        "PaidPayment",
        "FailedPayment",
        "CancelledPayment",
        "PartialCancelledPayment",
    ),
    "PaymentCancellation": ("SucceededPaymentCancellation",),
    "BillingKeyInfo": ("IssuedBillingKeyInfo", "DeletedBillingKeyInfo"),
    "BillingKeyPaymentMethod": (
        "BillingKeyPaymentMethodCard",
        "BillingKeyPaymentMethodEasyPay",
        "BillingKeyPaymentMethodPaypal",
    ),
    "BillingKeyPaymentMethodEasyPayMethod": ("BillingKeyPaymentMethodCard",),
    "PaymentMethod": ("PaymentMethodCard", "PaymentMethodEasyPay"),
    "PaymentMethodEasyPayMethod": ("PaymentMethodCard",),
    "Error": tuple(name for name in SHAPES if name.endswith("Error")),
    "Webhook": tuple(
        name for name in SHAPES if name.startswith("Webhook") and SHAPES[name].get("tag")
    ),
}
_PLAIN = {"str": str, "int": int, "bool": bool, "dict": dict}


def faults(name: str, value: Any, where: str = "") -> Iterator[str]:
    """This function will say each way in which a value departs from the shape of that name."""
    where = where or name
    if name in UNIONS:
        yield from _of_union(name, value, where)
    elif name in SHAPES:
        yield from _of_shape(name, value, where)
    elif name.startswith("list["):
        if not isinstance(value, list):
            yield f"{where} is no list"
            return
        for place, each in enumerate(value):
            yield from faults(name[5:-1], each, f"{where}[{place}]")
    elif name in ENUMS:
        if value not in ENUMS[name]:
            yield f"{where} is {value!r}, none of {name}"
    elif name in _PLAIN and type(value) is not _PLAIN[name]:
        yield f"{where} is {value!r}, no {name}"


def _of_union(name: str, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no {name}"
        return
    for each in UNIONS[name]:
        tag, word = SHAPES[each]["tag"]
        if value.get(tag) == word:
            yield from _of_shape(each, value, where)
            return
    yield f"{where} is no {name}: {value.get('type') or value.get('status')!r}"


def _of_shape(name: str, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where} is no {name}"
        return
    shape = SHAPES[name]
    tag, word = shape.get("tag", (None, None))
    known = shape["required"] | shape["optional"]
    for field in shape["required"].keys() - value.keys():
        yield f"{where}.{field} is missing"
    for field, each in value.items():
        if field == tag:
            if each != word:
                yield f"{where}.{field} is {each!r}, not {word!r}"
        elif field not in known:
            yield f"{where}.{field} is not published"
        else:
            yield from faults(known[field], each, f"{where}.{field}")
