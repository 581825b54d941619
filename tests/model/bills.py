"""Bills as model and engine both say them, and what the model asks for on them. No engine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from tests.model.days import Days
from tests.model.histories import Life


@dataclass(frozen=True)
class Line:
    """One line of a bill and the days it shows."""

    kind: str
    charge: str
    amount: int
    days: Days


@dataclass(frozen=True)
class Bill:
    """One bill: the lines in their order, the tax on their sum, and what is carried over."""

    day: date
    lines: tuple[Line, ...]
    tax: int
    total: int
    carried: int


@dataclass(eq=False)
class Asked:
    """Time of a life that is asked for, or given back; `period` is the whole one it is cut from.

    `known` is the moment by which its events said what it was last billed for; `reached` what
    counted by then towards a minimum, which is `agreed`.
    """

    kind: str
    life: Life
    period: Days
    start: datetime
    end: datetime
    amount: int = 0
    discount: int = 0
    known: datetime | None = None
    agreed: int = 0
    reached: int = 0
