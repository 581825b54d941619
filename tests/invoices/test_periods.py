"""Periods of an anchor: every day falls into exactly one of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices import periods
from invoices.periods import (
    MONTHLY,
    QUARTERLY,
    YEARLY,
    BillingDayUnsound,
    Interval,
    IntervalUnsound,
    Period,
    anchor_for,
    local_day,
    months_after,
    number_on,
    period,
    periods_between,
)

DAYS = st.dates(min_value=date(2000, 1, 1), max_value=date(2090, 12, 31))
INTERVALS = st.one_of(
    st.builds(Interval, st.integers(1, 260), st.just("week")),
    st.builds(Interval, st.integers(1, 60), st.just("month")),
    st.builds(Interval, st.integers(1, 5), st.just("year")),
)
MONTHS_OR_YEARS = INTERVALS.filter(lambda interval: interval.unit != "week")


class TestAnAnchorAtTheEndOfAMonth:
    @pytest.mark.parametrize(
        ("anchor", "months", "expected"),
        [
            (date(2026, 1, 31), 1, date(2026, 2, 28)),
            (date(2024, 1, 31), 1, date(2024, 2, 29)),
            (date(2026, 1, 31), 2, date(2026, 3, 31)),
            (date(2026, 1, 31), 3, date(2026, 4, 30)),
            (date(2026, 1, 30), 1, date(2026, 2, 28)),
            (date(2026, 1, 30), 2, date(2026, 3, 30)),
            (date(2025, 12, 29), 2, date(2026, 2, 28)),
            (date(2027, 12, 29), 2, date(2028, 2, 29)),
            (date(2024, 2, 29), 12, date(2025, 2, 28)),
            (date(2024, 2, 29), 48, date(2028, 2, 29)),
            (date(2026, 12, 31), 1, date(2027, 1, 31)),
        ],
    )
    def test_is_the_last_day_of_a_shorter_one(
        self, anchor: date, months: int, expected: date
    ) -> None:
        assert months_after(anchor, months) == expected

    def test_is_not_shortened_for_good_by_february(self) -> None:
        ends = [period(date(2026, 1, 31), number).end for number in range(4)]
        assert ends == [date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30), date(2026, 5, 31)]


class TestThePeriodsOfAnAnchor:
    @given(anchor=DAYS, number=st.integers(min_value=0, max_value=120))
    def test_neither_overlap_nor_leave_a_gap(self, anchor: date, number: int) -> None:
        this, following = period(anchor, number), period(anchor, number + 1)
        assert this.end == following.start
        assert 28 <= this.days <= 31
        assert period(anchor, 0).start == anchor

    @given(anchor=DAYS, number=st.integers(min_value=0, max_value=120))
    def test_start_on_the_anchors_day_or_the_last_of_the_month(
        self, anchor: date, number: int
    ) -> None:
        start = period(anchor, number).start
        if start.day != anchor.day:
            assert start.day < anchor.day
            assert (start + timedelta(days=1)).day == 1

    @given(anchor=DAYS, distance=st.integers(min_value=-2000, max_value=5000))
    def test_hold_each_day_in_exactly_one(self, anchor: date, distance: int) -> None:
        day = anchor + timedelta(days=distance)
        number = number_on(anchor, day)
        held = period(anchor, number)
        assert held.start <= day < held.end

    def test_list_their_days(self) -> None:
        assert Period(date(2028, 2, 28), date(2028, 3, 1)).each_day() == [
            date(2028, 2, 28),
            date(2028, 2, 29),
        ]

    def test_are_never_empty(self) -> None:
        with pytest.raises(ValueError, match="at least one day"):
            Period(date(2026, 1, 1), date(2026, 1, 1))


class TestAnInterval:
    @pytest.mark.parametrize(
        ("count", "unit", "field"),
        [
            (0, "month", "count"),
            (-1, "week", "count"),
            (61, "month", "count"),
            (261, "week", "count"),
            (6, "year", "count"),
            (True, "month", "count"),
            (1.0, "month", "count"),
            ("1", "month", "count"),
            (1, "day", "unit"),
            (1, "months", "unit"),
        ],
    )
    def test_is_a_whole_number_of_weeks_months_or_years_and_five_years_at_most(
        self, count: int, unit: str, field: str
    ) -> None:
        with pytest.raises(IntervalUnsound) as refused:
            Interval(count, unit)
        assert refused.value.field == field

    @pytest.mark.parametrize(
        ("interval", "anchor", "starts"),
        [
            (
                QUARTERLY,
                date(2025, 11, 30),
                [date(2025, 11, 30), date(2026, 2, 28), date(2026, 5, 30), date(2026, 8, 30)],
            ),
            (
                YEARLY,
                date(2024, 2, 29),
                [date(2024, 2, 29), date(2025, 2, 28), date(2026, 2, 28), date(2027, 2, 28)],
            ),
            (
                Interval(2, "year"),
                date(2024, 2, 29),
                [date(2024, 2, 29), date(2026, 2, 28), date(2028, 2, 29), date(2030, 2, 28)],
            ),
            (
                Interval(5, "month"),
                date(2026, 1, 31),
                [date(2026, 1, 31), date(2026, 6, 30), date(2026, 11, 30), date(2027, 4, 30)],
            ),
            (
                Interval(4, "week"),
                date(2026, 12, 21),
                [date(2026, 12, 21), date(2027, 1, 18), date(2027, 2, 15), date(2027, 3, 15)],
            ),
        ],
    )
    def test_is_counted_from_the_anchor(
        self, interval: Interval, anchor: date, starts: list[date]
    ) -> None:
        assert [period(anchor, number, interval).start for number in range(4)] == starts

    def test_of_twelve_months_is_a_year(self) -> None:
        anchor = date(2024, 2, 29)
        assert [period(anchor, number, Interval(12, "month")) for number in range(9)] == [
            period(anchor, number, YEARLY) for number in range(9)
        ]

    @given(
        anchor=DAYS,
        interval=INTERVALS,
        distance=st.integers(min_value=-9000, max_value=9000),
    )
    def test_holds_each_day_in_the_period_of_its_number(
        self, anchor: date, interval: Interval, distance: int
    ) -> None:
        day = anchor + timedelta(days=distance)
        number = number_on(anchor, day, interval)
        held = period(anchor, number, interval)
        assert held.start <= day < held.end
        assert period(anchor, number - 1, interval).end == held.start
        assert number_on(anchor, anchor, interval) == 0


class TestThePeriodsBetweenTwoDays:
    def test_are_whole_and_in_order(self) -> None:
        anchor = date(2026, 1, 31)
        assert list(periods_between(anchor, date(2026, 2, 27), date(2026, 3, 1))) == [
            Period(date(2026, 1, 31), date(2026, 2, 28)),
            Period(date(2026, 2, 28), date(2026, 3, 31)),
        ]

    def test_leave_out_the_one_that_starts_on_the_last_day(self) -> None:
        assert list(periods_between(date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1))) == [
            Period(date(2026, 2, 1), date(2026, 3, 1))
        ]

    def test_may_lie_before_the_anchor(self) -> None:
        found = periods_between(date(2026, 1, 1), date(2024, 5, 5), date(2024, 7, 2), QUARTERLY)
        assert list(found) == [
            Period(date(2024, 4, 1), date(2024, 7, 1)),
            Period(date(2024, 7, 1), date(2024, 10, 1)),
        ]


class TestTheAnchorOfASubscription:
    def test_is_its_first_day_where_there_is_no_billing_day(self) -> None:
        for interval in (MONTHLY, QUARTERLY, YEARLY, Interval(2, "week")):
            assert anchor_for(
                starts_on=date(2026, 5, 17), billing_day=None, interval=interval
            ) == date(2026, 5, 17)

    @pytest.mark.parametrize(
        ("interval", "starts_on", "billing_day", "stub"),
        [
            (MONTHLY, date(2026, 5, 17), 1, (date(2026, 5, 1), date(2026, 6, 1))),
            (MONTHLY, date(2026, 5, 1), 1, (date(2026, 5, 1), date(2026, 6, 1))),
            (MONTHLY, date(2026, 2, 10), 31, (date(2026, 1, 31), date(2026, 2, 28))),
            (MONTHLY, date(2026, 2, 28), 31, (date(2026, 2, 28), date(2026, 3, 31))),
            (MONTHLY, date(2026, 3, 10), 31, (date(2026, 2, 28), date(2026, 3, 31))),
            (MONTHLY, date(2028, 3, 28), 29, (date(2028, 2, 29), date(2028, 3, 29))),
            (MONTHLY, date(2026, 1, 3), 15, (date(2025, 12, 15), date(2026, 1, 15))),
            (QUARTERLY, date(2026, 5, 17), 1, (date(2026, 4, 1), date(2026, 7, 1))),
            (QUARTERLY, date(2026, 4, 9), 10, (date(2026, 1, 10), date(2026, 4, 10))),
            (QUARTERLY, date(2026, 12, 31), 31, (date(2026, 10, 31), date(2027, 1, 31))),
            (YEARLY, date(2026, 5, 17), 1, (date(2026, 1, 1), date(2027, 1, 1))),
            (YEARLY, date(2026, 1, 14), 15, (date(2025, 1, 15), date(2026, 1, 15))),
            (Interval(5, "month"), date(2026, 1, 15), 15, (date(2026, 1, 15), date(2026, 6, 15))),
            # 17 May 2026 is a Sunday.
            (Interval(1, "week"), date(2026, 5, 17), 1, (date(2026, 5, 11), date(2026, 5, 18))),
            (Interval(2, "week"), date(2026, 5, 17), 7, (date(2026, 5, 17), date(2026, 5, 31))),
            (Interval(2, "week"), date(2026, 5, 18), 7, (date(2026, 5, 17), date(2026, 5, 31))),
        ],
    )
    def test_puts_the_start_into_a_period_of_the_calendar(
        self, interval: Interval, starts_on: date, billing_day: int, stub: tuple[date, date]
    ) -> None:
        anchor = anchor_for(starts_on=starts_on, billing_day=billing_day, interval=interval)
        assert period(anchor, number_on(anchor, starts_on, interval), interval) == Period(*stub)

    @given(starts_on=DAYS, billing_day=st.integers(1, 31), interval=MONTHS_OR_YEARS)
    def test_keeps_its_day_in_every_month_that_has_it(
        self, starts_on: date, billing_day: int, interval: Interval
    ) -> None:
        anchor = anchor_for(starts_on=starts_on, billing_day=billing_day, interval=interval)
        assert anchor <= starts_on < anchor.replace(year=anchor.year + 1)
        for number in range(15):
            start = period(anchor, number, interval).start
            assert start.day == billing_day or (start + timedelta(days=1)).day == 1

    @given(starts_on=DAYS, billing_day=st.integers(1, 31))
    def test_is_one_for_charges_by_the_month_the_quarter_and_the_year(
        self, starts_on: date, billing_day: int
    ) -> None:
        anchors = {
            anchor_for(starts_on=starts_on, billing_day=billing_day, interval=interval)
            for interval in (MONTHLY, QUARTERLY, YEARLY)
        }
        assert len(anchors) == 1

    @given(starts_on=DAYS, billing_day=st.integers(1, 7), count=st.integers(1, 260))
    def test_of_weeks_is_a_day_of_the_week(
        self, starts_on: date, billing_day: int, count: int
    ) -> None:
        interval = Interval(count, "week")
        anchor = anchor_for(starts_on=starts_on, billing_day=billing_day, interval=interval)
        assert anchor.isoweekday() == billing_day
        assert 0 <= (starts_on - anchor).days < 7

    @pytest.mark.parametrize(
        ("interval", "billing_day"),
        [(MONTHLY, 0), (MONTHLY, 32), (YEARLY, -1), (Interval(1, "week"), 8), (MONTHLY, True)],
    )
    def test_needs_a_billing_day_that_exists(self, interval: Interval, billing_day: int) -> None:
        with pytest.raises(BillingDayUnsound) as refused:
            anchor_for(starts_on=date(2026, 5, 17), billing_day=billing_day, interval=interval)
        assert refused.value.field == "billing_day"


class TestTheDayOfAMoment:
    @pytest.mark.parametrize(
        ("timezone", "moment", "day"),
        [
            ("Asia/Seoul", datetime(2026, 3, 9, 15, tzinfo=UTC), date(2026, 3, 10)),
            ("Asia/Seoul", datetime(2026, 3, 9, 14, 59, 59, tzinfo=UTC), date(2026, 3, 9)),
            # Clocks went from 23:59:59 to 01:00.
            ("America/Sao_Paulo", datetime(2018, 11, 4, 3, tzinfo=UTC), date(2018, 11, 4)),
            ("America/Sao_Paulo", datetime(2018, 11, 4, 2, 59, tzinfo=UTC), date(2018, 11, 3)),
            # 30 December 2011 never was.
            ("Pacific/Apia", datetime(2011, 12, 30, 9, 59, tzinfo=UTC), date(2011, 12, 29)),
            ("Pacific/Apia", datetime(2011, 12, 30, 10, tzinfo=UTC), date(2011, 12, 31)),
            # At 00:01 clocks were set back to 23:01 of the day before, which had ended.
            ("America/St_Johns", datetime(2010, 11, 7, 2, 30, tzinfo=UTC), date(2010, 11, 7)),
            ("America/St_Johns", datetime(2010, 11, 7, 2, 45, tzinfo=UTC), date(2010, 11, 7)),
            ("America/St_Johns", datetime(2010, 11, 7, 2, 29, tzinfo=UTC), date(2010, 11, 6)),
            # At 24:00 clocks were set back to 23:00, so midnight came once and an hour later.
            ("Africa/Cairo", datetime(2024, 10, 31, 21, 30, tzinfo=UTC), date(2024, 10, 31)),
            ("Africa/Cairo", datetime(2024, 10, 31, 22, tzinfo=UTC), date(2024, 11, 1)),
            # At 23:30 clocks were set forward to 00:30.
            ("America/Toronto", datetime(1919, 3, 31, 4, 45, tzinfo=UTC), date(1919, 3, 30)),
            ("America/Toronto", datetime(1919, 3, 31, 5, tzinfo=UTC), date(1919, 3, 31)),
        ],
    )
    def test_is_the_one_within_whose_bounds_it_lies(
        self, timezone: str, moment: datetime, day: date
    ) -> None:
        begins, ends = periods.bounds(Period(day, day + timedelta(days=1)), timezone)
        assert begins <= moment < ends
        assert local_day(moment, timezone) == day

    def test_is_none_of_a_time_without_a_zone(self) -> None:
        with pytest.raises(ValueError, match="lacks a time zone"):
            local_day(datetime(2026, 3, 9, 15), "Asia/Seoul")
