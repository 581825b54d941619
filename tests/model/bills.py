"""Bills as model and engine both say them, and what the model asks for on them. No engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction

from tests.model.days import Days
from tests.model.histories import Coupon, Life

NEVER = datetime.min.replace(tzinfo=UTC)


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
class Billed:
    """The time that one bill asked for, and gave back, with the coupons that went with it."""

    day: date
    at: datetime
    lines: list[Asked]
    coupons: set[Coupon] = field(default_factory=set)


@dataclass(eq=False)
class Asked:
    """Time of a life that is asked for, or given back; `period` is the whole one it is cut from.

    `known` is the moment by which its events said what it was last billed for; `reached` what
    counted by then towards a minimum, which is `agreed`. `off` is what each coupon takes off it,
    and `units` those that are free by one.
    """

    kind: str
    life: Life
    period: Days
    start: datetime
    end: datetime
    amount: int = 0
    known: datetime | None = None
    agreed: int = 0
    reached: int = 0
    off: dict[Coupon, int] = field(default_factory=dict)
    units: dict[Coupon, Fraction] = field(default_factory=dict)
    bill: Billed = field(default_factory=lambda: Billed(date.min, NEVER, []))

    @property
    def discount(self) -> int:
        """What all coupons take off it."""
        return sum(self.off.values())

    def place(self) -> tuple[date, datetime, int]:
        """Where it stands among all that was asked for."""
        return self.bill.day, self.bill.at, self.bill.lines.index(self)
