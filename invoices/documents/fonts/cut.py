"""Cuts the paper typeface out of Pretendard: `python -m invoices.documents.fonts.cut`.

Why a cut: shaping and embedding a 2,350-syllable font is several times quicker than the full
11,172, and nearly every paper needs no more. The full Pretendard, unmodified, stands behind it
for rarer syllables, so no name suffers. The cut bears a name of its own because the SIL Open
Font License reserves the name Pretendard for the unmodified font.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset  # type: ignore[import-untyped]  # fontTools has no types
from fontTools.ttLib import TTFont  # type: ignore[import-untyped]  # likewise

FAMILY = "Tenantry Paper"
HERE = Path(__file__).parent
# Latin, punctuation, currency, letters, arrows, circled digits, jamo, ㈜ and ㎡, fullwidth.
BLOCKS = (
    (0x0020, 0x017F),
    (0x02C6, 0x02DD),
    (0x2010, 0x2044),
    (0x20A0, 0x20BF),
    (0x2100, 0x214F),
    (0x2190, 0x2199),
    (0x2212, 0x2215),
    (0x2460, 0x2473),
    (0x25A0, 0x25CF),
    (0x3000, 0x301F),
    (0x3131, 0x318E),
    (0x3200, 0x32FF),
    (0x3300, 0x33FF),
    (0xFF01, 0xFF5E),
    (0xFFE0, 0xFFE6),
)


def code_points() -> set[int]:
    """This function will return the characters of KS X 1001 Hangul and of the blocks above."""
    points = {point for first, last in BLOCKS for point in range(first, last + 1)}
    for lead in range(0xB0, 0xC9):
        for trail in range(0xA1, 0xFF):
            points.add(ord(bytes((lead, trail)).decode("euc_kr")))
    return points


def rename(font: TTFont, style: str) -> None:
    """This function will give the cut its own family name, leaving the copyright and licence."""
    postscript = f"{FAMILY.replace(' ', '')}-{style}"
    names = {1: FAMILY, 2: style, 3: postscript, 4: f"{FAMILY} {style}", 6: postscript}
    table = font["name"]
    table.names = [record for record in table.names if record.nameID in (0, 13, 14)]
    for name_id, value in names.items():
        table.setName(value, name_id, 3, 1, 0x409)


def cut(style: str) -> Path:
    """This function will write the cut of one style beside its source and return its path."""
    options = subset.Options()
    options.layout_features = ["kern", "tnum", "ccmp", "locl", "mark", "mkmk", "case", "zero"]
    options.name_IDs = ["*"]
    options.hinting = False
    options.notdef_outline = True
    font = subset.load_font(str(HERE / f"Pretendard-{style}.ttf"), options)
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=code_points())
    cutter.subset(font)
    rename(font, style)
    target = HERE / f"TenantryPaper-{style}.ttf"
    subset.save_font(font, str(target), options)
    return target


if __name__ == "__main__":
    for each in ("Regular", "Bold"):
        sys.stdout.write(f"{cut(each).name}\n")
