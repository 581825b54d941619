"""Live usage: what a meter comes to hour by hour, day by day or month by month, up to this moment.

Steps are those of the contract's time zone: a day may have 23 or 25 hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy.orm import Session

from app.base.errors import Invalid
from tenants import replay, usage
from tenants.meter_definitions import MeterDefinition
from tenants.usage import Window

STEPS = ("hour", "day", "month")
# How many steps are told at once: 16 days of hours, a year of days.
STEPS_MAX = 400


class SpanUnfit(Invalid):
    """The days that are asked for don't follow each other, or make too many steps."""


@dataclass(frozen=True, slots=True)
class Point:
    """What a meter came to in one step `[start, end)`."""

    start: datetime
    end: datetime
    quantity: Decimal
    transactions: int


@dataclass(frozen=True, slots=True)
class Course:
    """A meter's steps in order, and its total over all of them: not always their sum."""

    definition: MeterDefinition
    points: tuple[Point, ...]
    quantity: Decimal
    transactions: int


def courses(
    *,
    usage_session: Session,
    definitions: Sequence[MeterDefinition],
    tenant_id: UUID,
    first: date,
    last: date,
    step: str,
    timezone: str,
    group: Mapping[str, str] | None = None,
) -> list[Course]:
    """This function will count each meter of pushed events over the days `first` to `last`.

    Raises: SpanUnfit; NotCounted for a group that a meter hasn't.
    """
    if step not in STEPS:
        raise SpanUnfit(f"Choose one of {', '.join(STEPS)}.", field="step")
    if last < first:
        raise SpanUnfit("The last day is before the first.", field="to")
    spans = list(_spans(first, last, step, timezone))
    whole = (spans[0][0], spans[-1][1])
    windows = [
        Window(tenant_id, each.code, start, end, group or {})
        for each in definitions
        for start, end in [*spans, whole]
    ]
    found = usage.totals(
        usage_session=usage_session,
        meters={each.code: each for each in definitions},
        windows=windows,
    )
    size = len(spans) + 1
    return [
        Course(
            each,
            tuple(
                Point(total.window.start, total.window.end, total.quantity, total.transactions)
                for total in found[place * size : place * size + size - 1]
            ),
            found[place * size + size - 1].quantity,
            found[place * size + size - 1].transactions,
        )
        for place, each in enumerate(definitions)
    ]


def _spans(
    first: date, last: date, step: str, timezone: str
) -> Iterator[tuple[datetime, datetime]]:
    """Each step within the days; the first and last month may be cut."""
    days = (last - first).days + 1
    if days * {"hour": 25, "day": 1, "month": 1 / 28}[step] > STEPS_MAX:
        raise SpanUnfit(f"Ask for fewer days: at most {STEPS_MAX} steps are told.", field="from")
    start, end = replay.bounds(first, timezone)[0], replay.bounds(last, timezone)[1]
    if step == "hour":
        while start < end:
            yield start, min(start + usage.HOUR, end)
            start += usage.HOUR
        return
    for day in (first + timedelta(days=number) for number in range(1, days)):
        if step == "day" or day.day == 1:
            following = replay.bounds(day, timezone)[0]
            yield start, following
            start = following
    yield start, end
