"""Uploaded tables: every usual encoding is read, and nothing in a file can do harm."""

from __future__ import annotations

import io
import zipfile

import pytest
import xlsxwriter

from app.base.spreadsheet_reading import (
    COLUMNS_MAX,
    TableTooLong,
    TableUnreadable,
    read_rows,
)

TABLE = [["거래일시", "입금액", "적요"], ["2026-03-10", "209,000", "㈜한빛, 서울"]]


def xlsx(rows: list[list[object]]) -> bytes:
    held = io.BytesIO()
    book = xlsxwriter.Workbook(held, {"in_memory": True})
    sheet = book.add_worksheet("거래내역")
    for number, row in enumerate(rows):
        sheet.write_row(number, 0, row)
    book.add_worksheet("다른 시트").write(0, 0, "not this one")
    book.close()
    return held.getvalue()


def packed(**parts: str) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name.replace("__", "/"), text)
    return held.getvalue()


class TestCsv:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp949", "utf-16"])
    @pytest.mark.parametrize("delimiter", [",", "\t", ";"])
    def test_is_read_in_every_usual_encoding_and_with_every_usual_mark(
        self, encoding: str, delimiter: str
    ) -> None:
        lines = [delimiter.join(f'"{cell}"' for cell in row) for row in TABLE]
        text = "\r\n".join(lines).replace("㈜", "(주)")
        rows = read_rows(content=text.encode(encoding), rows_max=10)
        assert rows == [TABLE[0], ["2026-03-10", "209,000", "(주)한빛, 서울"]]

    def test_of_too_many_rows_is_refused(self) -> None:
        with pytest.raises(TableTooLong):
            read_rows(content=b"a\n" * 11, rows_max=10)

    @pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\x00", b"a\x00b", b"\xff\xfe\x00"])
    def test_that_is_none_is_refused(self, content: bytes) -> None:
        with pytest.raises(TableUnreadable):
            read_rows(content=content, rows_max=10)


class TestXlsx:
    def test_gives_the_texts_of_its_first_sheet(self) -> None:
        rows = read_rows(content=xlsx([*TABLE, ["", 209000, 46091.5]]), rows_max=10)  # type: ignore[list-item]
        assert rows[:2] == TABLE
        assert rows[2] == ["", "209000", "46091.5"]

    def test_of_too_many_rows_or_columns_is_refused(self) -> None:
        with pytest.raises(TableTooLong):
            read_rows(content=xlsx([["a"]] * 11), rows_max=10)
        with pytest.raises(TableTooLong):
            read_rows(content=xlsx([["a"] * (COLUMNS_MAX + 1)]), rows_max=10)

    def test_that_is_cut_off_or_something_else_in_a_zip_is_refused(self) -> None:
        whole = xlsx([["a"]])
        for content in (whole[: len(whole) // 2], packed(hello="world"), b"PK\x03\x04nothing"):
            with pytest.raises(TableUnreadable):
                read_rows(content=content, rows_max=10)

    def test_that_declares_entities_is_refused(self) -> None:
        bomb = '<!DOCTYPE w [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><workbook>&b;</workbook>'
        with pytest.raises(TableUnreadable):
            read_rows(content=packed(xl__workbook_xml=bomb), rows_max=10)
        held = io.BytesIO()
        with zipfile.ZipFile(held, "w") as archive:
            archive.writestr("xl/workbook.xml", bomb)
        with pytest.raises(TableUnreadable, match="declares"):
            read_rows(content=held.getvalue(), rows_max=10)

    def test_that_unfolds_without_an_end_is_refused(self) -> None:
        held = io.BytesIO()
        with (
            zipfile.ZipFile(io.BytesIO(xlsx([["a"]]))) as source,
            zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            for name in source.namelist():
                if name != "xl/sharedStrings.xml":
                    archive.writestr(name, source.read(name))
            archive.writestr("xl/sharedStrings.xml", b"<sst>" + b" " * 70_000_000 + b"</sst>")
        assert len(held.getvalue()) < 1_000_000
        with pytest.raises(TableTooLong):
            read_rows(content=held.getvalue(), rows_max=10)
