"""One running gateway: its book, its keys, and the requests that are in progress."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from app.sandbox.journal import Book, Row


class Sandbox:
    """What the pages and the interface share."""

    def __init__(
        self, *, book: Book, secret_key: str, hang_seconds: float, key_window: timedelta
    ) -> None:
        self.book = book
        self.secret_key = secret_key
        self.stopping = threading.Event()
        self._hang_seconds = hang_seconds
        self._key_window = key_window
        self._in_progress: set[str] = set()
        self._in_progress_lock = threading.Lock()

    def take_key(self, reply_id: str) -> bool:
        """This function will say whether no other request is working under the same key."""
        with self._in_progress_lock:
            if reply_id in self._in_progress:
                return False
            self._in_progress.add(reply_id)
            return True

    def release_key(self, reply_id: str) -> None:
        """This function will let the next request with the key in."""
        with self._in_progress_lock:
            self._in_progress.discard(reply_id)

    def reply_of(self, reply_id: str, *, now: datetime) -> Row | None:
        """This function will return the key's first answer, if the key is still remembered."""
        row = self.book.get("replies", reply_id)
        if row is None or now - datetime.fromisoformat(row["at"]) > self._key_window:
            return None
        return row

    def hang(self) -> None:
        """This function will return late: after most callers have given up, or at the stop."""
        self.stopping.wait(self._hang_seconds)
