"""One running Stripe: its book, the keys in progress, and what it was told to do wrong."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.sandbox.journal import Book
from tests.fakes.stripe.wire import Row

TABLES = (
    "customers", "methods", "setup_intents", "sessions", "intents", "charges", "refunds",
    "disputes", "payouts", "transactions", "events", "replies",
)  # fmt: skip


@dataclass
class Fault:
    """What befalls the next requests whose path holds `path`."""

    kind: str
    path: str
    times: int


@dataclass
class Box:
    """What the interface, the pages and the control door share."""

    book: Book
    secret_key: str
    hang_seconds: float
    key_seconds: float = 86_400.0
    # Stripe's search is behind by up to a minute.
    search_lag_seconds: float = 60.0
    paused: bool = False  # webhooks are held back
    stopping: threading.Event = field(default_factory=threading.Event)
    faults: list[Fault] = field(default_factory=list)
    forgotten: float = 0.0
    _in_progress: set[str] = field(default_factory=set)
    _progress_lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, *, directory: Path, **settings: Any) -> Box:
        """This function will open the box that keeps its book in that directory."""
        return cls(book=Book(directory=directory, tables=TABLES), **settings)

    def take_key(self, key: str) -> bool:
        """This function will say whether no other request is working under the same key."""
        with self._progress_lock:
            if key in self._in_progress:
                return False
            self._in_progress.add(key)
            return True

    def release_key(self, key: str) -> None:
        with self._progress_lock:
            self._in_progress.discard(key)

    def reply_of(self, key: str) -> Row | None:
        """This function will return the key's first answer, if the key is still remembered."""
        row = self.book.get("replies", key)
        if row is None or row["forgotten"] or time.time() - row["at"] > self.key_seconds:
            return None
        return row

    def take_fault(self, path: str) -> str | None:
        """This function will return what is to go wrong with a request, and count it."""
        with self._progress_lock:
            for fault in self.faults:
                if fault.path in path and fault.times > 0:
                    fault.times -= 1
                    return fault.kind
        return None

    def hang(self) -> None:
        """This function will return late: after most callers have given up, or at the stop."""
        self.stopping.wait(self.hang_seconds)
