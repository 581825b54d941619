"""`flask bench webhooks`: how fast gateways' messages are taken in, genuine or not.

They come at a steady rate through the web server as it is deployed, whether earlier ones are
answered or not: some again and again, some forged. Each must be answered as it deserves, and each
genuine one stands in the database, once.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from dataclasses import dataclass

from sqlalchemy import func, select

from app.base import clock, ids
from app.base.config import settings
from app.base.db import control_session
from app.cli.bench_entitlements import call_steadily
from app.cli.bench_ingest import web_server
from app.embedded import ports
from invoices.models import GatewayEvent

LIMIT_MS = 100.0
CALLS_A_SECOND = 200
WARM_UP_SECONDS = 3  # or as long as it calls, for a quick look
DUPLICATES = 0.2
FORGERIES = 0.1
_KINDS = ("payment.succeeded", "payment.declined", "payment.refunded", "payment.disputed")


class NotAsSent(RuntimeError):
    """Not every genuine message was stored exactly once, or a forged one was."""


@dataclass(frozen=True, slots=True)
class Message:
    """A webhook as it is sent, and how it is to be answered."""

    event_id: str
    request: bytes
    answer: int


def call_in(*, seconds: int) -> list[float]:
    """This function will return what each message took, in milliseconds, from when it was due.

    Raises: NotAsSent; RuntimeError for an answer other than a message deserves.
    """
    warm_up = min(WARM_UP_SECONDS, seconds)
    with web_server() as port:
        messages = _messages(port, (warm_up + seconds) * CALLS_A_SECOND)
        took = call_steadily(
            port,
            [each.request for each in messages],
            warm_up=warm_up * CALLS_A_SECOND,
            rate=CALLS_A_SECOND,
            answers=[each.answer for each in messages],
        )
    genuine = {each.event_id for each in messages if each.answer == 200}
    with control_session() as session:
        stored = session.scalar(select(func.count()).select_from(GatewayEvent))
        known = set(session.scalars(select(GatewayEvent.event_id)))
    if stored != len(genuine) or known != genuine:
        raise NotAsSent(f"{len(genuine)} genuine messages were sent, {stored} are stored.")
    return took


def _messages(port: int, count: int) -> list[Message]:
    dice = random.Random(20_260_310)  # noqa: S311 - traffic, not a secret
    made: list[Message] = []
    genuine: list[Message] = []
    while len(made) < count:
        drawn = dice.random()
        if genuine and drawn < DUPLICATES:
            made.append(dice.choice(genuine[-200:]))
            continue
        forged = drawn > 1 - FORGERIES
        made.append(_message(port, dice, forged=forged))
        if not forged:
            genuine.append(made[-1])
    return made


def _message(port: int, dice: random.Random, *, forged: bool) -> Message:
    now = clock.real_now()
    event_id = f"evt_{ids.uuid7().hex}"
    told = {
        "type": dice.choice(_KINDS),
        "created_at": now.isoformat(),
        "data": {"order_id": f"{ids.uuid7().hex}-1", "payment_id": f"pay_{ids.uuid7().hex}"},
    }
    body = json.dumps(told).encode()
    secret = settings().sandbox_webhook_secret.get_secret_value().removeprefix("whsec_")
    key = b"somebody else's key" if forged else base64.b64decode(secret)
    stamp = str(int(now.timestamp()))
    digest = hmac.digest(key, f"{event_id}.{stamp}.".encode() + body, hashlib.sha256)
    head = (
        f"POST /hooks/sandbox HTTP/1.1\r\nHost: {ports.LOOPBACK}:{port}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        f"webhook-id: {event_id}\r\nwebhook-timestamp: {stamp}\r\n"
        f"webhook-signature: v1,{base64.b64encode(digest).decode()}\r\n\r\n"
    )
    return Message(event_id, head.encode() + body, 403 if forged else 200)
