"""Parts of a period: however it is cut, they add up to the whole, to the minor unit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.base.money import Rounding, round_minor
from invoices import periods
from invoices.periods import MONTHLY, QUARTERLY, YEARLY, Interval, Period
from invoices.proration import PRORATIONS, WHOLE, part_minor, round_share, share

TIMEZONES = st.sampled_from(
    [
        "Asia/Seoul",
        "UTC",
        "America/New_York",
        "Europe/London",
        "Australia/Lord_Howe",
        "America/Havana",
        "Asia/Beirut",
        "Africa/Cairo",
    ]
)
# Where all days of these years have 24 hours.
STEADY = st.sampled_from(["Asia/Seoul", "UTC", "Asia/Kolkata", "Asia/Kathmandu"])
PERIODS = st.builds(
    periods.period,
    st.dates(min_value=date(2024, 1, 1), max_value=date(2032, 12, 31)),
    st.integers(-3, 30),
    st.sampled_from([MONTHLY, QUARTERLY, YEARLY, Interval(2, "week")]),
)
AMOUNTS = st.decimals(
    min_value=Decimal(-(10**15)), max_value=Decimal(10**15), places=6, allow_nan=False
)
PRICES = AMOUNTS.map(abs)
PLACES = st.lists(st.fractions(min_value=0, max_value=1, max_denominator=10**9), max_size=8)
ROUNDINGS = st.sampled_from(Rounding)
POLICIES = st.sampled_from(["day", "second"])
SEOUL = "Asia/Seoul"
# Where on a period's line a cut lies, in billionths of its length; some outside of it.
CUTS = st.integers(min_value=-(10**8), max_value=11 * 10**8)


def moment_at(period: Period, timezone: str, billionths: int) -> datetime:
    """A moment of a period, or around it."""
    begins, ends = periods.bounds(period, timezone)
    microseconds = (ends - begins) // timedelta(microseconds=1)
    return begins + timedelta(microseconds=microseconds * billionths // 10**9)


class TestTheParts:
    @given(full=AMOUNTS, places=PLACES, rounding=ROUNDINGS)
    def test_add_up_to_the_whole_wherever_it_is_cut(
        self, full: Decimal, places: list[Fraction], rounding: Rounding
    ) -> None:
        cuts = [Fraction(0), *sorted(places), Fraction(1)]
        parts = [
            part_minor(full_minor_exact=full, share=cut, rounding=rounding)
            for cut in pairwise(cuts)
        ]
        assert sum(parts) == round_minor(full, rounding)

    @given(
        full=AMOUNTS,
        period=PERIODS,
        timezone=TIMEZONES,
        policy=POLICIES,
        rounding=ROUNDINGS,
        places=st.lists(CUTS, max_size=6),
    )
    def test_add_up_to_the_whole_whenever_changes_are_made(
        self,
        *,
        full: Decimal,
        period: Period,
        timezone: str,
        policy: str,
        rounding: Rounding,
        places: list[int],
    ) -> None:
        moments = sorted(moment_at(period, timezone, place) for place in places)
        begins, ends = periods.bounds(period, timezone)
        cuts = [min(begins, *moments, ends), *moments, max(begins, *moments, ends)]
        parts = [
            part_minor(
                full_minor_exact=full,
                share=share(policy=policy, period=period, timezone=timezone, start=start, end=end),
                rounding=rounding,
            )
            for start, end in pairwise(cuts)
        ]
        assert sum(parts) == round_minor(full, rounding)

    @given(
        old=PRICES,
        new=PRICES,
        period=PERIODS,
        timezone=TIMEZONES,
        policy=POLICIES,
        rounding=ROUNDINGS,
        place=CUTS,
    )
    def test_of_a_change_and_of_changing_back_at_once_come_to_nothing(
        self,
        *,
        old: Decimal,
        new: Decimal,
        period: Period,
        timezone: str,
        policy: str,
        rounding: Rounding,
        place: int,
    ) -> None:
        changed = moment_at(period, timezone, place)
        end = max(periods.bounds(period, timezone)[1], changed)

        def rest(full: Decimal) -> int:
            cut = share(policy=policy, period=period, timezone=timezone, start=changed, end=end)
            return part_minor(full_minor_exact=full, share=cut, rounding=rounding)

        def credit(full: Decimal) -> int:
            return rest(full.copy_negate())

        assert rest(new) + credit(old) + rest(old) + credit(new) == 0
        while_changed = share(
            policy=policy, period=period, timezone=timezone, start=changed, end=changed
        )
        assert part_minor(full_minor_exact=new, share=while_changed, rounding=rounding) == 0

    @given(full=PRICES, places=PLACES, rounding=ROUNDINGS)
    def test_are_never_negative_and_a_longer_one_never_costs_less(
        self, full: Decimal, places: list[Fraction], rounding: Rounding
    ) -> None:
        costs = [round_share(full, place, rounding) for place in sorted(places)]
        assert costs == sorted(costs)
        assert all(0 <= cost <= round_minor(full, rounding) for cost in costs)

    @given(full=PRICES, more=PRICES, place=st.fractions(0, 1), rounding=ROUNDINGS)
    def test_of_a_higher_price_never_cost_less(
        self, full: Decimal, more: Decimal, place: Fraction, rounding: Rounding
    ) -> None:
        assert round_share(full + more, place, rounding) >= round_share(full, place, rounding)

    @given(full=AMOUNTS, start=st.fractions(0, 1), end=st.fractions(0, 1), rounding=ROUNDINGS)
    def test_of_a_negative_price_mirror_those_of_the_positive_one(
        self, full: Decimal, start: Fraction, end: Fraction, rounding: Rounding
    ) -> None:
        assert part_minor(
            full_minor_exact=full.copy_negate(), share=(start, end), rounding=rounding
        ) == -part_minor(full_minor_exact=full, share=(start, end), rounding=rounding)


class TestAPriceTimesAFraction:
    @given(full=AMOUNTS, place=st.fractions(0, 1), rounding=ROUNDINGS)
    def test_is_rounded_as_the_exact_value_demands(
        self, full: Decimal, place: Fraction, rounding: Rounding
    ) -> None:
        exact = Fraction(full) * place
        given_back = round_share(full, place, rounding)
        assert abs(given_back - exact) < 1
        if rounding is Rounding.DOWN:
            assert abs(given_back) <= abs(exact)
        elif rounding is Rounding.UP:
            assert abs(given_back) >= abs(exact)
        else:
            assert abs(given_back - exact) <= Fraction(1, 2)

    @given(halves=st.integers(-(10**12), 10**12), rounding=st.sampled_from(["up", "even"]))
    def test_settles_an_exact_half_by_its_rule(self, halves: int, rounding: str) -> None:
        rule = {"up": Rounding.HALF_UP, "even": Rounding.HALF_EVEN}[rounding]
        mode = {"up": ROUND_HALF_UP, "even": ROUND_HALF_EVEN}[rounding]
        expected = int((Decimal(halves) / 2).quantize(Decimal(1), rounding=mode))
        assert round_share(Decimal(halves * 3), Fraction(1, 6), rule) == expected

    def test_sees_what_no_decimal_can_write(self) -> None:
        barely_more = Fraction(1, 2) + Fraction(1, 3 * 10**40)
        barely_less = Fraction(1, 2) - Fraction(1, 3 * 10**40)
        assert round_share(Decimal(1), barely_more, Rounding.HALF_EVEN) == 1
        assert round_share(Decimal(1), barely_less, Rounding.HALF_UP) == 0
        assert round_share(Decimal(1), Fraction(1, 3 * 10**40), Rounding.UP) == 1

    def test_keeps_every_digit_of_the_largest_amount(self) -> None:
        largest = Decimal("9" * 28 + "." + "9" * 10)
        assert round_share(largest, Fraction(1), Rounding.DOWN) == 10**28 - 1
        thirds = [
            part_minor(full_minor_exact=largest, share=cut, rounding=Rounding.DOWN)
            for cut in pairwise([Fraction(third, 3) for third in range(4)])
        ]
        assert sum(thirds) == 10**28 - 1
        assert thirds[0] == (10**28 - 1) // 3


class TestBySecond:
    @given(
        period=PERIODS, timezone=STEADY, days=st.tuples(st.integers(0, 400), st.integers(0, 400))
    )
    def test_equals_by_day_between_midnights_where_each_day_has_24_hours(
        self, period: Period, timezone: str, days: tuple[int, int]
    ) -> None:
        start, end = (
            periods.midnight(period.start + timedelta(days=number), timezone)
            for number in sorted(days)
        )
        by_second, by_day = (
            share(policy=policy, period=period, timezone=timezone, start=start, end=end)
            for policy in ("second", "day")
        )
        assert by_second == by_day

    def test_counts_whole_seconds_that_have_passed(self) -> None:
        june = Period(date(2026, 6, 1), date(2026, 7, 1))
        begins = periods.bounds(june, "UTC")[0]
        moments = [begins + timedelta(seconds=1, microseconds=each) for each in (0, 999_999)]
        shares = {
            share(policy="second", period=june, timezone="UTC", start=moment, end=moment)
            for moment in moments
        }
        assert shares == {(Fraction(1, 30 * 86_400), Fraction(1, 30 * 86_400))}


def local(timezone: str, *fields: int) -> datetime:
    """A moment by the clocks of a time zone."""
    return datetime(*fields, tzinfo=ZoneInfo(timezone)).astimezone(UTC)  # type: ignore[arg-type,misc]


class TestNamedParts:
    @pytest.mark.parametrize(
        ("period", "changed", "position"),
        [
            # From 31 January: 28 days, and the last one is 27 February.
            ((date(2026, 1, 31), date(2026, 2, 28)), (2026, 1, 31, 12), Fraction(0)),
            ((date(2026, 1, 31), date(2026, 2, 28)), (2026, 2, 1, 0), Fraction(1, 28)),
            ((date(2026, 1, 31), date(2026, 2, 28)), (2026, 2, 27, 23, 59, 59), Fraction(27, 28)),
            ((date(2026, 1, 31), date(2026, 2, 28)), (2026, 2, 28, 0), Fraction(1)),
            # The month after it has 31 days.
            ((date(2026, 2, 28), date(2026, 3, 31)), (2026, 3, 1, 9), Fraction(1, 31)),
            # A leap day is a day like any other.
            ((date(2028, 2, 1), date(2028, 3, 1)), (2028, 2, 29, 9), Fraction(28, 29)),
            ((date(2028, 1, 31), date(2028, 2, 29)), (2028, 2, 29, 0), Fraction(1)),
            ((date(2028, 2, 29), date(2029, 2, 28)), (2028, 3, 1, 0), Fraction(1, 365)),
            ((date(2027, 3, 1), date(2028, 3, 1)), (2028, 2, 29, 0), Fraction(365, 366)),
        ],
    )
    def test_of_a_change_by_day(
        self, period: tuple[date, date], changed: tuple[int, ...], position: Fraction
    ) -> None:
        held = Period(*period)
        begins, ends = periods.bounds(held, SEOUL)
        moment = local(SEOUL, *changed)
        before = share(policy="day", period=held, timezone=SEOUL, start=begins, end=moment)
        after = share(policy="day", period=held, timezone=SEOUL, start=moment, end=ends)
        assert (before, after) == ((Fraction(0), position), (position, Fraction(1)))

    def test_of_an_upgrade_from_30_000_to_50_000_won_on_11_april(self) -> None:
        april, moment = Period(date(2026, 4, 1), date(2026, 5, 1)), local(SEOUL, 2026, 4, 11, 15)
        rest = share(
            policy="day",
            period=april,
            timezone=SEOUL,
            start=moment,
            end=periods.bounds(april, SEOUL)[1],
        )
        parts = [
            part_minor(full_minor_exact=Decimal(full), share=rest, rounding=Rounding.DOWN)
            for full in (30_000, 50_000)
        ]
        assert parts == [20_000, 33_334]

    def test_of_a_hundred_won_cut_into_three_are_all_there(self) -> None:
        cuts = pairwise([Fraction(third, 3) for third in range(4)])
        parts = [
            part_minor(full_minor_exact=Decimal(100), share=cut, rounding=Rounding.DOWN)
            for cut in cuts
        ]
        assert parts == [33, 33, 34]

    def test_without_proration_are_the_whole(self) -> None:
        april = Period(date(2026, 4, 1), date(2026, 5, 1))
        moment = local(SEOUL, 2026, 4, 11, 15)
        assert share(policy="none", period=april, timezone=SEOUL, start=moment, end=moment) == WHOLE

    @pytest.mark.parametrize("policy", ["day", "second"])
    def test_end_where_the_period_does(self, policy: str) -> None:
        april = Period(date(2026, 4, 1), date(2026, 5, 1))
        long_before, long_after = local(SEOUL, 2020, 1, 1), local(SEOUL, 2030, 1, 1)
        just_before, just_after = local(SEOUL, 2026, 3, 31, 23), local(SEOUL, 2026, 5, 1, 1)
        assert (
            share(policy=policy, period=april, timezone=SEOUL, start=just_before, end=just_after)
            == WHOLE
        )
        assert (
            share(policy=policy, period=april, timezone=SEOUL, start=long_before, end=long_after)
            == WHOLE
        )
        assert share(
            policy=policy, period=april, timezone=SEOUL, start=long_after, end=long_after
        ) == (Fraction(1), Fraction(1))


class TestPositions:
    @given(period=PERIODS, timezone=TIMEZONES, days=st.integers(0, 400))
    def test_each_whole_day_costs_the_same_by_day(
        self, period: Period, timezone: str, days: int
    ) -> None:
        day = period.start + timedelta(days=days % period.days)
        start, end = periods.bounds(Period(day, day + timedelta(days=1)), timezone)
        begin, finish = share(policy="day", period=period, timezone=timezone, start=start, end=end)
        assert finish - begin == Fraction(1, period.days)

    @given(period=PERIODS, timezone=TIMEZONES, policy=POLICIES, places=st.tuples(CUTS, CUTS))
    def test_positions_never_turn_back(
        self, period: Period, timezone: str, policy: str, places: tuple[int, int]
    ) -> None:
        start, end = (moment_at(period, timezone, place) for place in sorted(places))
        begin, finish = share(policy=policy, period=period, timezone=timezone, start=start, end=end)
        assert 0 <= begin <= finish <= 1


class TestAFaultOfTheProgram:
    APRIL = Period(date(2026, 4, 1), date(2026, 5, 1))

    @pytest.mark.parametrize("policy", PRORATIONS)
    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (datetime(2026, 4, 3, tzinfo=UTC), datetime(2026, 4, 2, tzinfo=UTC)),
            (datetime(2026, 4, 3), datetime(2026, 4, 4)),
            (datetime(2026, 4, 3, tzinfo=UTC), datetime(2026, 4, 4)),
        ],
        ids=["ends before it starts", "no zone", "no zone at the end"],
    )
    def test_is_refused(self, policy: str, start: datetime, end: datetime) -> None:
        with pytest.raises(ValueError, match=r"does not end before it starts|lack a time zone"):
            share(policy=policy, period=self.APRIL, timezone=SEOUL, start=start, end=end)

    def test_of_an_unknown_policy_is_refused(self) -> None:
        begins, ends = periods.bounds(self.APRIL, SEOUL)
        with pytest.raises(ValueError, match="'hour' is none of"):
            share(policy="hour", period=self.APRIL, timezone=SEOUL, start=begins, end=ends)
