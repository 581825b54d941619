"""Waiting for what happens in other processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.02


def eventually(
    look: Callable[[], object], what: str | Path, *, within: float = PATIENCE_SECONDS
) -> float:
    """Look again and again until `look` says yes; return how long it took, in seconds.

    `what` is told when patience ends: words, or the log that may explain it.
    """
    begun = time.monotonic()
    pause = threading.Event()
    while time.monotonic() - begun < within:
        if look():
            return time.monotonic() - begun
        pause.wait(LOOK_SECONDS)
    told = what.read_text()[-4000:] if isinstance(what, Path) else what
    raise AssertionError(f"did not happen within {within} s: {told}")
