"""What the simulator knows: its rows on disk, its keys, its one merchant, and what it was told."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.sandbox.journal import Book, Row

TABLES = ("billing_keys", "payments", "replies", "events")
KEY_WINDOW = timedelta(hours=3)
MERCHANT_ID = "merchant-00000000-0000-4000-8000-000000000001"
# The channels of the store, each a payment company behind PortOne.
CHANNELS = {
    "kakaopay": ("KAKAOPAY", "channel-key-kakaopay"),
    "naverpay": ("NAVERPAY", "channel-key-naverpay"),
    "paypal": ("PAYPAL_V2", "channel-key-paypal"),
    "card": ("TOSSPAYMENTS", "channel-key-card"),
}


class Simulator:
    """One PortOne with one store."""

    def __init__(
        self,
        *,
        directory: Path,
        api_secret: str,
        store_id: str,
        hang_seconds: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.book = Book(directory=directory, tables=TABLES)
        self.api_secret = api_secret
        self.store_id = store_id
        self.now = clock
        self.stopping = threading.Event()
        # What the next charges do instead of what their card says, first come first.
        self.faults: list[dict[str, str]] = []
        # What the next look-ups are refused for.
        self.lookup_refusals: list[str] = []
        self.webhooks_held = False
        self.newest_first = False
        self._hang_seconds = hang_seconds
        self._in_progress: set[str] = set()
        self._lock = threading.Lock()

    def take_key(self, reply_id: str) -> bool:
        """This function will say whether no other request works under the same key."""
        with self._lock:
            if reply_id in self._in_progress:
                return False
            self._in_progress.add(reply_id)
            return True

    def release_key(self, reply_id: str) -> None:
        """This function will let the next request with the key in."""
        with self._lock:
            self._in_progress.discard(reply_id)

    def reply_of(self, reply_id: str) -> Row | None:
        """This function will return the key's first answer while it is remembered."""
        row = self.book.get("replies", reply_id)
        if row is None or row.get("forgotten"):
            return None
        return row if self.now() - datetime.fromisoformat(row["at"]) <= KEY_WINDOW else None

    def forget_keys(self) -> None:
        """This function will forget every key, as the end of its window does."""
        with self.book.lock:
            rows = self.book.rows("replies")
            self.book.write([("replies", {**row, "forgotten": True}) for row in rows])

    def next_fault(self) -> dict[str, str]:
        """This function will return what the next charge was told to do, once."""
        with self._lock:
            return self.faults.pop(0) if self.faults else {}

    def hang(self) -> None:
        """This function will return late: after most callers have given up, or at the stop."""
        self.stopping.wait(self._hang_seconds)

    def stamp(self) -> str:
        """This function will write the time as PortOne does."""
        return self.now().isoformat(timespec="microseconds").replace("+00:00", "Z")


def channel_of(key: str) -> str | None:
    """This function will name the channel of that key."""
    return next((name for name, (_pg, each) in CHANNELS.items() if each == key), None)


def channel_row(name: str) -> Row:
    """This function will describe a channel as PortOne's answers do."""
    provider, key = CHANNELS[name]
    return {
        "type": "TEST",
        "id": f"channel-id-{name}",
        "key": key,
        "name": name,
        "pgProvider": provider,
        "pgMerchantId": f"test-{name}",
    }


def new_id(prefix: str) -> str:
    """This function will return an id that nobody can guess."""
    return f"{prefix}-{secrets.token_hex(16)}"


def event(
    simulator: Simulator, kind: str, data: Row, to: list[str] | None = None
) -> tuple[str, Row]:
    """This function will return the row of an event that is to be told to the merchant.

    `to`: addresses that a payment named for itself; they come before the store's own.
    """
    return "events", {
        "to": to or [],
        "id": new_id("wh"),
        "type": kind,
        "timestamp": simulator.stamp(),
        "data": {"storeId": simulator.store_id, **data},
        "attempts": 0,
        "settled": None,
    }
