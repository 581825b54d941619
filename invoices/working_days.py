"""Days on which a deadline can end in Korea.

Public holidays are a library's, written down beside this module: the library itself takes 12 MB of
every process that asks it. When a newer one knows of days that the government has added since:

    python -c "from invoices import working_days as d; d.WRITTEN.write_text(d.written_anew())"

Source: Framework Act on National Taxes §5.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

WRITTEN = Path(__file__).with_name("public_holidays.txt")
_YEARS = range(2015, 2051)
_SATURDAY = 5
# No public holiday in every year, but no day for a deadline in any.
_LABOUR_DAY = (5, 1)


def is_working_day(day: date) -> bool:
    """This function will tell whether a deadline can end on a day in Korea."""
    labour_day = (day.month, day.day) == _LABOUR_DAY
    return day.weekday() < _SATURDAY and day not in _holidays(day.year) and not labour_day


@lru_cache(maxsize=1_000)
def working_day(day: date) -> date:
    """This function will return a day, or the next one on which a deadline can end."""
    while not is_working_day(day):
        day += timedelta(days=1)
    return day


@lru_cache(maxsize=1_000)
def working_days_before(day: date, count: int) -> date:
    """This function will go so many working days back from a day."""
    while count:
        day -= timedelta(days=1)
        count -= is_working_day(day)
    return day


def written_anew() -> str:
    """This function will write what the library knows today, a line a year."""
    return "".join(
        " ".join(day.isoformat() for day in sorted(_of_the_library(year))) + "\n" for year in _YEARS
    )


@lru_cache(maxsize=32)
def _holidays(year: int) -> frozenset[date]:
    return _of_the_file().get(year) or _of_the_library(year)


@lru_cache(maxsize=1)
def _of_the_file() -> dict[int, frozenset[date]]:
    years = [
        frozenset(date.fromisoformat(day) for day in line.split())
        for line in WRITTEN.read_text().splitlines()
    ]
    return {min(days).year: days for days in years}


def _of_the_library(year: int) -> frozenset[date]:
    import holidays  # noqa: PLC0415 - its 250 countries are loaded for years far away alone

    return frozenset(holidays.country_holidays("KR", years=year))
