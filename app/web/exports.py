"""Lists as CSV and XLSX, and files as downloads.

A table is first written whole to a file without a name, so that a fault in its middle is an error
page and never a truncated list that looks complete. Text that a spreadsheet would take for a
formula is disarmed.
"""

from __future__ import annotations

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, BinaryIO, cast
from zoneinfo import ZoneInfo

from flask import Response
from werkzeug.utils import secure_filename

from app.base.files import chunks_of
from app.base.money import Money, exponent
from app.base.spreadsheets import disarmed
from app.web.i18n import TIME_ZONE
from app.web.security import frameable

CSV = "text/csv; charset=utf-8"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# Excel's own limit of characters in a cell.
_CELL_LENGTH_MAX = 32_767
# What a list takes up at most before it goes to a file; the allocator keeps what larger ones took.
_SPOOL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an exported table: its heading, and its width in a spreadsheet."""

    heading: str
    width: int = 14


def csv_file(*, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> BinaryIO:
    """This function will write a table as CSV that Excel reads as UTF-8.

    Money is written in major units as a plain number, days as ISO dates.
    """
    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))  # noqa: SIM115 - the response closes it
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="", errors="replace")
    writer = csv.writer(text)
    writer.writerow([_plain(column.heading) for column in columns])
    writer.writerows([_plain(value) for value in row] for row in rows)
    text.flush()
    text.detach()
    file.seek(0)
    return file


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Money):
        return f"{value.units:f}"
    if isinstance(value, int | Decimal):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, datetime):
        return f"{value.astimezone(ZoneInfo(TIME_ZONE)):%Y-%m-%d %H:%M:%S}"
    if isinstance(value, date):
        return value.isoformat()
    return disarmed(str(value))


def xlsx_file(*, title: str, columns: Sequence[Column], rows: Iterable[Sequence[Any]]) -> BinaryIO:
    """This function will write a table as a workbook of one sheet, row by row.

    Texts are stored as texts, so nothing in them is ever a formula or a link.
    """
    import xlsxwriter  # noqa: PLC0415 - few of the pages that a web process serves write one

    file = cast(BinaryIO, tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES))  # noqa: SIM115 - the response closes it
    book = xlsxwriter.Workbook(
        file,
        {
            "constant_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
            "default_date_format": "yyyy-mm-dd",
        },
    )
    sheet = book.add_worksheet(title[:31])
    bold = book.add_format({"bold": True, "bottom": 1})
    formats = {
        "day": book.add_format({"num_format": "yyyy-mm-dd"}),
        "moment": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
        0: book.add_format({"num_format": "#,##0"}),
        2: book.add_format({"num_format": "#,##0.00"}),
        3: book.add_format({"num_format": "#,##0.000"}),
    }
    for place, column in enumerate(columns):
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, column.heading, bold)
    sheet.freeze_panes(1, 0)
    for number, row in enumerate(rows, start=1):
        for place, value in enumerate(row):
            _write(sheet, number, place, value, formats)
    book.close()
    file.seek(0)
    return file


def _write(sheet: Any, row: int, place: int, value: Any, formats: dict[Any, Any]) -> None:
    if value is None:
        return
    if isinstance(value, Money):
        sheet.write_number(row, place, value.units, formats[exponent(value.currency)])
    elif isinstance(value, int | Decimal):
        sheet.write_number(row, place, value)
    elif isinstance(value, datetime):
        local = value.astimezone(ZoneInfo(TIME_ZONE)).replace(tzinfo=None)
        sheet.write_datetime(row, place, local, formats["moment"])
    elif isinstance(value, date):
        midnight = datetime.combine(value, datetime.min.time())
        sheet.write_datetime(row, place, midnight, formats["day"])
    else:
        sheet.write_string(row, place, str(value)[:_CELL_LENGTH_MAX])


def download(
    stream: BinaryIO,
    *,
    file_name: str,
    media_type: str,
    size_bytes: int | None = None,
    inline: bool = False,
) -> Response:
    """This function will send a file in pieces and close it afterwards.

    `inline` shows it in the browser, in a frame of our own pages at most.
    """
    response = Response(_pieces(stream), mimetype=media_type)
    response.headers.set(
        "Content-Disposition",
        "inline" if inline else "attachment",
        filename=secure_filename(file_name) or "download",
    )
    size = size_bytes if size_bytes is not None else _size(stream)
    response.content_length = size
    response.call_on_close(stream.close)
    return frameable(response) if inline else response


def _size(stream: BinaryIO) -> int:
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return end


def _pieces(stream: BinaryIO) -> Iterator[bytes]:
    with stream:
        yield from chunks_of(stream)
