"""Telling the merchant: events are signed and sent until they are taken or the tries run out."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time

import httpx

from tests.fakes.stripe.box import Box
from tests.fakes.stripe.wire import Row, shown
from tests.plain_http import NO_AUTHORITIES

ATTEMPTS_MAX = 9
_TIMEOUT_S = 10.0
_SECONDS_OFF = {"signed": 0, "stale": -3_600, "future": 864_000}


def sign(*, secret: str, timestamp: int, body: bytes) -> str:
    """This function will return the header of a delivery."""
    signed = str(timestamp).encode() + b"." + body
    return f"t={timestamp},v1={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"


class Messenger(threading.Thread):
    """Delivers events, each on its own; one that fails waits, twice as long each time."""

    def __init__(self, *, box: Box, url: str, secret: str, retry_seconds: float) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._box = box
        self._url = url
        self._secret = secret
        self._retry_seconds = retry_seconds
        self._not_before: dict[str, float] = {}
        self._stopped = False

    def run(self) -> None:
        """This function will deliver until `stop`."""
        with httpx.Client(timeout=_TIMEOUT_S, verify=NO_AUTHORITIES, trust_env=False) as client:
            while (event := self._wait_for_one()) is not None:
                self._settle(event, taken=self.send(client, event))

    def stop(self) -> None:
        with self._box.book.changed:
            self._stopped = True
            self._box.book.changed.notify_all()

    def send(self, client: httpx.Client, event: Row, *, seconds_off: int = 0) -> bool:
        """This function will send an event once, stamped as far off the clock as it is told."""
        body = json.dumps(shown(event), indent=2).encode()
        stamp = int(time.time()) + seconds_off
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": sign(secret=self._secret, timestamp=stamp, body=body),
        }
        try:
            return client.post(self._url, content=body, headers=headers).is_success
        except httpx.HTTPError:
            return False

    def forge(self, event: Row, *, how: str) -> bool:
        """This function will send what Stripe never would: wrongly signed, stale or too early.

        "signed" is right in all this, and may say what no event says.
        """
        with httpx.Client(timeout=_TIMEOUT_S, verify=NO_AUTHORITIES, trust_env=False) as client:
            if how in _SECONDS_OFF:
                return self.send(client, event, seconds_off=_SECONDS_OFF[how])
            stranger = Messenger(
                box=self._box, url=self._url, secret="whsec_of_somebody_else", retry_seconds=0
            )
            return stranger.send(client, event)

    def _wait_for_one(self) -> Row | None:
        book = self._box.book
        with book.changed:
            while not self._stopped:
                waiting = [row for row in book.rows("events") if not row["_settled"]]
                now = time.monotonic()
                waits = [self._not_before.get(row["id"], now) - now for row in waiting]
                if self._box.paused:
                    waits = []
                for row, wait in zip(waiting, waits, strict=False):
                    if wait <= 0:
                        return row
                book.changed.wait(min(waits, default=None))
            return None

    def _settle(self, event: Row, *, taken: bool) -> None:
        with self._box.book.lock:
            attempts = event["_attempts"] + 1
            settled = "delivered" if taken else None
            if not taken and attempts >= ATTEMPTS_MAX:
                settled = "given_up"
            pause = self._retry_seconds * 2 ** event["_attempts"]
            self._not_before[event["id"]] = time.monotonic() + pause
            self._box.book.write(
                [("events", {**event, "_attempts": attempts, "_settled": settled})]
            )
            if settled:
                del self._not_before[event["id"]]
