"""Telling the merchant: seven retries, each four times as far away as the one before."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime
from typing import Any

import httpx

from app.sandbox.journal import Book, Row
from invoices.gateways.toss_webhooks import SENT_AT, SIGNATURE, signature
from tests.fakes.toss.box import KST
from tests.plain_http import NO_AUTHORITIES

RETRIES_AFTER_MINUTES = (1, 4, 16, 64, 256, 1024, 4096)
SIGNED = ("payout.changed", "seller.changed")
_TIMEOUT_S = 10.0


class Messenger(threading.Thread):
    """Delivers webhooks. While `held` nothing leaves; then it leaves in the order asked for."""

    def __init__(self, *, book: Book, url: str, security_key: str, minute_seconds: float) -> None:
        super().__init__(name="webhooks", daemon=True)
        self.held = False
        self.newest_first = False
        self._book, self._url, self._security_key = book, url, security_key
        self._minute_seconds = minute_seconds
        self._not_before: dict[str, float] = {}
        self._stopped = False

    def run(self) -> None:
        """This function will deliver until `stop`."""
        with httpx.Client(timeout=_TIMEOUT_S, verify=NO_AUTHORITIES, trust_env=False) as client:
            while (row := self._wait_for_one()) is not None:
                self._settle(row, delivered=self._send(client, row["body"]))

    def stop(self) -> None:
        """This function will let the thread end; what was not delivered stays in the book."""
        with self._book.changed:
            self._stopped = True
            self._book.changed.notify_all()

    def wake(self, *, held: bool, newest_first: bool = False) -> None:
        """This function will hold webhooks back, or let them go in one order or the other."""
        with self._book.changed:
            self.held, self.newest_first = held, newest_first
            self._book.changed.notify_all()

    def _wait_for_one(self) -> Row | None:
        with self._book.changed:
            while not self._stopped:
                waiting = [row for row in self._book.rows("deliveries") if not row["settled"]]
                if self.newest_first:
                    waiting.reverse()
                at = time.monotonic()
                waits = [self._not_before.get(row["id"], at) - at for row in waiting]
                for row, wait in zip(waiting, waits, strict=True):
                    if wait <= 0 and not self.held:
                        return row
                self._book.changed.wait(None if self.held else min(waits, default=None))
            return None

    def _settle(self, row: Row, *, delivered: bool) -> None:
        tries = row["attempts"] + 1
        settled = "delivered" if delivered else None
        if not delivered and tries > len(RETRIES_AFTER_MINUTES):
            settled = "given_up"
        with self._book.lock:
            if self._book.get("deliveries", row["id"]) is not row:
                return  # asked for once more while it was under way: that is still to be done
            if settled is None:
                wait = RETRIES_AFTER_MINUTES[row["attempts"]] * self._minute_seconds
                self._not_before[row["id"]] = time.monotonic() + wait
            self._book.write([("deliveries", {**row, "attempts": tries, "settled": settled})])

    def _send(self, client: httpx.Client, told: dict[str, Any]) -> bool:
        body = json.dumps(told, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if told.get("eventType") in SIGNED:
            sent_at = datetime.now(KST).isoformat(timespec="seconds")
            signed = signature(security_key=self._security_key, raw_body=body, sent_at=sent_at)
            headers |= {SENT_AT: sent_at, SIGNATURE: f"v1:AAAA,v1:{signed.decode()}"}
        try:
            return client.post(self._url, content=body, headers=headers).is_success
        except httpx.HTTPError:
            return False
