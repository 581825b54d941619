"""Webhooks: every event is signed and sent until it is taken or the tries run out."""

from __future__ import annotations

import json
import threading
import time

import httpx

from app.sandbox.journal import Row
from app.sandbox.webhooks import sign
from tests.fakes.portone.book import Simulator
from tests.plain_http import NO_AUTHORITIES

ATTEMPTS_MAX = 6  # once, and five times more
_TIMEOUT_S = 10.0


class Messenger(threading.Thread):
    """Tells the merchant what happened, in order while nothing fails."""

    def __init__(
        self, *, simulator: Simulator, url: str, secret: str, retry_seconds: float
    ) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._simulator = simulator
        self._book = simulator.book
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
        """This function will let the thread end; what was not delivered stays in the book."""
        with self._book.changed:
            self._stopped = True
            self._book.changed.notify_all()

    def send(self, client: httpx.Client, event: Row) -> bool:
        """This function will deliver an event once; True when the merchant took it."""
        body = json.dumps(
            {name: event[name] for name in ("type", "timestamp", "data")}, ensure_ascii=False
        ).encode()
        stamp = int(time.time())
        secret = "whsec_Zm9yZ2Vk" if event.get("forged") else self._secret
        headers = {
            "Content-Type": "application/json",
            "webhook-id": event["id"],
            "webhook-timestamp": str(stamp),
            "webhook-signature": sign(
                secret=secret, event_id=event["id"], timestamp=stamp, body=body
            ),
        }
        addresses = event["to"] or [self._url]
        try:
            return all(
                client.post(url, content=body, headers=headers).is_success for url in addresses
            )
        except httpx.HTTPError:
            return False

    def _wait_for_one(self) -> Row | None:
        with self._book.changed:
            while not self._stopped:
                waiting = [row for row in self._book.rows("events") if not row["settled"]]
                if self._simulator.webhooks_held:
                    waiting = []
                if self._simulator.newest_first:
                    waiting.reverse()
                now = time.monotonic()
                waits = [self._not_before.get(row["id"], now) - now for row in waiting]
                for row, wait in zip(waiting, waits, strict=True):
                    if wait <= 0:
                        return row
                self._book.changed.wait(min(waits, default=None))
            return None

    def _settle(self, event: Row, *, taken: bool) -> None:
        with self._book.lock:
            if self._book.get("events", event["id"]) is not event:
                return  # asked for once more while it was under way: that is still to be done
            attempts = event["attempts"] + 1
            given_up = not taken and attempts >= ATTEMPTS_MAX
            settled = "delivered" if taken else "given_up" if given_up else None
            self._not_before[event["id"]] = (
                time.monotonic() + self._retry_seconds * 2 ** event["attempts"]
            )
            self._book.write([("events", {**event, "attempts": attempts, "settled": settled})])
