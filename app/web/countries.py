"""What countries are called in the languages of the pages.

The names are Babel's, written down beside this module: Babel reads all that it knows of a language
to name one country, 4 MB of a process for the two. When a newer one calls a country otherwise:

    python -c "from app.web import countries as c; c.WRITTEN.write_text(c.written_anew())"
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from app.web.i18n import LANGUAGES

WRITTEN = Path(__file__).with_name("country_names.txt")
_CODE_LENGTH = 2  # Babel also names continents, by numbers


@cache
def names(language: str) -> Mapping[str, str]:
    """This function will return the names of all countries in one language, by their codes."""
    column = 1 + list(LANGUAGES).index(language)
    rows = [line.split("\t") for line in WRITTEN.read_text(encoding="utf-8").splitlines()]
    return {row[0]: row[column] for row in rows}


def written_anew() -> str:
    """This function will write what Babel calls them today: code and names, a line a country."""
    from babel import Locale  # noqa: PLC0415 - what it reads is why they are written down

    known = [Locale.parse(language).territories for language in LANGUAGES]
    codes = sorted(code for code in map(str, known[0]) if len(code) == _CODE_LENGTH)
    return "".join("\t".join((code, *(str(each[code]) for each in known))) + "\n" for code in codes)
