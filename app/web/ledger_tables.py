"""The journal and the trial balance of a month as tables, for pages, files and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from typing import Any, BinaryIO

from sqlalchemy.orm import Session

from app.base.money import Money
from app.web.exports import Column, csv_file, xlsx_file
from invoices import ledger_statements
from invoices.ledger_statements import ACCOUNT_NAMES, ENTRY_NAMES

KINDS = ("journal", "trial-balance")
_JOURNAL = {
    "ko": (
        "일자",
        "전표번호",
        "구분",
        "적요",
        "거래처",
        "계정과목",
        "보관처",
        "통화",
        "차변",
        "대변",
    ),
    "en": (
        *("Day", "Entry", "Kind", "Reference", "Company"),
        *("Account", "Place", "Currency", "Debit", "Credit"),
    ),
}
_TRIAL = {
    "ko": ("통화", "계정과목", "보관처", "전월이월", "차변", "대변", "잔액"),
    "en": ("Currency", "Account", "Place", "Opening", "Debit", "Credit", "Balance"),
}
_WIDTHS = {
    "journal": (12, 38, 14, 24, 28, 20, 14, 9, 16, 16),
    "trial-balance": (9, 22, 14) + (16,) * 4,
}


def account_name(account: str, language: str) -> str:
    """This function will name an account in a language."""
    return ACCOUNT_NAMES[account][0 if language == "ko" else 1]


def table(
    *, control_session: Session, kind: str, first: date, end: date, language: str
) -> tuple[list[Column], Iterator[Sequence[Any]]]:
    """This function will return a statement's columns and rows: one of KINDS."""
    headings = (_JOURNAL if kind == "journal" else _TRIAL)[language]
    columns = [
        Column(heading, width) for heading, width in zip(headings, _WIDTHS[kind], strict=True)
    ]
    rows = _journal if kind == "journal" else _trial
    return columns, rows(control_session, first, end, language)


def _journal(
    control_session: Session, first: date, end: date, language: str
) -> Iterator[Sequence[Any]]:
    for row in ledger_statements.journal(control_session=control_session, first=first, end=end):
        yield (
            row.booked_on,
            str(row.entry_id),
            ENTRY_NAMES[row.kind][0 if language == "ko" else 1],
            row.reference,
            row.company,
            account_name(row.account, language),
            row.place,
            row.debit.currency,
            row.debit,
            row.credit,
        )


def _trial(
    control_session: Session, first: date, end: date, language: str
) -> Iterator[Sequence[Any]]:
    for row in ledger_statements.trial_balance(
        control_session=control_session, first=first, end=end
    ):
        sums = (row.opening_minor, row.debit_minor, row.credit_minor, row.closing_minor)
        name = account_name(row.account, language)
        yield (row.currency, name, row.place, *(Money(each, row.currency) for each in sums))


def file(
    *, control_session: Session, kind: str, month: str, ending: str, language: str
) -> BinaryIO:
    """This function will write a month's statement as `csv` or `xlsx`.

    Raises: ledger_statements.NoSuchMonth.
    """
    first, end = ledger_statements.month(month)
    columns, rows = table(
        control_session=control_session, kind=kind, first=first, end=end, language=language
    )
    if ending == "csv":
        return csv_file(columns=columns, rows=rows)
    return xlsx_file(title=f"{kind} {month}", columns=columns, rows=rows)
