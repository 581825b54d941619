"""The gateway's own books: what it took for merchants, what it kept of it, and what it paid out.

Days are the application's, so that a clock that plays months has months of settlements.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from datetime import date, timedelta
from typing import Any

from app.base import clock
from app.base.config import settings
from app.sandbox.journal import Book, Row

# What is kept of a payment, in tenths of a per cent, and the tax on that.
_FEE_PERMILLE = 29
_FEE_TAX_PERCENT = 10


def booked(kind: str, payment: Row, amount: int) -> tuple[str, Row]:
    """This function will return the row of money that moved; payments bear a fee, all else none."""
    fee = amount * _FEE_PERMILLE // 1000 if kind == "payment" else 0
    return _row(
        kind,
        amount=amount,
        currency=payment["currency"],
        day=_today(),
        fee=fee,
        fee_tax=fee * _FEE_TAX_PERCENT // 100,
        payment_id=payment["id"],
        order_id=payment["order_id"],
    )


def _row(
    kind: str, *, amount: int, currency: str, day: date, fee: int = 0, fee_tax: int = 0, **of: str
) -> tuple[str, Row]:
    return "movements", {
        "id": f"mov_{secrets.token_hex(12)}",
        "kind": kind,
        "amount": amount,
        "fee": fee,
        "fee_tax": fee_tax,
        "net": amount - fee - fee_tax,
        "currency": currency,
        "booked_on": day.isoformat(),
        "payment_id": of.get("payment_id"),
        "order_id": of.get("order_id"),
    }


def listed(*, book: Book, start: date, end: date) -> list[dict[str, Any]]:
    """This function will list what was booked on the days [start, end], payouts included."""
    with book.lock:
        _pay_out(book)
        days = (start.isoformat(), end.isoformat())
        return [row for row in book.rows("movements") if days[0] <= row["booked_on"] <= days[1]]


def _pay_out(book: Book) -> None:
    """What is left of a day goes to the merchant's bank on the day after, and that is told."""
    taken: dict[str, dict[date, int]] = defaultdict(lambda: defaultdict(int))
    paid: dict[str, int] = defaultdict(int)
    for row in book.rows("movements"):
        if row["kind"] == "payout":
            paid[row["currency"]] -= row["net"]
        else:
            taken[row["currency"]][date.fromisoformat(row["booked_on"])] += row["net"]
    for currency, by_day in taken.items():
        balance = -paid[currency]
        for day in sorted(by_day):
            balance += by_day[day]
            if balance <= 0 or day >= _today():
                continue
            paid_out = _row(
                "payout", amount=-balance, currency=currency, day=day + timedelta(days=1)
            )
            book.write([paid_out, ("events", _told(paid_out[1]))])
            balance = 0


def _told(payout: Row) -> Row:
    return {
        "id": f"evt_{secrets.token_hex(12)}",
        "type": "payout.changed",
        "created_at": clock.real_now().isoformat(),
        "data": {"payout_id": payout["id"]},
        "attempts": 0,
        "settled": None,
    }


def _today() -> date:
    return clock.today(clock.now(), settings().contract_timezone)
