"""Verification of signed webhooks in the Standard Webhooks form.

The signature is HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{raw body}`, base64, as one of
several `v1,<signature>` words; the secret is base64 behind `whsec_`.
Source: the Standard Webhooks specification.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from invoices.gateways.port import WebhookRefused

TOLERANCE = timedelta(minutes=5)
_ID_LENGTH_MAX = 200


def verify(
    *, secret: str, headers: Mapping[str, str], raw_body: bytes, now: datetime
) -> tuple[str, datetime]:
    """This function will return the event's id and time, if the message is genuine and of now.

    The tolerance holds both ways: a time stamp far ahead would stay replayable until then.
    Raises: WebhookRefused.
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    event_id = lowered.get("webhook-id", "")
    stamp = lowered.get("webhook-timestamp", "")
    if not event_id or len(event_id) > _ID_LENGTH_MAX or not event_id.isascii():
        raise WebhookRefused("The webhook has no usable id.")
    # isdigit() alone also admits digits of other scripts.
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11):
        raise WebhookRefused("The webhook has no usable time stamp.")
    expected = _signature(secret=secret, signed=f"{event_id}.{stamp}.".encode() + raw_body)
    given = [
        word.removeprefix("v1,").encode("utf-8", "surrogateescape")
        for word in lowered.get("webhook-signature", "").split()
        if word.startswith("v1,")
    ]
    if not any(hmac.compare_digest(expected, candidate) for candidate in given):
        raise WebhookRefused("The webhook's signature does not match.")
    sent_at = datetime.fromtimestamp(int(stamp), UTC)
    if abs(now - sent_at) > TOLERANCE:
        raise WebhookRefused("The webhook's time stamp is too far from now.")
    return event_id, sent_at


def _signature(*, secret: str, signed: bytes) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as error:
        raise WebhookRefused("The webhook secret in the configuration is not base64.") from error
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
