"""Bank statements: every layout read, faults named by line and column, deposits known again."""

from __future__ import annotations

from datetime import date

import pytest

from app.base.money import Money
from invoices.statements import FAULTS_MAX, USUAL, Layout, StatementUnsound, deposits

HEAD = ["거래일시", "적요", "보낸분/받는분", "출금액", "입금액", "거래후잔액"]


def row(day: str = "2026-03-10 11:20:33", amount: str = "209,000", **cells: str) -> list[str]:
    return [
        day,
        cells.get("memo", "INV-2026-000001"),
        cells.get("payer", "(주)한빛"),
        cells.get("out", ""),
        amount,
        cells.get("balance", "1,209,000"),
    ]


class TestReading:
    def test_finds_the_headings_below_whatever_a_bank_writes_above(self) -> None:
        rows = [["거래내역조회"], ["계좌번호", "123-456"], [], HEAD, row()]
        (found,) = deposits(rows=rows, layout=USUAL)
        assert (found.line_number, found.booked_on) == (5, date(2026, 3, 10))
        assert (found.amount, found.payer) == (Money(209_000, "KRW"), "(주)한빛")
        assert found.memo == "INV-2026-000001"

    def test_passes_over_what_went_out_and_what_only_sums_up(self) -> None:
        rows = [
            HEAD,
            row(),
            row(amount="0", out="50,000"),
            row(amount="", out="50,000"),
            row(amount="-3,000"),
            [],
            ["합 계", "", "", "50,000", "209,000", ""],
        ]
        assert [found.line_number for found in deposits(rows=rows, layout=USUAL)] == [2]

    @pytest.mark.parametrize(
        "day",
        ["2026-03-10", "2026.03.10 09:00", "2026/03/10", "20260310", "2026. 3. 10.", "46091.75"],
    )
    def test_takes_a_day_as_banks_and_spreadsheets_write_it(self, day: str) -> None:
        layout = Layout("dots", day_format="%Y. %m. %d.") if day.endswith(" 10.") else USUAL
        (found,) = deposits(rows=[HEAD, row(day)], layout=layout)
        assert found.booked_on == date(2026, 3, 10)

    def test_follows_a_layout_of_ones_own(self) -> None:
        layout = Layout(
            "a bank abroad",
            {"day": ["Valuta"], "amount": ["Betrag"], "payer": ["Auftraggeber"]},
            "%d.%m.%y",
            "EUR",
        )
        rows = [["Valuta", "Betrag", "Auftraggeber"], ["10.03.26", "1,234.50", "Hanbit GmbH"]]
        (found,) = deposits(rows=rows, layout=layout)
        assert (found.booked_on, found.amount) == (date(2026, 3, 10), Money(123_450, "EUR"))


class TestFaults:
    def test_are_all_named_by_line_and_column(self) -> None:
        rows = [
            HEAD,
            row(),
            row("2026-02-30"),
            row(amount="20만원"),
            row(amount="209000.5"),
            row(""),
            row(memo="x" * 201),
        ]
        with pytest.raises(StatementUnsound) as refused:
            deposits(rows=rows, layout=USUAL)
        assert [(fault.line, fault.column) for fault in refused.value.faults] == [
            (3, "거래일시"),
            (4, "입금액"),
            (5, "입금액"),
            (6, "거래일시"),
            (7, "적요"),
        ]
        assert refused.value.faults[0].cell == "2026-02-30"

    def test_name_a_column_that_is_missing(self) -> None:
        with pytest.raises(StatementUnsound) as refused:
            deposits(rows=[["거래일시", "금액"], ["2026-03-10", "1"]], layout=USUAL)
        (fault,) = refused.value.faults
        assert fault.column.startswith("입금액")

    def test_name_the_day_where_a_layout_was_kept_that_reads_none(self) -> None:
        with pytest.raises(StatementUnsound) as refused:
            deposits(rows=[HEAD, row()], layout=Layout("odd", day_format="%m-%d-%d"))
        assert [fault.column for fault in refused.value.faults] == ["거래일시"]

    def test_are_told_up_to_a_bound(self) -> None:
        rows = [HEAD, *[row("?") for _ in range(FAULTS_MAX + 9)]]
        with pytest.raises(StatementUnsound) as refused:
            deposits(rows=rows, layout=USUAL)
        assert len(refused.value.faults) == FAULTS_MAX


class TestKnowingADepositAgain:
    def prints(self, *rows: list[str]) -> list[str]:
        return [found.fingerprint for found in deposits(rows=[HEAD, *rows], layout=USUAL)]

    def test_works_wherever_it_stands_and_however_it_is_written(self) -> None:
        (alone,) = self.prints(row())
        _, second = self.prints(row(amount="1"), row("2026.03.10", amount="₩209000"))
        assert alone == second

    def test_tells_two_that_look_the_same_apart(self) -> None:
        first, second = self.prints(row(), row())
        assert first != second
        assert self.prints(row(), row()) == [first, second]

    @pytest.mark.parametrize(
        "other", [{"memo": "m"}, {"payer": "p"}, {"balance": "7"}, {"amount": "1"}]
    )
    def test_minds_whatever_tells_it_from_others(self, other: dict[str, str]) -> None:
        assert self.prints(row()) != self.prints(row(**other))
