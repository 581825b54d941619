"""Bills as model and engine both say them, as plain data. Neither engine nor model."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

Days = tuple[date, date]  # from the first, up to but not including the second


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
