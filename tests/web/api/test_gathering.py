"""Calls stored together: each has its own answer, and none fails for another's sake."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from app.web.api.gathering import Gathering
from tests.patience import eventually


class Shelf:
    """Stores by remembering; the first statement waits until the others have come."""

    def __init__(self) -> None:
        self.statements: list[list[Any]] = []
        self.may_go_on = threading.Event()

    def store(self, events: Sequence[Any]) -> list[str]:
        self.statements.append(list(events))
        if len(self.statements) == 1:
            assert self.may_go_on.wait(30)
        if "poison" in events:
            raise ValueError("poison")
        return [f"stored {event}" for event in events]


def call_all(shelf: Shelf, calls: list[list[Any]], events_max: int = 100) -> list[Any]:
    """This function will let the first call begin, then the others come while it is stored."""
    gathering: Gathering[str] = Gathering(shelf.store, events_max=events_max)
    answers: list[Any] = [None] * len(calls)

    def call(place: int) -> None:
        try:
            answers[place] = gathering.store(calls[place])
        except ValueError as error:
            answers[place] = error

    threads = [threading.Thread(target=call, args=(place,)) for place in range(len(calls))]
    for place, thread in enumerate(threads):
        thread.start()
        waiting = max(place, 0)
        eventually(
            lambda waiting=waiting: (
                len(shelf.statements) == 1 and len(gathering._waiting) == waiting
            ),
            "the calls wait in their order",
        )
    shelf.may_go_on.set()
    for thread in threads:
        thread.join(30)
    return answers


class TestCallsAtOnce:
    def test_are_stored_together_and_answered_each(self) -> None:
        shelf = Shelf()
        answers = call_all(shelf, [["a"], ["b", "c"], ["d"]])
        assert answers == [["stored a"], ["stored b", "stored c"], ["stored d"]]
        assert shelf.statements == [["a"], ["b", "c", "d"]]

    def test_are_no_more_together_than_one_statement_should_store(self) -> None:
        shelf = Shelf()
        answers = call_all(shelf, [["a"], ["b", "c"], ["d"], ["e"]], events_max=3)
        assert answers[3] == ["stored e"]
        assert shelf.statements == [["a"], ["b", "c", "d"], ["e"]]

    def test_larger_than_that_are_stored_alone(self) -> None:
        shelf = Shelf()
        call_all(shelf, [["a"], ["b", "c"], ["d", "e"]], events_max=1)
        assert shelf.statements == [["a"], ["b", "c"], ["d", "e"]]

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_fail_alone(self, place: int) -> None:
        shelf = Shelf()
        calls = [["a"], ["b"], ["c"]]
        calls[place] = ["poison"]
        answers = call_all(shelf, calls)
        assert isinstance(answers[place], ValueError)
        others = [answer for at, answer in enumerate(answers) if at != place]
        assert others == [[f"stored {call[0]}"] for call in calls if call != ["poison"]]
