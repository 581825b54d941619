"""What the gateway decides: methods, charges, refunds. Pure functions over the book's rows.

Each returns an Outcome: the rows to store, what the caller hears now, and what the same
idempotency key hears from then on.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.sandbox import movements
from app.sandbox.cards import Behaviour
from app.sandbox.journal import Book, Row

# The least a card company moves, in the currency's minor unit.
_AMOUNT_MIN = {"KRW": 100, "JPY": 50}
_AMOUNT_MIN_ELSEWHERE = 50


class Delivery(StrEnum):
    """How the first answer leaves the gateway."""

    ANSWER = "answer"
    HANG = "hang"
    DROP = "drop"


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP status and the JSON body under it."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One decision. `replay` is what the key hears later; `first` what it hears now."""

    replay: Reply
    first: Reply
    rows: list[tuple[str, Row]] = field(default_factory=list)
    delivery: Delivery = Delivery.ANSWER


class Refused(Exception):
    """A request that the gateway does not take; nothing is stored and the key stays free."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.reply = Reply(status, error_body(code, message))


def error_body(code: str, message: str) -> dict[str, Any]:
    """This function will return the body of every error."""
    return {"error": {"code": code, "message": message}}


def new_id(prefix: str) -> str:
    """This function will return an id that nobody can guess."""
    return f"{prefix}_{secrets.token_hex(12)}"


def charge(*, book: Book, request: dict[str, Any], now: datetime) -> Outcome:
    """This function will decide a charge by its card's behaviour.

    Raises: Refused.
    """
    method = book.get("methods", request["token"])
    if method is None or method["customer_key"] != request["customer_key"]:
        raise Refused(404, "method_not_found", "There is no such payment method.")
    if method["revoked_at"]:
        raise Refused(404, "method_revoked", "The payment method was revoked.")
    least = _AMOUNT_MIN.get(request["currency"], _AMOUNT_MIN_ELSEWHERE)
    if request["amount"] < least:
        raise Refused(400, "amount_below_minimum", f"The least amount is {least}.")
    behaviour = Behaviour(method["behaviour"])
    payment: Row = {
        "id": new_id("pay"),
        "status": "succeeded",
        "order_id": request["order_id"],
        "customer_key": request["customer_key"],
        "token": request["token"],
        "name": request["name"],
        "amount": request["amount"],
        "currency": request["currency"],
        "tax_amount": request["tax_amount"],
        "refunded_amount": 0,
        "metadata": request["metadata"],
        "method": {"brand": method["brand"], "masked": method["masked"]},
        "requested_at": now.isoformat(),
        "approved_at": now.isoformat(),
        "failure": None,
    }
    failure = _failure(book=book, method=method, behaviour=behaviour)
    if failure:
        code, message = failure
        payment |= {
            "status": "declined",
            "approved_at": None,
            "failure": error_body(code, message)["error"],
        }
        reply = Reply(402, error_body(code, message) | {"payment": shown(payment)})
        rows = [("payments", payment), event("payment.declined", payment, now)]
        return Outcome(replay=reply, first=reply, rows=rows)
    rows = [
        ("payments", payment),
        movements.booked("payment", payment, payment["amount"]),
        event("payment.succeeded", payment, now),
    ]
    return _delivered(behaviour, reply=Reply(200, shown(payment)), rows=rows)


def _failure(*, book: Book, method: Row, behaviour: Behaviour) -> tuple[str, str] | None:
    match behaviour:
        case Behaviour.STOLEN:
            return "card_lost_or_stolen", "The card was reported lost or stolen."
        case Behaviour.EXPIRED:
            return "card_expired", "The card has expired."
        case Behaviour.SUSPECTED:
            return "suspected_fraud", "The card company wants a person to look at this."
    limit = {Behaviour.DECLINES_ONCE: 1, Behaviour.DECLINES_TWICE: 2}.get(behaviour)
    if behaviour is not Behaviour.INSUFFICIENT and limit is None:
        return None
    before = sum(
        payment["token"] == method["id"] and payment["status"] == "declined"
        for payment in book.rows("payments")
    )
    if limit is not None and before >= limit:
        return None
    return "insufficient_funds", "The account behind the card does not hold enough."


def _delivered(behaviour: Behaviour, *, reply: Reply, rows: list[tuple[str, Row]]) -> Outcome:
    broken = Reply(500, error_body("internal_error", "Something failed inside the gateway."))
    busy = Reply(409, error_body("in_progress", "A request with this key is in progress."))
    match behaviour:
        case Behaviour.PAYS_THEN_HANGS:
            return Outcome(replay=reply, first=reply, rows=rows, delivery=Delivery.HANG)
        case Behaviour.PAYS_THEN_DROPS:
            return Outcome(replay=reply, first=reply, rows=rows, delivery=Delivery.DROP)
        case Behaviour.PAYS_THEN_FAILS:
            return Outcome(replay=reply, first=broken, rows=rows)
        case Behaviour.PAYS_AND_KEEPS_FAILING:
            return Outcome(replay=broken, first=broken, rows=rows)
        case Behaviour.BUSY_ONCE:
            return Outcome(replay=reply, first=busy, rows=rows)
    return Outcome(replay=reply, first=reply, rows=rows)


def refund(
    *, book: Book, payment_id: str, amount: int | None, reason: str, now: datetime
) -> Outcome:
    """This function will give back `amount`, or all that remains.

    Raises: Refused.
    """
    payment = book.get("payments", payment_id)
    if payment is None or payment["status"] != "succeeded":
        raise Refused(404, "payment_not_found", "There is no such payment.")
    remaining = payment["amount"] - payment["refunded_amount"]
    if remaining == 0:
        raise Refused(422, "nothing_left_to_refund", "All of it was refunded before.")
    if amount is not None and amount > remaining:
        raise Refused(422, "refund_exceeds_payment", f"Only {remaining} is left to refund.")
    given = remaining if amount is None else amount
    row: Row = {
        "id": new_id("ref"),
        "payment_id": payment_id,
        "amount": given,
        "currency": payment["currency"],
        "reason": reason,
        "remaining_amount": remaining - given,
        "refunded_at": now.isoformat(),
    }
    changed = {**payment, "refunded_amount": payment["refunded_amount"] + given}
    reply = Reply(200, row)
    return Outcome(
        replay=reply,
        first=reply,
        rows=[
            ("refunds", row),
            ("payments", changed),
            movements.booked("refund", changed, -given),
            event("payment.refunded", changed, now, refund_id=row["id"]),
        ],
    )


def dispute(*, book: Book, payment_id: str, now: datetime) -> Reply:
    """This function will let the payer dispute what is left of a payment: it is taken at once.

    Raises: Refused.
    """
    with book.lock:
        payment = book.get("payments", payment_id)
        if payment is None or payment["status"] != "succeeded":
            raise Refused(404, "payment_not_found", "There is no such payment.")
        left = payment["amount"] - payment["refunded_amount"]
        taken = movements.booked("dispute", payment, -left)
        book.write([taken, event("payment.disputed", payment, now)])
    return Reply(202, {"payment_id": payment_id, "amount": left})


def event(kind: str, payment: Row, now: datetime, **more: str) -> tuple[str, Row]:
    """This function will return the row of an event that is to be told to the merchant."""
    row_id = new_id("evt")
    data = {"payment_id": payment["id"], "order_id": payment["order_id"], **more}
    return "events", event_row(row_id, kind, data, now)


def event_row(row_id: str, kind: str, data: dict[str, Any], now: datetime) -> Row:
    """This function will return an event with no delivery made yet."""
    return {
        "id": row_id,
        "type": kind,
        "created_at": now.isoformat(),
        "data": data,
        "attempts": 0,
        "settled": None,
    }


def shown(payment: Row) -> dict[str, Any]:
    """This function will return the payment as the merchant sees it: with no token, with a slip."""
    visible = {name: value for name, value in payment.items() if name != "token"}
    if payment["status"] == "succeeded":
        visible["receipt_path"] = f"/receipts/{payment['id']}"
    return visible
