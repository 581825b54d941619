"""Stripe's webhooks: the signature, the time stamp both ways, and what an event is about.

`Stripe-Signature: t=<seconds>,v1=<hex>,…`; the signature is HMAC-SHA256 over `<t>.<raw body>`.
Checked here and not by the SDK, which lets time stamps of the future pass.
Source: Stripe's page on verifying signatures by hand.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.base.errors import Invalid
from invoices.gateways.port import EventKind, GatewayEvent, Trust, WebhookRefused

TOLERANCE = timedelta(minutes=5)
_HEADER = "stripe-signature"
_ID_LENGTH_MAX = 200
_KINDS = {
    "payment_intent.succeeded": EventKind.PAYMENT_SUCCEEDED,
    "payment_intent.payment_failed": EventKind.PAYMENT_DECLINED,
    "charge.refunded": EventKind.PAYMENT_REFUNDED,
    "charge.refund.updated": EventKind.PAYMENT_REFUNDED,
    "setup_intent.succeeded": EventKind.METHOD_REGISTERED,
    "payment_method.detached": EventKind.METHOD_REVOKED,
}
_FAMILIES = (
    ("charge.dispute.", EventKind.PAYMENT_DISPUTED),
    ("refund.", EventKind.PAYMENT_REFUNDED),
    ("payout.", EventKind.PAYOUT_CHANGED),
)


def parse(
    *, secret: str, headers: Mapping[str, str], raw_body: bytes, now: datetime
) -> GatewayEvent:
    """This function will check a webhook and say what it is about.

    Raises: WebhookRefused (forged, stale or from the future), Invalid (not readable).
    """
    _verify(secret=secret, headers=headers, raw_body=raw_body, now=now)
    try:
        told = json.loads(raw_body)
        event_id, kind, subject = told["id"], told["type"], told["data"]["object"]
        if not isinstance(event_id, str) or not 0 < len(event_id) <= _ID_LENGTH_MAX:
            raise ValueError("no usable id")
        return GatewayEvent(
            event_id=event_id,
            kind=_kind(kind),
            trust=Trust.SIGNED,
            occurred_at=datetime.fromtimestamp(told["created"], UTC),
            gateway_payment_id=_payment_of(subject),
            order_id=_order_of(subject),
            method=_method_of(subject),
        )
    # Nested without end is as unreadable as broken; both are signed, neither is an event.
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,
        OSError,
        RecursionError,
    ) as error:
        raise Invalid("The webhook's body is not readable.") from error


def _verify(*, secret: str, headers: Mapping[str, str], raw_body: bytes, now: datetime) -> None:
    lowered = {name.lower(): value for name, value in headers.items()}
    parts = [part.partition("=")[::2] for part in lowered.get(_HEADER, "").split(",")]
    stamps = [value for name, value in parts if name.strip() == "t"]
    # Of two time stamps one would be checked and the other believed.
    if len(stamps) != 1 or not _is_stamp(stamps[0]):
        raise WebhookRefused("The webhook has no usable time stamp.")
    signed = stamps[0].encode() + b"." + raw_body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
    given = [
        value.encode("utf-8", "surrogateescape") for name, value in parts if name.strip() == "v1"
    ]
    if not any(hmac.compare_digest(expected, candidate) for candidate in given):
        raise WebhookRefused("The webhook's signature does not match.")
    if abs(now - datetime.fromtimestamp(int(stamps[0]), UTC)) > TOLERANCE:
        raise WebhookRefused("The webhook's time stamp is too far from now.")


def _is_stamp(text: str) -> bool:
    # isdigit() alone also admits digits of other scripts.
    return text.isascii() and text.isdigit() and len(text) <= 11


def _kind(told: str) -> EventKind:
    if told in _KINDS:
        return _KINDS[told]
    return next((kind for start, kind in _FAMILIES if told.startswith(start)), EventKind.OTHER)


def _payment_of(subject: Mapping[str, Any]) -> str | None:
    found = subject.get("payment_intent")
    if subject.get("object") == "payment_intent":
        found = subject.get("id")
    if isinstance(found, dict):
        found = found.get("id")
    return found if isinstance(found, str) else None


def _method_of(subject: Mapping[str, Any]) -> str | None:
    found = subject.get("id") if subject.get("object") == "payment_method" else None
    return found if isinstance(found, str) else None


def _order_of(subject: Mapping[str, Any]) -> str | None:
    metadata = subject.get("metadata")
    found = metadata.get("order_id") if isinstance(metadata, dict) else None
    # Others who use the same account write there what they like.
    usable = isinstance(found, str) and 0 < len(found) <= _ID_LENGTH_MAX
    return found if usable else None
