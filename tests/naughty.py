"""Texts that break programs, and a fair share of them for each field of a form."""

from __future__ import annotations

import json
from pathlib import Path
from zlib import crc32

NAUGHTY: list[str] = json.loads(
    (Path(__file__).parent / "data" / "naughty_strings.json").read_text("utf-8")
)
# A whole page is made for each text of each field, so fields take turns at the common ones. These
# every field meets: nothing, control characters, a script, SQL, a header, a formula, a long one.
_ALWAYS = (
    *("", "a\x00b", '"><script>alert(123)</script>', "1'; DROP TABLE users-- 1"),
    *("Company\r\nBcc: everybody@example.com", "=cmd|' /C calc'!A0", NAUGHTY[-1]),
)
_TURNS = 8


def naughty(field: str) -> list[str]:
    """This function will return the texts for a field: the worst, and every eighth of the rest."""
    turn = crc32(field.encode()) % _TURNS
    return [*_ALWAYS, *(text for text in NAUGHTY[turn::_TURNS] if text not in _ALWAYS)]
