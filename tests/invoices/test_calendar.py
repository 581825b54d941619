"""Every day of nine years, in twelve time zones: no period overlaps another or leaves a gap."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from invoices import periods
from invoices.periods import MONTHLY, QUARTERLY, YEARLY, Interval, Period

FIRST, UNTIL = date(2024, 1, 1), date(2033, 1, 1)
DAYS = [FIRST + timedelta(days=number) for number in range((UNTIL - FIRST).days)]
INTERVALS = {
    "monthly": MONTHLY,
    "quarterly": QUARTERLY,
    "yearly": YEARLY,
    "every 6 weeks": Interval(6, "week"),
}
# In the middle of the nine years, so that numbers run both ways; the 29th is a leap day's.
ANCHORS = [
    date(2027, 10, 1),
    date(2027, 10, 15),
    date(2028, 2, 28),
    date(2028, 2, 29),
    date(2027, 4, 30),
    date(2027, 10, 31),
]
TIMEZONES = [
    "Asia/Seoul",
    "UTC",
    "America/New_York",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Europe/London",
    "Africa/Cairo",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Pacific/Auckland",
    "Pacific/Apia",
]
MICROSECOND = timedelta(microseconds=1)

each_interval = pytest.mark.parametrize("interval", INTERVALS.values(), ids=INTERVALS)
each_anchor = pytest.mark.parametrize(
    "anchor", ANCHORS, ids=lambda anchor: f"from the {anchor.day}"
)


@cache
def grid(anchor: date, interval: Interval) -> list[Period]:
    """The periods by number, one after another, from before the first day until after the last."""
    number = -((anchor - FIRST).days // 7) - 1
    while periods.period(anchor, number, interval).end <= FIRST:
        number += 1
    found = [periods.period(anchor, number, interval)]
    while found[-1].end < UNTIL:
        number += 1
        found.append(periods.period(anchor, number, interval))
    return found


@cache
def day_begins(timezone: str) -> list[datetime]:
    """When each day begins, and when the last one ends."""
    return [periods.midnight(day, timezone) for day in [*DAYS, UNTIL]]


def days_held(ranges: list[tuple[int, int]]) -> list[int]:
    """How many of the ranges hold each day."""
    held = [0] * len(DAYS)
    for first, until in ranges:
        for place in range(max(first, 0), min(until, len(DAYS))):
            held[place] += 1
    return held


@each_interval
@each_anchor
class TestOnTheCalendar:
    def test_each_day_lies_in_exactly_one_period(self, anchor: date, interval: Interval) -> None:
        ranges = [
            ((held.start - FIRST).days, (held.end - FIRST).days) for held in grid(anchor, interval)
        ]
        assert days_held(ranges) == [1] * len(DAYS)

    def test_neighbours_meet(self, anchor: date, interval: Interval) -> None:
        found = grid(anchor, interval)
        assert [held.end for held in found[:-1]] == [held.start for held in found[1:]]

    def test_the_number_of_each_day_names_the_period_that_holds_it(
        self, anchor: date, interval: Interval
    ) -> None:
        found = iter(grid(anchor, interval))
        held = next(found)
        for day in DAYS:
            if day == held.end:
                held = next(found)
            number = periods.number_on(anchor, day, interval)
            assert periods.period(anchor, number, interval) == held

    def test_the_periods_between_two_days_are_those_of_the_grid(
        self, anchor: date, interval: Interval
    ) -> None:
        assert list(periods.periods_between(anchor, FIRST, UNTIL, interval)) == grid(
            anchor, interval
        )


@pytest.mark.parametrize("timezone", TIMEZONES)
class TestOnTheClock:
    def test_a_day_begins_where_the_clocks_there_show_its_date_and_ends_where_the_next_begins(
        self, timezone: str
    ) -> None:
        zone, begins = ZoneInfo(timezone), day_begins(timezone)
        for day, begin, end in zip(DAYS, begins, begins[1:], strict=False):
            assert begin.tzinfo is UTC
            assert timedelta(hours=23) <= end - begin <= timedelta(hours=25)
            last = end - MICROSECOND
            assert begin.astimezone(zone).date() == last.astimezone(zone).date() == day
            assert periods.local_day(begin, timezone) == day
            assert periods.local_day(last, timezone) == day

    @each_interval
    def test_each_day_lies_whole_in_exactly_one_period(
        self, timezone: str, interval: Interval
    ) -> None:
        begins = day_begins(timezone)
        for anchor in ANCHORS:
            found = [periods.bounds(held, timezone) for held in grid(anchor, interval)]
            assert [end for _, end in found[:-1]] == [begin for begin, _ in found[1:]]
            ranges = [
                (bisect_left(begins, begin), bisect_left(begins, end)) for begin, end in found
            ]
            assert days_held(ranges) == [1] * len(DAYS)
            # Within the nine years a period begins with a day; it never cuts one in two.
            assert {begin for begin, _ in found[1:]} <= set(begins)


class TestTheCalendarOfThisTest:
    def test_has_every_day_of_nine_years_and_the_clock_changes_of_six_zones(self) -> None:
        assert len(DAYS) == 9 * 365 + 3
        changing = {
            timezone
            for timezone in TIMEZONES
            if len(
                {
                    end - begin
                    for begin, end in zip(
                        day_begins(timezone), day_begins(timezone)[1:], strict=False
                    )
                }
            )
            > 1
        }
        assert changing == {
            "America/New_York",
            "America/St_Johns",
            "Europe/London",
            "Africa/Cairo",
            "Australia/Lord_Howe",
            "Pacific/Auckland",
        }
