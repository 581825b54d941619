"""Telling the merchant: every event is signed and sent until it is taken or the tries run out."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time

import httpx

from app.sandbox.journal import Book, Row

ATTEMPTS_MAX = 9
_TIMEOUT_S = 10.0


class Messenger(threading.Thread):
    """Delivers events in the order they happened; one that fails waits, twice as long each time."""

    def __init__(self, *, book: Book, url: str, secret: str, retry_seconds: float) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._book = book
        self._url = url
        self._secret = secret
        self._retry_seconds = retry_seconds
        # When an event may be tried again, on the monotonic clock; a restart tries at once.
        self._not_before: dict[str, float] = {}
        self._stopped = False

    def run(self) -> None:
        """This function will deliver until `stop`."""
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as client:
            while True:
                event = self._wait_for_one()
                if event is None:
                    return
                self._settle(event, delivered=_send(client, self._url, self._secret, event))

    def stop(self) -> None:
        """This function will let the thread end; what was not delivered stays in the book."""
        with self._book.changed:
            self._stopped = True
            self._book.changed.notify_all()

    def _wait_for_one(self) -> Row | None:
        with self._book.changed:
            while not self._stopped:
                open_events = [row for row in self._book.rows("events") if not row["settled"]]
                now = time.monotonic()
                waits = [self._not_before.get(row["id"], now) - now for row in open_events]
                for row, wait in zip(open_events, waits, strict=True):
                    if wait <= 0:
                        return row
                self._book.changed.wait(min(waits, default=None))
            return None

    def _settle(self, event: Row, *, delivered: bool) -> None:
        with self._book.lock:
            if self._book.get("events", event["id"]) is not event:
                return  # asked for once more while it was under way: that is still to be done
            attempts = event["attempts"] + 1
            settled = "delivered" if delivered else None
            if not delivered and attempts >= ATTEMPTS_MAX:
                settled = "given_up"
            self._not_before[event["id"]] = (
                time.monotonic() + self._retry_seconds * 2 ** event["attempts"]
            )
            try:
                self._book.write([("events", {**event, "attempts": attempts, "settled": settled})])
            except OSError:
                # No room to note it: the event is told again later, which merchants must bear.
                return
            if settled:
                del self._not_before[event["id"]]


def sign(*, secret: str, event_id: str, timestamp: int, body: bytes) -> str:
    """This function will return the signature of a delivery.

    Source: the Standard Webhooks specification.
    """
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _send(client: httpx.Client, url: str, secret: str, event: Row) -> bool:
    told = {name: event[name] for name in ("id", "type", "created_at", "data")}
    body = json.dumps(told, ensure_ascii=False).encode()
    timestamp = int(time.time())
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event["id"],
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(
            secret=secret, event_id=event["id"], timestamp=timestamp, body=body
        ),
    }
    try:
        return client.post(url, content=body, headers=headers).is_success
    except httpx.HTTPError:
        return False
