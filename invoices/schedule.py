"""What a subscription's bills are: which items over which spans of time, on which day. Pure.

Each item is in force over its life; the grid of its interval cuts that life into spans. What is
paid in advance is asked for as its span begins, what is paid in arrears as it ends. An item that
ends before a span that was paid ahead gives the rest back. All that falls due on one local day is
one bill. Nothing else decides what is billed: the past (what was missed), the present and the
future ("what will be billed when") come out of the same function.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from invoices import periods
from invoices.charges import Charge
from invoices.periods import Period
from invoices.rating import Stretch

# More than two years behind is caught up in several passes, so that one never grows without bound.
BILLS_PER_PASS_MAX = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One charge in force over `[starts_at, ends_at)`; its grid is counted from `anchor_on`."""

    item_id: UUID
    price_id: UUID
    charge: Charge
    position: int
    quantity: Decimal
    starts_at: datetime
    ends_at: datetime | None
    anchor_on: date
    credit_on_end: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """One item over `[start, end)` of a grid period: to be charged for, or to be given back.

    `period_ends_at` is when the whole period is over, cut or not.
    """

    item: Item
    kind: str  # charge | credit
    period: Period
    start: datetime
    end: datetime
    stretch: Stretch
    period_ends_at: datetime


@dataclass(frozen=True, slots=True)
class DueBill:
    """One bill: `period` is what it states, the period ahead or, for the last one, the past."""

    bill_on: date
    period: Period
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Agenda:
    """The bills that are due, oldest first; `next_bill_on` is empty when nothing is to come."""

    bills: tuple[DueBill, ...]
    next_bill_on: date | None


# What was billed of each item: by kind and beginning, until when.
Billed = Mapping[UUID, Mapping[tuple[str, datetime], datetime]]


def agenda(*, items: Sequence[Item], billed: Billed, timezone: str, today: date) -> Agenda:
    """This function will list what is due by a day, from what was billed and what was not.

    It looks at every span since the items began, so a month that an outage skipped is found
    however long ago it was.
    """
    due: dict[date, list[Span]] = defaultdict(list)
    upcoming: list[date] = []
    for item in items:
        for bill_on, span in _open(item, billed.get(item.item_id, {}), timezone):
            if bill_on > today:
                upcoming.append(bill_on)
                break
            due[bill_on].append(span)
    days = sorted(due)
    upcoming += days[BILLS_PER_PASS_MAX:]
    bills = tuple(bill_of(day, due[day]) for day in days[:BILLS_PER_PASS_MAX])
    return Agenda(bills, min(upcoming, default=None))


def begins_period(item: Item, moment: datetime, timezone: str) -> bool:
    """This function will tell whether a period of an item's grid begins at a moment.

    What is asked for once has no grid.
    """
    if item.charge.once:
        return False
    day = periods.local_day(moment, timezone)
    number = periods.number_on(item.anchor_on, day, item.charge.interval)
    first = periods.start_of(item.anchor_on, number, item.charge.interval)
    return periods.midnight(first, timezone) == moment


def _open(
    item: Item, taken: Mapping[tuple[str, datetime], datetime], timezone: str
) -> Iterator[tuple[date, Span]]:
    """This function will yield what is not billed yet of an item with its day, in order of days.

    A life without an end yields without an end.
    """
    for period, begins, end in _cut(item, timezone):
        start = _billed_until(item, taken, begins, end)
        if start < end:
            bill_at = start if item.charge.timing == "advance" else end
            yield (
                periods.local_day(bill_at, timezone),
                _span(item, "charge", period, (start, end), timezone),
            )
    yield from _credits(item, taken, timezone)


def _billed_until(
    item: Item, taken: Mapping[tuple[str, datetime], datetime], start: datetime, end: datetime
) -> datetime:
    """This function will return up to where a part of an item's life was billed.

    A part that was billed short, because of an end that was taken back since, has a rest; what is
    never cut was billed whole.
    """
    while (until := taken.get(("charge", start))) is not None:
        if until >= end or item.charge.once or item.charge.proration == "none":
            return end
        start = until
    return start


def _cut(item: Item, timezone: str) -> Iterator[tuple[Period, datetime, datetime]]:
    """This function will cut an item's life by its grid: each period with the part that is its."""
    first = periods.local_day(item.starts_at, timezone)
    if item.charge.once:
        # What is asked for once takes the day it is added on.
        if item.ends_at is None or item.ends_at > item.starts_at:
            day = Period(first, first + timedelta(days=1))
            yield day, item.starts_at, periods.bounds(day, timezone)[1]
        return
    for period in periods.periods_from(item.anchor_on, first, item.charge.interval):
        begins, ends = periods.bounds(period, timezone)
        start = max(begins, item.starts_at)
        if item.ends_at is not None and start >= item.ends_at:
            return
        yield period, start, ends if item.ends_at is None else min(ends, item.ends_at)


def _credits(
    item: Item, taken: Mapping[tuple[str, datetime], datetime], timezone: str
) -> Iterator[tuple[date, Span]]:
    """This function will yield what was charged beyond an item's end and not given back yet."""
    if item.ends_at is None or not item.credit_on_end or item.charge.once:
        return
    if item.charge.proration == "none":
        return
    for (kind, start), until in sorted(taken.items()):
        begins = max(start, item.ends_at)
        if kind == "charge" and until > begins and ("credit", begins) not in taken:
            number = periods.number_on(
                item.anchor_on, periods.local_day(start, timezone), item.charge.interval
            )
            period = periods.period(item.anchor_on, number, item.charge.interval)
            yield (
                periods.local_day(item.ends_at, timezone),
                _span(item, "credit", period, (begins, until), timezone),
            )


def _span(
    item: Item, kind: str, period: Period, part: tuple[datetime, datetime], timezone: str
) -> Span:
    start, end = part
    stretch = Stretch.between(
        charge=item.charge, period=period, timezone=timezone, start=start, end=end
    )
    return Span(item, kind, period, start, end, stretch, periods.midnight(period.end, timezone))


def span_of(*, item: Item, kind: str, start: datetime, end: datetime, timezone: str) -> Span:
    """This function will return a part of an item's time with the grid period that it lies in."""
    day = periods.local_day(start, timezone)
    if item.charge.once:
        period = Period(day, day + timedelta(days=1))
    else:
        number = periods.number_on(item.anchor_on, day, item.charge.interval)
        period = periods.period(item.anchor_on, number, item.charge.interval)
    return _span(item, kind, period, (start, end), timezone)


def bill_of(bill_on: date, spans: Iterable[Span]) -> DueBill:
    """This function will put spans on one bill in their order.

    Credits come first, then what is ahead, then what is past, each in the price list's order.
    """
    ordered = sorted(
        spans,
        key=lambda span: (
            span.kind != "credit",
            span.item.charge.timing != "advance",
            span.item.position,
            span.start,
        ),
    )
    return DueBill(bill_on, max(span.stretch.shown for span in ordered), tuple(ordered))
