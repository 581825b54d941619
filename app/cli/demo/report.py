"""What the demonstration found: a table of every step for people, the same as JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass
class StepResult:
    """One step of the road: how many times it was taken, how long it took, what came of it."""

    step: str
    count: int = 0
    seconds: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def note(self, **facts: Any) -> None:
        """This function will add what a reader would want to know of this step."""
        self.facts.update(facts)


class Report:
    """All steps in the order in which they were first taken."""

    def __init__(self, console: Console) -> None:
        self.steps: dict[str, StepResult] = {}
        self.problems: list[str] = []
        self._console = console
        self._started = time.monotonic()

    @contextmanager
    def step(self, name: str) -> Iterator[StepResult]:
        """This function will time a step; one taken twice adds up."""
        result = self.steps.setdefault(name, StepResult(name))
        started = time.monotonic()
        try:
            yield result
        finally:
            result.seconds += time.monotonic() - started
            self._console.print(f"  [dim]{self.seconds:6.1f} s[/]  {name}", highlight=False)

    def expect(self, truth: bool, otherwise: str) -> None:
        """This function will remember what is off; a report with problems exits with 1."""
        if not truth:
            self.problems.append(otherwise)
            self._console.print(f"  [bold red]✗[/] {otherwise}")

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self._started

    def show(self) -> None:
        """This function will print the table."""
        table = Table(title="The road, as it was just walked", title_justify="left")
        table.add_column("Step")
        table.add_column("Count", justify="right")
        table.add_column("Seconds", justify="right")
        table.add_column("What came of it")
        for result in self.steps.values():
            said = " · ".join(f"{k.replace('_', ' ')} {v}" for k, v in result.facts.items())
            table.add_row(result.step, f"{result.count:,}", f"{result.seconds:.1f}", said)
        self._console.print(table)

    def write(self, path: Path, **more: Any) -> None:
        """This function will write the report for programs."""
        content = {
            "seconds": round(self.seconds, 1),
            "steps": [asdict(result) for result in self.steps.values()],
            "problems": self.problems,
            **more,
        }
        path.write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
