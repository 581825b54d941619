"""Calls that arrive while another is being stored are stored together: one statement, one commit.

Nobody waits for company: a call that comes alone is stored alone and at once. Each still has its
own answer; should a gathering fail, each of its calls is tried alone, so that none fails for
another's sake.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Outcome = TypeVar("Outcome")
Store = Callable[[Sequence[Any]], list[Outcome]]


@dataclass(eq=False)
class _Call(Generic[Outcome]):
    events: Sequence[Any]
    turn: threading.Event = field(default_factory=threading.Event)
    outcomes: list[Outcome] | None = None
    leads: bool = False  # it stores for those who wait with it


class Gathering(Generic[Outcome]):
    """Stores the calls of this process's threads, one statement at a time."""

    def __init__(self, store: Store[Outcome], *, events_max: int) -> None:
        self._store = store
        self._events_max = events_max
        self._lock = threading.Lock()
        self._waiting: list[_Call[Outcome]] = []
        self._busy = False

    def store(self, events: Sequence[Any]) -> list[Outcome]:
        """This function will store a call's events and return an outcome for each, in order.

        Raises: whatever storing this call alone raises.
        """
        call: _Call[Outcome] = _Call(events)
        with self._lock:
            self._waiting.append(call)
            call.leads = not self._busy
            self._busy = True
        if not call.leads:
            call.turn.wait()
        if call.leads:
            self._lead()
        if call.outcomes is None:
            return self._store(events)
        return call.outcomes

    def _lead(self) -> None:
        """Store what has gathered, the leader's own call first, then let the next one lead."""
        gathered = self._gather()
        try:
            self._settle(gathered)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
            if following is not None:
                following.leads = True
                following.turn.set()
            for call in gathered[1:]:
                call.turn.set()

    def _gather(self) -> list[_Call[Outcome]]:
        with self._lock:
            size = taken = 0
            for call in self._waiting:
                size += len(call.events)
                if taken and size > self._events_max:
                    break
                taken += 1
            gathered, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return gathered

    def _settle(self, gathered: list[_Call[Outcome]]) -> None:
        try:
            outcomes = self._store([event for call in gathered for event in call.events])
        except Exception:
            if len(gathered) == 1:
                raise
            return  # each tries again by itself, and tells its own caller what is wrong
        begun = 0
        for call in gathered:
            call.outcomes = outcomes[begun : begun + len(call.events)]
            begun += len(call.events)
