"""Days on which a deadline can end: the library's holidays, without the library."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import holidays
import pytest

from invoices import working_days


@pytest.mark.parametrize("year", [2014, 2021, 2026, 2027, 2050, 2051])
def test_they_are_those_of_the_library_and_labour_day(year: int) -> None:
    off = holidays.country_holidays("KR", years=year)
    day = date(year, 1, 1)
    while day.year == year:
        works = day.weekday() < 5 and day not in off and (day.month, day.day) != (5, 1)
        assert working_days.is_working_day(day) is works, day
        day += timedelta(days=1)


def test_what_is_written_is_what_the_library_knows_today() -> None:
    assert working_days.WRITTEN.read_text() == working_days.written_anew()


def test_the_library_is_not_loaded_for_a_year_that_is_written() -> None:
    script = (
        "import sys\n"
        "from datetime import date\n"
        "from invoices.working_days import is_working_day\n"
        "print(is_working_day(date(2026, 10, 9)), 'holidays' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False False\n"
