"""Bank statements: their layouts, and the deposits that one of them names. Pure.

A layout says which headings stand over which column, so that any bank's export can be read. What
can't be read is named by line and column, and nothing of such a file is taken.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal, InvalidOperation

from app.base.errors import Invalid
from app.base.money import Money, exponent

HEADINGS_WITHIN = 30
FAULTS_MAX = 50
TEXT_LENGTH_MAX = 200
FIELDS = ("day", "amount", "payer", "memo", "balance")
NEEDED = ("day", "amount")
# The names that Korean and English exports give their columns.
USUAL_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "day": ("거래일시", "거래일자", "거래일", "입금일", "일자", "날짜", "date", "booking date"),
    "amount": (
        "입금액",
        "입금금액",
        "맡기신금액",
        "입금",
        "amount",
        "credit",
        "paid in",
        "deposit",
    ),
    "payer": (
        "보낸분",
        "의뢰인",
        "입금자",
        "보낸분/받는분",
        "거래처",
        "payer",
        "name",
        "counterparty",
    ),
    "memo": (
        "적요",
        "메모",
        "통장메모",
        "받는통장표시",
        "내용",
        "memo",
        "reference",
        "description",
    ),
    "balance": ("잔액", "거래후잔액", "balance"),
}
_DAY_FORMATS = ("%Y-%m-%d", "%Y.%m.%d", "%Y/%m/%d", "%Y%m%d", "%Y년%m월%d일")
_TOTALS = ("합계", "총계", "소계", "총합계", "total", "totals", "sum")
_FIGURES = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,6})?")
# Days as a spreadsheet counts them, for dates that lie between 1990 and 2099.
_SERIAL = re.compile(r"(3[2-9]|[4-6][0-9]|7[0-2])[0-9]{3}(\.[0-9]+)?")
_SPREADSHEETS_BEGIN = date(1899, 12, 30)


@dataclass(frozen=True, slots=True)
class Layout:
    """How a bank writes: headings by field; `day_format` empty reads the usual ones."""

    name: str
    headings: Mapping[str, Sequence[str]] = field(default_factory=lambda: USUAL_HEADINGS)
    day_format: str = ""
    currency: str = "KRW"


USUAL = Layout("usual")


@dataclass(frozen=True, slots=True)
class Fault:
    """What can't be read, where: `line` counts from 1, `column` is the heading, `cell` its text."""

    line: int
    column: str
    what: str
    cell: str = ""


@dataclass(frozen=True, slots=True)
class Deposit:
    """Money that came in. `fingerprint` is the same wherever the same deposit is named."""

    line_number: int
    booked_on: date
    amount: Money
    payer: str
    memo: str
    fingerprint: str


class StatementUnsound(Invalid):
    """The statement can't be read; `faults` says where."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(
            "The statement can't be read. Nothing was imported.",
            field="file",
        )
        self.faults = list(faults)


def deposits(*, rows: Sequence[Sequence[str]], layout: Layout) -> list[Deposit]:
    """This function will return the deposits of a statement, in its order.

    Rows of sums, empty rows and money that went out are passed over.

    Raises: StatementUnsound with up to FAULTS_MAX faults.
    """
    top, places, names = _headings(rows, layout)
    found: list[Deposit] = []
    faults: list[Fault] = []
    seen: Counter[tuple[str, ...]] = Counter()
    for index in range(top + 1, len(rows)):
        row = rows[index]
        if not any(row) or _is_sum(row):
            continue
        cells = {name: row[place] if place < len(row) else "" for name, place in places.items()}
        try:
            deposit = _deposit(index + 1, cells, layout, seen)
        except _Unread as error:
            column = error.column
            faults.append(Fault(index + 1, names[column], error.what, cells[column][:40]))
            if len(faults) >= FAULTS_MAX:
                break
            continue
        if deposit is not None:
            found.append(deposit)
    if faults:
        raise StatementUnsound(faults)
    return found


class _Unread(Exception):
    """One cell can't be read."""

    def __init__(self, column: str, what: str) -> None:
        super().__init__(what)
        self.column, self.what = column, what


def _headings(
    rows: Sequence[Sequence[str]], layout: Layout
) -> tuple[int, dict[str, int], dict[str, str]]:
    """The row of headings, the place of each field's column, and what stands over it."""
    best: dict[str, int] = {}
    for index, row in enumerate(rows[:HEADINGS_WITHIN]):
        plain = [_plain(cell) for cell in row]
        places: dict[str, int] = {}
        for name in FIELDS:
            wanted = [_plain(heading) for heading in layout.headings.get(name, ())]
            # The layout's order says which heading is meant where a bank has several.
            place = next((plain.index(each) for each in wanted if each in plain), None)
            if place is not None and place not in places.values():
                places[name] = place
        if all(name in places for name in NEEDED):
            return index, places, {name: row[place] for name, place in places.items()}
        best = max(best, places, key=len)
    missing = [name for name in NEEDED if name not in best]
    raise StatementUnsound(
        [
            Fault(1, " / ".join(layout.headings.get(name, ())[:3]), "There is no such column.")
            for name in missing
        ]
    )


def _plain(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def _is_sum(row: Sequence[str]) -> bool:
    first = next(cell for cell in row if cell)
    return _plain(first).strip("[]()") in _TOTALS


def _deposit(
    line: int, cells: Mapping[str, str], layout: Layout, seen: Counter[tuple[str, ...]]
) -> Deposit | None:
    amount = _amount(cells["amount"], layout.currency)
    if amount is None:
        return None
    booked_on = _day(cells["day"], layout.day_format)
    payer, memo = (_text(cells.get(name, ""), name) for name in ("payer", "memo"))
    what = (
        booked_on.isoformat(),
        str(amount.amount_minor),
        amount.currency,
        payer,
        memo,
        re.sub(r"[^0-9.]", "", cells.get("balance", "")),
    )
    # Two deposits that look the same are two; the same two on another statement are those two.
    seen[what] += 1
    told = "\x1f".join((*what, str(seen[what])))
    return Deposit(
        line_number=line,
        booked_on=booked_on,
        amount=amount,
        payer=payer,
        memo=memo,
        fingerprint=hashlib.sha256(told.encode()).hexdigest(),
    )


def _amount(text: str, currency: str) -> Money | None:
    """None for what is no deposit: an empty cell, zero, or money that went out."""
    plain = re.sub(r"[,\s₩$원]", "", unicodedata.normalize("NFKC", text))
    if plain in ("", "-"):
        return None
    if not _FIGURES.fullmatch(plain):
        raise _Unread("amount", "This is no amount.")
    try:
        minor = Decimal(plain).scaleb(exponent(currency))
    except InvalidOperation as error:
        raise _Unread("amount", "This is no amount.") from error
    if minor != minor.to_integral_value():
        raise _Unread("amount", "This is finer than the currency can be.")
    return Money(int(minor), currency) if minor > 0 else None


def _day(text: str, day_format: str) -> date:
    plain = unicodedata.normalize("NFKC", text).strip()
    if not plain:
        raise _Unread("day", "The day is missing.")
    if day_format:
        try:
            return datetime.strptime(plain, day_format).date()  # noqa: DTZ007 - a day has no zone
        except (ValueError, re.error) as error:
            # The latter where the form itself is wrong: layouts were once kept unread.
            raise _Unread("day", "The day is not written as the layout says.") from error
    if _SERIAL.fullmatch(plain):
        return _SPREADSHEETS_BEGIN + timedelta(days=int(float(plain)))
    first = plain.replace("T", " ").split(" ", maxsplit=1)[0].rstrip(".")
    for each in _DAY_FORMATS:
        try:
            return datetime.strptime(first, each).date()  # noqa: DTZ007 - a day has no zone
        except ValueError:
            continue
    raise _Unread("day", "This is no day.")


def _text(text: str, name: str) -> str:
    plain = " ".join(text.split())
    if len(plain) > TEXT_LENGTH_MAX:
        raise _Unread(name, "The text is too long.")
    return "".join(letter for letter in plain if letter.isprintable())
