"""What PortOne decides about charges and cancellations: pure functions over the book's rows.

Source of the shapes and the errors: PortOne's V2 API reference, kept in small in
`tests/data/portone_shapes.json`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from app.sandbox.cards import Behaviour
from app.sandbox.journal import Row
from tests.fakes.portone.book import (
    MERCHANT_ID,
    Simulator,
    channel_of,
    event,
    new_id,
)

# The least amount that wallets and cards move, in minor units.
AMOUNT_MIN = {"KRW": 100, "USD": 50, "JPY": 50}
# How each company behind a channel says the same.
_WORDS = {
    "kakaopay": {"money": "-798", "holder": "-725", "expired": "-725", "fraud": "-999"},
    "naverpay": {
        "money": "NotEnoughAccountBalance",
        "holder": "OwnerAuthFail",
        "expired": "OwnerAuthFail",
        "fraud": "Fail",
    },
    "paypal": {
        "money": "INSTRUMENT_DECLINED",
        "holder": "10201",
        "expired": "10417",
        "fraud": "TRANSACTION_REFUSED",
    },
    "card": {
        "money": "REJECT_CARD_PAYMENT",
        "holder": "INVALID_CARD_LOST_OR_STOLEN",
        "expired": "INVALID_CARD_EXPIRATION",
        "fraud": "FDS_ERROR",
    },
}
_MESSAGES = {
    "money": "잔액 또는 한도가 부족합니다.",
    "holder": "등록된 결제수단을 사용할 수 없습니다.",
    "expired": "유효기간이 지난 결제수단입니다.",
    "fraud": "결제사가 확인을 요청한 거래입니다.",
}


@dataclass(frozen=True)
class Reply:
    """An HTTP status and the JSON under it."""

    status: int
    body: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """One decision: what the key hears from then on, what it hears now, and how that leaves."""

    replay: Reply
    first: Reply
    rows: list[tuple[str, Row]] = field(default_factory=list)
    leaves: str = "answer"  # answer | hang | drop


def refusal(status: int, kind: str, message: str = "", **more: str) -> Reply:
    """This function will write an error as PortOne does."""
    return Reply(status, {"type": kind, "message": message or kind, **more})


BROKEN = Reply(500, {"message": "Internal Server Error"})
OUTSTANDING = refusal(409, "IDEMPOTENCY_OUTSTANDING_REQUEST")


def charge(simulator: Simulator, payment_id: str, asked: dict[str, Any]) -> Outcome:
    """This function will decide a charge of a billing key."""
    key = simulator.book.get("billing_keys", asked["billingKey"])
    if (refused := _not_taken(simulator, payment_id, asked, key)) is not None:
        return _plain(refused)
    assert key is not None
    channel = str(channel_of(key["channel"]["key"]))
    row = _payment(simulator, payment_id, asked, key)
    fault = simulator.next_fault()
    behaviour = fault.get("behaviour") or key["behaviour"]
    why = _why_not(simulator, key, behaviour)
    code = fault.get("pgCode") or (why and _WORDS[channel][why]) or ""
    if code:
        return _declined(simulator, row, code, _MESSAGES.get(why or "", "거절되었습니다."))
    paid = _paid(simulator, row)
    told = {"paymentId": payment_id, "transactionId": paid["transactionId"]}
    return _delivered(
        behaviour,
        Reply(200, {"payment": {"pgTxId": paid["pgTxId"], "paidAt": paid["paidAt"]}}),
        [("payments", paid), event(simulator, "Transaction.Paid", told, row["_to"])],
    )


def _not_taken(
    simulator: Simulator, payment_id: str, asked: dict[str, Any], key: Row | None
) -> Reply | None:
    known = simulator.book.get("payments", payment_id)
    least = AMOUNT_MIN.get(asked["currency"], 50)
    if known is not None and known["status"] != "FAILED":
        return refusal(409, "ALREADY_PAID")
    if key is None:
        return refusal(404, "BILLING_KEY_NOT_FOUND")
    if key["status"] == "DELETED":
        return refusal(409, "BILLING_KEY_ALREADY_DELETED")
    if asked.get("channelKey") not in (None, key["channel"]["key"]):
        return refusal(404, "CHANNEL_NOT_FOUND")
    if asked["amount"]["total"] < least:
        return refusal(400, "INVALID_REQUEST", f"The least amount is {least}.")
    return None


def _plain(reply: Reply) -> Outcome:
    return Outcome(replay=reply, first=reply)


def _why_not(simulator: Simulator, key: Row, behaviour: str) -> str | None:
    match behaviour:
        case Behaviour.INSUFFICIENT:
            return "money"
        case Behaviour.STOLEN:
            return "holder"
        case Behaviour.EXPIRED:
            return "expired"
        case Behaviour.SUSPECTED:
            return "fraud"
    limit = {Behaviour.DECLINES_ONCE: 1, Behaviour.DECLINES_TWICE: 2}.get(Behaviour(behaviour), 0)
    before = sum(
        row["billingKey"] == key["id"] and row["status"] == "FAILED"
        for row in simulator.book.rows("payments")
    )
    return "money" if before < limit else None


def _declined(simulator: Simulator, row: Row, code: str, message: str) -> Outcome:
    failed = {
        **{name: value for name, value in row.items() if name not in ("disputes", "channel")},
        "channel": row["channel"],
        "status": "FAILED",
        "failedAt": simulator.stamp(),
        "failure": {"reason": message, "pgCode": code, "pgMessage": message},
    }
    told = {"paymentId": row["id"], "transactionId": row["transactionId"]}
    reply = refusal(502, "PG_PROVIDER", message, pgCode=code, pgMessage=message)
    rows = [("payments", failed), event(simulator, "Transaction.Failed", told, row["_to"])]
    return Outcome(replay=reply, first=reply, rows=rows)


def _delivered(behaviour: str, reply: Reply, rows: list[tuple[str, Row]]) -> Outcome:
    """How an answer to money that moved reaches, or does not reach, the merchant."""
    match behaviour:
        case Behaviour.PAYS_THEN_HANGS:
            return Outcome(replay=reply, first=reply, rows=rows, leaves="hang")
        case Behaviour.PAYS_THEN_DROPS:
            return Outcome(replay=reply, first=reply, rows=rows, leaves="drop")
        case Behaviour.PAYS_THEN_FAILS:
            return Outcome(replay=reply, first=BROKEN, rows=rows)
        case Behaviour.PAYS_AND_KEEPS_FAILING:
            return Outcome(replay=BROKEN, first=BROKEN, rows=rows)
        case Behaviour.BUSY_ONCE:
            return Outcome(replay=reply, first=OUTSTANDING, rows=rows)
    return Outcome(replay=reply, first=reply, rows=rows)


def _payment(simulator: Simulator, payment_id: str, asked: dict[str, Any], key: Row) -> Row:
    now, total = simulator.stamp(), asked["amount"]["total"]
    vat = asked["amount"].get("vat")
    vat = total // 11 if vat is None else vat
    return {
        "id": payment_id,
        "transactionId": new_id("tx"),
        "merchantId": MERCHANT_ID,
        "storeId": simulator.store_id,
        "channel": key["channel"],
        "version": "V2",
        "requestedAt": now,
        "updatedAt": now,
        "statusChangedAt": now,
        "orderName": asked["orderName"],
        "amount": {
            "total": total,
            "taxFree": asked["amount"].get("taxFree", 0),
            "vat": vat,
            "supply": total - vat,
            "discount": 0,
            "paid": total,
            "cancelled": 0,
            "cancelledTaxFree": 0,
        },
        "currency": asked["currency"],
        "customer": asked.get("customer", {}),
        "origin": {"platformType": "API", "ipAddress": "127.0.0.1"},
        "billingKey": key["id"],
        "customData": asked.get("customData", ""),
        "method": _as_paid_by(key["method"]),
        "_to": asked.get("noticeUrls") or [],
    }


def _as_paid_by(method: Row) -> Row:
    """A payment's method says the same as its billing key's, under other names."""
    paid = {**method, "type": method["type"].replace("BillingKeyPaymentMethod", "PaymentMethod")}
    if paid["type"] == "PaymentMethodPaypal":
        return {"type": "PaymentMethodEasyPay", "provider": "PAYPAL"}
    if inner := paid.pop("method", None):
        paid["easyPayMethod"] = {**inner, "type": "PaymentMethodCard"}
    return paid


def _paid(simulator: Simulator, row: Row) -> Row:
    return {
        **row,
        "status": "PAID",
        "paidAt": simulator.stamp(),
        "disputes": [],
        "pgTxId": new_id("pg"),
        "receiptUrl": f"https://receipts.portone.example/{row['id']}",
        "cancellations": [],
    }


def cancel(simulator: Simulator, payment_id: str, asked: dict[str, Any]) -> Outcome:
    """This function will decide a cancellation of a payment, whole or in part."""
    row = simulator.book.get("payments", payment_id)
    if row is None:
        return _plain(refusal(404, "PAYMENT_NOT_FOUND"))
    if row["status"] == "CANCELLED":
        return _plain(refusal(409, "PAYMENT_ALREADY_CANCELLED"))
    if row["status"] not in ("PAID", "PARTIAL_CANCELLED"):
        return _plain(refusal(409, "PAYMENT_NOT_PAID"))
    remaining = row["amount"]["total"] - row["amount"]["cancelled"]
    expected = asked.get("currentCancellableAmount")
    if expected is not None and expected != remaining:
        return _plain(refusal(409, "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN"))
    given = remaining if asked.get("amount") is None else asked["amount"]
    if given > remaining:
        return _plain(refusal(409, "CANCEL_AMOUNT_EXCEEDS_CANCELLABLE_AMOUNT"))
    return _cancelled(simulator, row, given, asked)


def _cancelled(simulator: Simulator, row: Row, given: int, asked: dict[str, Any]) -> Outcome:
    now = simulator.stamp()
    cancellation = {
        "status": "SUCCEEDED",
        "id": new_id("cancellation"),
        "pgCancellationId": new_id("pg"),
        "totalAmount": given,
        "taxFreeAmount": asked.get("taxFreeAmount", 0),
        "vatAmount": asked.get("vatAmount", given // 11),
        "reason": asked["reason"],
        "requestedAt": now,
        "cancelledAt": now,
    }
    cancelled = row["amount"]["cancelled"] + given
    whole = cancelled == row["amount"]["total"]
    changed = {
        # Of a cancelled payment PortOne tells no disputes.
        **{name: value for name, value in row.items() if name != "disputes"},
        "status": "CANCELLED" if whole else "PARTIAL_CANCELLED",
        "updatedAt": now,
        "statusChangedAt": now,
        "cancelledAt": now,
        "amount": {**row["amount"], "cancelled": cancelled},
        "cancellations": [*row["cancellations"], cancellation],
    }
    told = {
        "paymentId": row["id"],
        "transactionId": row["transactionId"],
        "cancellationId": cancellation["id"],
    }
    kind = "Transaction.Cancelled" if whole else "Transaction.PartialCancelled"
    reply = Reply(200, {"cancellation": cancellation})
    rows = [("payments", changed), event(simulator, kind, told, row["_to"])]
    return Outcome(replay=reply, first=reply, rows=rows)
