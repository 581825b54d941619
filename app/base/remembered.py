"""What a process remembers for a moment, so that it need not ask the database at every call."""

from __future__ import annotations

import time
from collections.abc import Hashable
from typing import Generic, TypeVar

from app.base.config import settings

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

REMEMBERED_MAX = 50_000


class Remembered(Generic[Key, Value]):
    """Values by key, each for TENANTRY_API_MEMORY_SECONDS by the real clock; nothing with 0."""

    def __init__(self) -> None:
        self._known: dict[Key, tuple[float, Value]] = {}

    def get(self, key: Key) -> Value | None:
        """This function will return what was learnt about a key a moment ago."""
        found = self._known.get(key)
        return found[1] if found is not None and found[0] > time.monotonic() else None

    def learn(self, values: dict[Key, Value]) -> None:
        """This function will remember values just read from the database."""
        seconds = settings().api_memory_seconds
        if seconds <= 0:
            return
        if len(self._known) + len(values) > REMEMBERED_MAX:
            self._known = {}
        until = time.monotonic() + seconds
        self._known.update({key: (until, value) for key, value in values.items()})
