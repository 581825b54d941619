"""Virtual accounts: opened for one transfer, which comes when somebody at this gateway says so."""

from __future__ import annotations

import secrets
from datetime import datetime
from typing import Any

from app.sandbox import movements, payments
from app.sandbox.journal import Book, Row
from app.sandbox.payments import Outcome, Refused, Reply

HOLDER = "Sandbox"


def open_one(*, book: Book, request: dict[str, Any], now: datetime) -> Outcome:
    """This function will open an account for an order.

    Raises: Refused.
    """
    if any(row["order_id"] == request["order_id"] for row in book.rows("accounts")):
        raise Refused(422, "order_taken", "The order has an account already.")
    row: Row = {
        "id": payments.new_id("pay"),
        **request,
        "number": f"900-{secrets.randbelow(10**6):06d}-{secrets.randbelow(10**2):02d}",
        "holder": HOLDER,
        "secret": secrets.token_urlsafe(24),
        "opened_at": now.isoformat(),
    }
    reply = Reply(201, row)
    rows = [("accounts", row), ("payments", _payment(row, came_at=None))]
    return Outcome(replay=reply, first=reply, rows=rows)


def act(*, book: Book, order_id: str, act: str, now: datetime) -> Reply:
    """This function will deposit the whole amount, or take the deposit back; either is told.

    Raises: Refused.
    """
    with book.lock:
        account = next((row for row in book.rows("accounts") if row["order_id"] == order_id), None)
        if account is None:
            raise Refused(404, "account_not_found", "There is no such account.")
        came = act == "deposit"
        payment = _payment(account, came_at=now if came else None)
        kind = "account.deposited" if came else "account.taken_back"
        told = payments.event(kind, payment, now, secret=account["secret"])
        amount = account["amount"] if came else -account["amount"]
        moved = movements.booked("payment" if came else "refund", payment, amount)
        book.write([("payments", payment), moved, told])
    return Reply(200, payments.shown(payment))


def _payment(account: Row, *, came_at: datetime | None) -> Row:
    return {
        "id": account["id"],
        "status": "succeeded" if came_at else "waiting",
        "order_id": account["order_id"],
        "customer_key": "",
        "token": "",
        "name": account["name"],
        "amount": account["amount"],
        "currency": account["currency"],
        "tax_amount": 0,
        "refunded_amount": 0,
        "metadata": {},
        "method": {"brand": HOLDER, "masked": account["number"]},
        "requested_at": account["opened_at"],
        "approved_at": came_at.isoformat() if came_at else None,
        "failure": None,
    }
