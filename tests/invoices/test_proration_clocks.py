"""Changes on days of 23 and 25 hours, at midnights that were skipped or came twice."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest

from invoices.periods import Period
from invoices.proration import share

NEW_YORK = "America/New_York"


def local(timezone: str, *fields: int, fold: int = 0) -> datetime:
    """A moment by the clocks of a time zone; `fold` picks the second of two equal times."""
    return datetime(*fields, fold=fold, tzinfo=ZoneInfo(timezone)).astimezone(UTC)  # type: ignore[arg-type,misc]


class TestWhereTheClocksChange:
    """By day a short day is a whole one; by second it is as long as it was."""

    @pytest.mark.parametrize(
        ("timezone", "period", "moment", "by_day", "by_second"),
        [
            # 8 March has 23 hours: 03:00 comes two hours after midnight.
            (
                NEW_YORK,
                Period(date(2026, 3, 8), date(2026, 3, 15)),
                local(NEW_YORK, 2026, 3, 8, 3),
                Fraction(0),
                Fraction(2, 7 * 24 - 1),
            ),
            (
                NEW_YORK,
                Period(date(2026, 3, 8), date(2026, 3, 15)),
                local(NEW_YORK, 2026, 3, 9),
                Fraction(1, 7),
                Fraction(23, 7 * 24 - 1),
            ),
            # 1 November has 25 hours, and 01:30 comes twice.
            (
                NEW_YORK,
                Period(date(2026, 11, 1), date(2026, 12, 1)),
                local(NEW_YORK, 2026, 11, 1, 1, 30),
                Fraction(0),
                Fraction(3, 2 * (30 * 24 + 1)),
            ),
            (
                NEW_YORK,
                Period(date(2026, 11, 1), date(2026, 12, 1)),
                local(NEW_YORK, 2026, 11, 1, 1, 30, fold=1),
                Fraction(0),
                Fraction(5, 2 * (30 * 24 + 1)),
            ),
            (
                NEW_YORK,
                Period(date(2026, 11, 1), date(2026, 12, 1)),
                local(NEW_YORK, 2026, 11, 2),
                Fraction(1, 30),
                Fraction(25, 30 * 24 + 1),
            ),
            # Half an hour, on Lord Howe.
            (
                "Australia/Lord_Howe",
                Period(date(2026, 4, 1), date(2026, 5, 1)),
                local("Australia/Lord_Howe", 2026, 4, 6),
                Fraction(5, 30),
                Fraction(5 * 48 + 1, 30 * 48 + 1),
            ),
            # Midnight of 4 November was skipped: the day began at 01:00.
            (
                "America/Sao_Paulo",
                Period(date(2018, 11, 1), date(2018, 12, 1)),
                local("America/Sao_Paulo", 2018, 11, 4, 1),
                Fraction(3, 30),
                Fraction(3 * 24, 30 * 24 - 1),
            ),
            # Midnight came twice: the first one begins the day.
            (
                "America/Havana",
                Period(date(2026, 11, 1), date(2026, 12, 1)),
                local("America/Havana", 2026, 11, 1, 0, fold=1),
                Fraction(0),
                Fraction(1, 30 * 24 + 1),
            ),
            # 30 December 2011 never was: the month had 30 days, and its last began on the 30th.
            (
                "Pacific/Apia",
                Period(date(2011, 12, 1), date(2012, 1, 1)),
                local("Pacific/Apia", 2011, 12, 31),
                Fraction(29, 30),
                Fraction(29, 30),
            ),
        ],
    )
    def test_a_change_has_this_position(
        self,
        timezone: str,
        period: Period,
        moment: datetime,
        by_day: Fraction,
        by_second: Fraction,
    ) -> None:
        assert share(policy="day", period=period, timezone=timezone, start=moment, end=moment) == (
            by_day,
            by_day,
        )
        assert share(
            policy="second", period=period, timezone=timezone, start=moment, end=moment
        ) == (by_second, by_second)
