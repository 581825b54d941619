"""One running simulator: what it remembers, which keys are in use, and what it was told to do."""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from app.sandbox.journal import Book, Row

if TYPE_CHECKING:
    from tests.fakes.toss.webhooks import Messenger

KST = timezone(timedelta(hours=9))
TABLES = (
    "authorizations",
    "billings",
    "payments",
    "transactions",
    "settlements",
    "receipts",
    "replies",
    "deliveries",
)
KEY_KEPT_FOR = timedelta(days=15)
Rows = list[tuple[str, Row]]


def now() -> datetime:
    """This function will return the time as Toss writes it: Korean, in whole seconds."""
    return datetime.now(KST).replace(microsecond=0)


def new_key(prefix: str = "") -> str:
    """This function will return a key that nobody can guess."""
    return f"{prefix}{secrets.token_hex(14)}"


@dataclass
class Reply:
    """A status and a JSON body; how the first caller hears it is `delivery`."""

    status: int
    body: Any
    delivery: str = "answer"  # answer | hang | drop | fail | keep_failing | busy


@dataclass
class Box:
    """What the interface, the pages and the messenger share."""

    book: Book
    messenger: Messenger
    hang_seconds: float
    stopping: threading.Event = field(default_factory=threading.Event)
    # Told by the control door: how the next charges or receipts are to go, oldest first.
    told: list[dict[str, str]] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, reply_id: str) -> bool:
        """This function will say whether no other request runs under the key."""
        with self._lock:
            if reply_id in self._running:
                return False
            self._running.add(reply_id)
            return True

    def release(self, reply_id: str) -> None:
        """This function will let the next request under the key in."""
        with self._lock:
            self._running.discard(reply_id)

    def next_told(self, about: str = "charge") -> dict[str, str]:
        """This function will return what the next charge or receipt was told to do, if anything."""
        with self._lock:
            found = [told for told in self.told if told.get("about", "charge") == about][:1]
            for told in found:
                self.told.remove(told)
        return found[0] if found else {}

    def reply_of(self, reply_id: str) -> Row | None:
        """This function will return the first answer under a key that is still kept."""
        row = self.book.get("replies", reply_id)
        if row is None or row.get("forgotten"):
            return None
        return row if now() - datetime.fromisoformat(row["at"]) < KEY_KEPT_FOR else None

    def hang(self) -> None:
        """This function will return late, or when the simulator stops."""
        self.stopping.wait(self.hang_seconds)

    def of(self, table: str, merchant: str) -> list[Row]:
        """This function will return one merchant's rows, oldest first."""
        return [row for row in self.book.rows(table) if row["merchant"] == merchant]


def event(merchant: str, kind: str | None, body: dict[str, Any]) -> tuple[str, Row]:
    """This function will return the row of a webhook that is to be sent.

    Its time carries no offset and is of now, to the microsecond, as Toss writes it.
    """
    created = datetime.now(KST).replace(tzinfo=None).isoformat(timespec="microseconds")
    sent = {"createdAt": created, **body}
    if kind:
        sent = {"eventType": kind, "createdAt": created, "data": body}
    row = {"id": new_key(), "merchant": merchant, "body": sent, "attempts": 0, "settled": None}
    return "deliveries", row
