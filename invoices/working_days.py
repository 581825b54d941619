"""Days on which a deadline can end in Korea. Pure.

Source: Framework Act on National Taxes §5.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import lru_cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import holidays

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


@lru_cache(maxsize=32)
def _holidays(year: int) -> frozenset[date]:
    return frozenset(_korea()(years=year))


@lru_cache(maxsize=1)
def _korea() -> type[holidays.HolidayBase]:
    """The library's own file on Korea. Asked for it, the library loads 250 countries: 8 MB."""
    file = Path(holidays.__file__).parent / "countries" / "south_korea.py"
    spec = spec_from_file_location("holidays_in_korea", file)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    korea: type[holidays.HolidayBase] = module.SouthKorea
    return korea
