"""Webhooks of Toss Payments: few are signed, one shares a secret, and most are only hints.

Source: Toss Payments' guide to webhooks. `payout.changed` and `seller.changed` carry a signature;
the deposit callback has no type and names a secret that its payment was born with; all others can
be sent by anybody.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from app.base.errors import Invalid
from invoices.gateways import reading, toss_reading
from invoices.gateways.port import (
    EventKind,
    GatewayEvent,
    GatewayUnavailable,
    Trust,
    WebhookRefused,
)

TOLERANCE = timedelta(minutes=5)
SIGNATURE = "tosspayments-webhook-signature"
SENT_AT = "tosspayments-webhook-transmission-time"
_SIGNED = {"payout.changed": EventKind.PAYOUT_CHANGED, "seller.changed": EventKind.OTHER}
_BY_STATUS = {
    "DONE": EventKind.PAYMENT_SUCCEEDED,
    "CANCELED": EventKind.PAYMENT_REFUNDED,
    "PARTIAL_CANCELED": EventKind.PAYMENT_REFUNDED,
    "ABORTED": EventKind.PAYMENT_DECLINED,
    "EXPIRED": EventKind.PAYMENT_DECLINED,
}


def parse(
    *, security_key: str, headers: Mapping[str, str], raw_body: bytes, now: datetime
) -> GatewayEvent:
    """This function will say what a webhook is about, and how far it may be believed.

    Raises: WebhookRefused (a signature that must be there is not, or is not of now), Invalid.
    """
    try:
        told = reading.mapping(json.loads(raw_body))
        kind = told.get("eventType")
        if kind is not None and not isinstance(kind, str):
            raise ValueError("no usable type")
        if kind in _SIGNED:
            _verify(security_key=security_key, headers=headers, raw_body=raw_body, now=now)
            return _event(raw_body, told, kind=_SIGNED[kind], trust=Trust.SIGNED)
        if kind is None:
            return _deposit(raw_body, told)
        return _hint(raw_body, told, kind)
    # Nested without end is as unreadable as broken.
    except (ValueError, RecursionError, GatewayUnavailable) as error:
        raise Invalid("The webhook's body is not readable.") from error


def signature(*, security_key: str, raw_body: bytes, sent_at: str) -> bytes:
    """This function will return what a genuine message of that time is signed with."""
    signed = raw_body + b":" + sent_at.encode()
    return base64.b64encode(hmac.digest(security_key.encode(), signed, hashlib.sha256))


def _verify(
    *, security_key: str, headers: Mapping[str, str], raw_body: bytes, now: datetime
) -> None:
    lowered = {name.lower(): value for name, value in headers.items()}
    sent_at = lowered.get(SENT_AT, "")
    if not security_key:
        raise WebhookRefused("Without the account's security key nothing signed can be checked.")
    expected = signature(security_key=security_key, raw_body=raw_body, sent_at=sent_at)
    given = [
        word.strip().removeprefix("v1:").encode("utf-8", "surrogateescape")
        for word in lowered.get(SIGNATURE, "").split(",")
    ]
    # Two while the key is being exchanged: by the old one and by the new one.
    if not any(hmac.compare_digest(expected, candidate) for candidate in given):
        raise WebhookRefused("The webhook's signature does not match.")
    try:
        moment = datetime.fromisoformat(sent_at)
    except ValueError as error:
        raise WebhookRefused("The webhook has no usable time stamp.") from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=toss_reading.KST)
    if abs(now - moment) > TOLERANCE:
        raise WebhookRefused("The webhook's time stamp is too far from now.")


def _deposit(raw_body: bytes, told: Mapping[str, Any]) -> GatewayEvent:
    return _event(
        raw_body,
        told,
        kind=EventKind.ACCOUNT_DEPOSITED,
        trust=Trust.SECRET,
        order_id=reading.text(told, "orderId"),
        secret=reading.text(told, "secret"),
    )


def _hint(raw_body: bytes, told: Mapping[str, Any], event_type: str) -> GatewayEvent:
    data = reading.mapping(told.get("data"))
    match event_type:
        case "PAYMENT_STATUS_CHANGED":
            kind = _BY_STATUS.get(str(data.get("status")), EventKind.OTHER)
        case "CANCEL_STATUS_CHANGED":
            kind = EventKind.PAYMENT_REFUNDED
        case "BILLING_DELETED":
            return _revoked(raw_body, told, data)
        case _:
            kind = EventKind.OTHER
    return _event(
        raw_body,
        told,
        kind=kind,
        trust=Trust.UNSIGNED,
        payment_id=_short_text(data.get("paymentKey"), 200),
        order_id=_short_text(data.get("orderId"), 64),
    )


def _revoked(raw_body: bytes, told: Mapping[str, Any], data: Mapping[str, Any]) -> GatewayEvent:
    """Nobody can ask Toss about a billing key; but nobody else knows it either."""
    billing_key = reading.text(data, "billingKey")
    return _event(
        raw_body,
        told,
        kind=EventKind.METHOD_REVOKED,
        trust=Trust.SECRET,
        secret=billing_key,
        method=billing_key,
    )


def _event(
    raw_body: bytes,
    told: Mapping[str, Any],
    *,
    kind: EventKind,
    trust: Trust,
    payment_id: str | None = None,
    order_id: str | None = None,
    secret: str | None = None,
    method: str | None = None,
) -> GatewayEvent:
    return GatewayEvent(
        # Toss names no event; a repeated delivery repeats the body, its time of birth included.
        event_id=hashlib.sha256(raw_body).hexdigest(),
        kind=kind,
        trust=trust,
        occurred_at=reading.moment(told, "createdAt", zone=toss_reading.KST),
        gateway_payment_id=payment_id,
        order_id=order_id,
        secret=secret,
        method=method,
    )


def _short_text(value: Any, length_max: int) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= length_max else None
