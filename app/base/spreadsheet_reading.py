"""Tables that people upload, as rows of texts: CSV in its usual encodings, and XLSX.

Nothing in a file is run, followed or trusted to be small: an XLSX is unpacked up to a bound, its
XML may declare no entities, and only the texts of its first sheet are read. A number stays as it is
written there, a day in an XLSX so a count of days.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Callable
from xml.parsers import expat

from app.base.errors import Invalid

COLUMNS_MAX = 100
UNPACKED_BYTES_MAX = 64 * 1024 * 1024
_ENCODINGS = ("utf-8-sig", "cp949")
_DELIMITERS = ",\t;"
_CELL = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
# What a file that is no XLSX, or a damaged or a locked one, makes the libraries say.
_BROKEN = (
    zipfile.BadZipFile,
    expat.ExpatError,
    LookupError,
    ValueError,
    OSError,
    RuntimeError,
    EOFError,
)


class TableUnreadable(Invalid):
    """The file is no table that can be read."""


class TableTooLong(Invalid):
    """The file has more rows, or more columns, than are taken at once."""


def read_rows(*, content: bytes, rows_max: int) -> list[list[str]]:
    """This function will return the rows of a CSV or of an XLSX's first sheet, blank ones too.

    Raises: TableUnreadable, TableTooLong (field `file`).
    """
    rows = _xlsx(content, rows_max) if content[:4] == b"PK\x03\x04" else _csv(content, rows_max)
    if any(len(row) > COLUMNS_MAX for row in rows):
        raise TableTooLong(f"The file has more than {COLUMNS_MAX} columns.", field="file")
    return rows


def _csv(content: bytes, rows_max: int) -> list[list[str]]:
    text = _decoded(content)
    if "\x00" in text:
        raise TableUnreadable("The file is neither CSV nor XLSX.", field="file")
    beginning = "".join(text.splitlines(keepends=True)[:20])
    delimiter = max(_DELIMITERS, key=beginning.count)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
            if len(rows) >= rows_max:
                raise _too_long(rows_max)
            rows.append([cell.strip() for cell in row])
    except csv.Error as error:
        raise TableUnreadable(f"Line {len(rows) + 1} can't be read.", field="file") from error
    return rows


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encodings: tuple[str, ...] = ("utf-16",)
    else:
        encodings = _ENCODINGS
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise TableUnreadable("The file's letters are in no encoding that we know.", field="file")


def _too_long(rows_max: int) -> TableTooLong:
    return TableTooLong(
        f"The file has more than {rows_max} rows. Please cut it in two.", field="file"
    )


def _xlsx(content: bytes, rows_max: int) -> list[list[str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = set(archive.namelist())
            budget = _Budget(UNPACKED_BYTES_MAX)
            sheet = _first_sheet(archive, names, budget)
            strings = _Strings()
            if "xl/sharedStrings.xml" in names:
                _parse(archive, "xl/sharedStrings.xml", strings, budget)
            cells = _Cells(strings.found, rows_max)
            _parse(archive, sheet, cells, budget)
    except _BROKEN as error:
        raise TableUnreadable("The file can't be read as XLSX.", field="file") from error
    return cells.rows


class _Budget:
    """How many unpacked bytes may still be read of one file."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, spent: int) -> None:
        self.left -= spent
        if self.left < 0:
            raise TableTooLong("The file is too large once it is unpacked.", field="file")


class _Reader:
    """What hears the elements of one XML file by their local names."""

    def starts(self, name: str, attributes: dict[str, str]) -> None:
        """This function will hear an element begin."""

    def ends(self, name: str) -> None:
        """This function will hear an element end."""

    def says(self, text: str) -> None:
        """This function will hear a piece of text."""


class _Strings(_Reader):
    """The texts that cells share, by their place; readings aids (`rPh`) are left out."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._text: list[str] = []
        self._reads = False
        self._aside = 0

    def starts(self, name: str, attributes: dict[str, str]) -> None:
        del attributes
        if name == "si":
            self._text = []
        self._aside += name == "rPh"
        self._reads = name == "t" and not self._aside

    def ends(self, name: str) -> None:
        self._aside -= name == "rPh"
        self._reads = False
        if name == "si":
            self.found.append("".join(self._text))

    def says(self, text: str) -> None:
        if self._reads:
            self._text.append(text)


class _Cells(_Reader):
    """The cells of a sheet, put where their references say."""

    def __init__(self, strings: list[str], rows_max: int) -> None:
        self.rows: list[list[str]] = []
        self._strings, self._rows_max = strings, rows_max
        self._kind, self._place = "n", (0, 0)
        self._text: list[str] = []
        self._reads = False

    def starts(self, name: str, attributes: dict[str, str]) -> None:
        if name == "c":
            self._kind, self._place = attributes.get("t", "n"), _place(attributes["r"])
            self._text = []
        self._reads = name in ("v", "t")

    def ends(self, name: str) -> None:
        self._reads = False
        if name == "c":
            self._put("".join(self._text))

    def says(self, text: str) -> None:
        if self._reads:
            self._text.append(text)

    def _put(self, text: str) -> None:
        row, column = self._place
        if row >= self._rows_max:
            raise _too_long(self._rows_max)
        if column >= COLUMNS_MAX:
            raise TableTooLong(f"The file has more than {COLUMNS_MAX} columns.", field="file")
        while len(self.rows) <= row:
            self.rows.append([])
        cells = self.rows[row]
        cells.extend([""] * (column + 1 - len(cells)))
        shared = self._kind == "s" and text
        cells[column] = (self._strings[int(text)] if shared else text).strip()


def _place(reference: str) -> tuple[int, int]:
    found = _CELL.fullmatch(reference)
    if found is None:
        raise ValueError(reference)
    column = 0
    for letter in found[1]:
        column = column * 26 + ord(letter) - ord("A") + 1
    return int(found[2]) - 1, column - 1


class _Links(_Reader):
    """The first sheet's relation, and where relations lead."""

    def __init__(self) -> None:
        self.sheet = ""
        self.targets: dict[str, str] = {}

    def starts(self, name: str, attributes: dict[str, str]) -> None:
        if name == "sheet" and not self.sheet:
            self.sheet = next((v for k, v in attributes.items() if k.endswith("}id")), "")
        if name == "Relationship":
            self.targets[attributes["Id"]] = attributes["Target"]


def _first_sheet(archive: zipfile.ZipFile, names: set[str], budget: _Budget) -> str:
    links = _Links()
    for part in ("xl/workbook.xml", "xl/_rels/workbook.xml.rels"):
        _parse(archive, part, links, budget)
    target = links.targets[links.sheet]
    path = target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    if path not in names:
        raise KeyError(path)
    return path


def _parse(archive: zipfile.ZipFile, part: str, reader: _Reader, budget: _Budget) -> None:
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartElementHandler = lambda name, attributes: reader.starts(_local(name), attributes)
    parser.EndElementHandler = lambda name: reader.ends(_local(name))
    parser.CharacterDataHandler = reader.says
    # Entities could unfold without an end; no spreadsheet program writes any.
    parser.StartDoctypeDeclHandler = _refuse_doctype()
    with archive.open(part) as opened:
        while piece := opened.read(64 * 1024):
            budget.spend(len(piece))
            parser.Parse(piece, False)
        parser.Parse(b"", True)


def _refuse_doctype() -> Callable[..., None]:
    def refuse(*_: object) -> None:
        raise TableUnreadable("The file declares what no spreadsheet declares.", field="file")

    return refuse


def _local(name: str) -> str:
    return name.rpartition("}")[2]
