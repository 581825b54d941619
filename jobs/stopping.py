"""Whether this worker has been asked to stop: a job ends after the row that it is on."""

from __future__ import annotations

import threading

_asked = threading.Event()


def ask() -> None:
    """This function will ask the job that runs in this process to end soon."""
    _asked.set()


def asked() -> bool:
    """This function will tell whether somebody asked."""
    return _asked.is_set()


def forget() -> None:
    """This function will begin anew: called when a job starts."""
    _asked.clear()
