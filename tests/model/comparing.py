"""Engine against model, history by history: the first bill in which they differ."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from tests.model import engine, reference
from tests.model.bills import Bill
from tests.model.drawing import draw
from tests.model.histories import History

CHUNK = 50


@dataclass(frozen=True)
class Difference:
    """The first bill of a seed's history that engine and model see differently."""

    seed: int
    number: int
    model: Bill | None
    engine: Bill | str | None

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, bill {self.number}:\n{_told('model', self.model)}"
            f"\n{_told('engine', self.engine)}\n"
            f"Make it smaller: python -m tests.model {self.seed} --drop acts,coupons"
        )


def difference(
    seed: int,
    drop: Collection[str] = (),
    bills: Callable[[History], list[Bill]] = engine.bills,
) -> Difference | None:
    """This function will return where both differ on a seed; what the engine raises is one."""
    history = draw(seed, drop)
    expected = reference.bills(history)
    found: list[Bill | str]
    try:
        found = [*bills(history)]
    except Exception:  # whatever it is, the model had an answer
        found = [traceback.format_exc()]
    for number in range(max(len(expected), len(found))):
        ours = expected[number] if number < len(expected) else None
        theirs = found[number] if number < len(found) else None
        if ours != theirs:
            return Difference(seed, number + 1, ours, theirs)
    return None


def differences(seeds: Iterable[int]) -> Iterator[Difference]:
    """This function will yield the differences of seeds, one by one as they are found."""
    for seed in seeds:
        found = difference(seed)
        if found is not None:
            yield found


def in_parallel(*, first: int, seeds: int, jobs: int) -> Iterator[tuple[int, list[str]]]:
    """This function will yield, chunk by chunk, how many seeds were tried and what differed."""
    chunks = [
        range(at, min(at + CHUNK, first + seeds)) for at in range(first, first + seeds, CHUNK)
    ]
    with ProcessPoolExecutor(jobs, initializer=os.nice, initargs=(10,)) as pool:
        for chunk, found in zip(chunks, pool.map(_tried, chunks), strict=True):
            yield len(chunk), found


def _tried(seeds: range) -> list[str]:
    return [str(each) for each in differences(seeds)]


def _told(name: str, bill: Bill | str | None) -> str:
    if bill is None:
        return f"  {name}: no such bill"
    if isinstance(bill, str):
        return f"  {name}: {bill}"
    lines = "".join(
        f"\n    {line.kind} {line.charge} {line.amount} {line.days[0]} to {line.days[1]}"
        for line in bill.lines
    )
    return (
        f"  {name}: on {bill.day}, tax {bill.tax}, total {bill.total},"
        f" carried {bill.carried}{lines}"
    )
