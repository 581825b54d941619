"""Days on which a deadline can end: the library's Korea, without all other countries."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import holidays

from invoices import working_days


def test_they_are_those_of_the_library_and_labour_day():
    years = range(2021, 2041)
    off = holidays.country_holidays("KR", years=years)
    day = date(years[0], 1, 1)
    while day.year <= years[-1]:
        works = day.weekday() < 5 and day not in off and (day.month, day.day) != (5, 1)
        assert working_days.is_working_day(day) is works, day
        day += timedelta(days=1)


def test_no_other_country_is_loaded_for_them():
    script = (
        "import sys\n"
        "from datetime import date\n"
        "from invoices.working_days import is_working_day\n"
        "print(is_working_day(date(2026, 10, 9)), 'holidays.countries' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "False False\n"
