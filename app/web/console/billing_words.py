"""Why a bill waits, in words: readings that lack, and what the brake compared."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from app.web.format import money
from app.web.i18n import gettext, lazy
from invoices import drafts

METER_NAMES = {"seats": lazy("Seats"), "storage_gb_days": lazy("Storage")}


def why_held(reason: dict[str, Any], currency: str) -> str:
    """This function will say in words why the brake holds a bill."""
    if reason["rule"] == "lines":
        return gettext(
            "%(lines)s lines for one customer in a day; %(most)s is the most",
            lines=reason["lines"],
            most=reason["most"],
        )
    if reason["rule"] == drafts.OF_ITS_RUN:
        return gettext("All bills of its day together are above the limit")
    return gettext(
        "%(factor)s times the usual or more: the last %(bills)s bills came to about %(usual)s",
        factor=reason["factor"],
        bills=reason["bills"],
        usual=money(int(Decimal(reason["median_minor"])), currency),
    )


def missing(blocked_reason: str) -> str:
    """This function will shorten `seats: 2026-02-01, 2026-02-02; …` to runs of days."""
    told = []
    for part in blocked_reason.split("; "):
        meter, _, listed = part.partition(": ")
        days = [date.fromisoformat(day) for day in listed.split(", ")]
        told.append(f"{METER_NAMES.get(meter, meter)} {', '.join(_runs(days))}")
    return " · ".join(told)


def _runs(days: list[date]) -> list[str]:
    runs: list[list[date]] = []
    for day in days:
        if runs and runs[-1][-1] + timedelta(days=1) == day:
            runs[-1].append(day)
        else:
            runs.append([day])
    return [f"{run[0]} – {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
