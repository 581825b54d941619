"""What countries are called: Babel's names, without Babel's data."""

from __future__ import annotations

import subprocess
import sys

from app.web import countries
from tenants.trial_form import COUNTRIES


def test_what_is_written_is_what_babel_knows_today() -> None:
    assert countries.WRITTEN.read_text(encoding="utf-8") == countries.written_anew()


def test_every_country_that_may_apply_has_a_name_in_both_languages() -> None:
    for language in ("ko", "en"):
        assert countries.names(language).keys() >= COUNTRIES
    assert (countries.names("ko")["JP"], countries.names("en")["JP"]) == ("일본", "Japan")


def test_babel_reads_nothing_of_a_language_to_name_a_country() -> None:
    script = (
        "from babel import localedata\n"
        "from app.web import countries\n"
        "print(len(countries.names('en')) > 200, list(localedata._cache))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "True []\n"
