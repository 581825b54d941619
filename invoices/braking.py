"""The brake: a bill that looks absurd beside those before it waits for a person. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from invoices.fingerprints import plain_decimal

# Fewer bills than this say nothing about what is usual.
HISTORY_MIN = 3
HISTORY_MAX = 6


@dataclass(frozen=True, slots=True)
class Brake:
    """From when on a bill is held: `factor` times the usual, and above `floor_minor`.

    A `factor` of 0 holds nothing back by its amount.
    """

    factor: Decimal
    floor_minor: int
    lines_a_day: int


def reason(
    *, brake: Brake, total_minor: int, before_minor: Sequence[int], lines: int, lines_today: int
) -> dict[str, Any] | None:
    """This function will say why a bill is held back, or nothing when it looks as usual.

    `before_minor` are the totals of the tenant's bills before it, the newest first; `lines_today`
    what the subscription was billed today already.
    """
    if lines + lines_today > brake.lines_a_day:
        return {"rule": "lines", "lines": lines + lines_today, "most": brake.lines_a_day}
    usual = before_minor[:HISTORY_MAX]
    if len(usual) < HISTORY_MIN or not brake.factor or total_minor <= brake.floor_minor:
        return None
    median = Decimal(statistics.median(map(Decimal, usual)))
    if total_minor < brake.factor * median:
        return None
    return {
        "rule": "jump",
        "total_minor": total_minor,
        "median_minor": plain_decimal(median),
        "bills": len(usual),
        "factor": plain_decimal(brake.factor),
    }
