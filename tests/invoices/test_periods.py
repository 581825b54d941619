"""Periods of an anchor: every day falls into exactly one of them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoices.periods import Period, months_after, number_on, period

DAYS = st.dates(min_value=date(2000, 1, 1), max_value=date(2090, 12, 31))


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
