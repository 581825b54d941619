"""Waiting for what happens in other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE_SECONDS = 20.0
LOOK_SECONDS = 0.02


def eventually(look: Callable[[], object], what: str) -> None:
    """Look again and again until `look` says yes; fail when patience ends."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while time.monotonic() < deadline:
        if look():
            return
        pause.wait(LOOK_SECONDS)
    raise AssertionError(f"never happened: {what}")
