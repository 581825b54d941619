"""What Toss decides about billing keys, charges, cancels, accounts and receipts."""

from __future__ import annotations

import re
import secrets
from datetime import datetime, timedelta
from typing import Any

from tests.fakes.toss.box import Box, Reply, Rows, event, new_key, now
from tests.fakes.toss.cards import BY_BEHAVIOUR, Card, Refusal

ORDER_ID = re.compile(r"[A-Za-z0-9\-_.]{6,64}")
CUSTOMER_KEY = re.compile(r"[A-Za-z0-9\-_=.,@]{2,300}")
Body = dict[str, Any]
_DELIVERIES = {
    "pays_then_hangs": "hang",
    "pays_then_drops": "drop",
    "pays_then_fails": "fail",
    "pays_and_keeps_failing": "keep_failing",
    "busy_once": "busy",
}


def text(body: Body, name: str, length_max: int, pattern: re.Pattern[str] | None = None) -> str:
    """This function will return a text of the request, or refuse it."""
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= length_max:
        raise Refusal("INVALID_REQUEST")
    if pattern is not None and not pattern.fullmatch(value):
        raise Refusal("INVALID_REQUEST")
    return value


def number(body: Body, name: str, *, default: int | None = None) -> int:
    """This function will return an amount of the request, or refuse it."""
    value = body.get(name, default)
    if type(value) is not int or value < 0:
        raise Refusal("INVALID_REQUEST")
    return value


def issue(box: Box, merchant: str, body: Body) -> tuple[Reply, Rows]:
    """This function will exchange a one-time key for a billing key."""
    auth_key, customer_key = text(body, "authKey", 300), text(body, "customerKey", 300)
    auth = box.book.get("authorizations", auth_key)
    if auth is None or auth["merchant"] != merchant or auth["used"]:
        raise Refusal("INVALID_REQUEST")
    if auth["customerKey"] != customer_key:
        raise Refusal("NOT_MATCHES_CUSTOMER_KEY")
    card = BY_BEHAVIOUR[auth["behaviour"]]
    billing = {
        "id": new_key("bill_"),
        "merchant": merchant,
        "customerKey": customer_key,
        "behaviour": card.behaviour,
        "removed": False,
    }
    answer = {
        "mId": "tosspayments",
        "customerKey": customer_key,
        "authenticatedAt": now().isoformat(),
        "method": "카드",
        "billingKey": billing["id"],
        "card": {
            "issuerCode": "61",
            "acquirerCode": "31",
            "number": card.masked,
            "cardType": "신용",
            "ownerType": "법인",
        },
    }
    return Reply(200, answer), [("billings", billing), ("authorizations", {**auth, "used": True})]


def revoke(box: Box, merchant: str, billing_key: str) -> tuple[Reply, Rows]:
    """This function will remove a billing key."""
    billing = _billing(box, merchant, billing_key)
    told = event(merchant, "BILLING_DELETED", {"billingKey": billing_key})
    return Reply(200, None), [("billings", {**billing, "removed": True}), told]


def _billing(box: Box, merchant: str, billing_key: str) -> Body:
    billing = box.book.get("billings", billing_key)
    if billing is None or billing["merchant"] != merchant:
        raise Refusal("NOT_FOUND_BILLING")
    if billing["removed"]:
        raise Refusal("ALREADY_REMOVED_BILLING_KEY")
    return billing


def charge(box: Box, merchant: str, billing_key: str, body: Body) -> tuple[Reply, Rows]:
    """This function will charge a billing key, as its card and the control door want it."""
    billing = _billing(box, merchant, billing_key)
    if text(body, "customerKey", 300, CUSTOMER_KEY) != billing["customerKey"]:
        raise Refusal("NOT_MATCHES_CUSTOMER_KEY")
    payment = _payment(box, merchant, body, kind="BILLING")
    if payment["totalAmount"] < 100:
        raise Refusal("BELOW_MINIMUM_AMOUNT")
    told, card = box.next_told(), BY_BEHAVIOUR[billing["behaviour"]]
    payment |= {"method": "카드", "card": _card(card, payment["totalAmount"])}
    payment |= {"billing": billing_key}
    code = told.get("code") or _decline(box, billing_key, card)
    if code:
        refusal = Refusal(code)
        payment |= {"status": "ABORTED", "balanceAmount": 0, "failure": refusal.body}
        return Reply(refusal.status, refusal.body), [("payments", payment)]
    transaction = _transaction(payment, "DONE", payment["totalAmount"])
    payment |= {
        "status": "DONE",
        "approvedAt": now().isoformat(),
        "lastTransactionKey": transaction["id"],
    }
    delivery = told.get("fault") or _DELIVERIES.get(card.behaviour, "answer")
    # A successful billing charge is not announced by any webhook.
    return Reply(200, shown(payment), delivery), [
        ("payments", payment),
        ("transactions", transaction),
    ]


def _decline(box: Box, billing_key: str, card: Card) -> str | None:
    before = sum(
        row.get("billing") == billing_key and row["status"] == "ABORTED"
        for row in box.book.rows("payments")
    )
    if card.declines is not None and before >= card.declines:
        return None
    return card.code


def _payment(box: Box, merchant: str, body: Body, *, kind: str) -> Body:
    order_id = text(body, "orderId", 64, ORDER_ID)
    if any(row["orderId"] == order_id for row in box.of("payments", merchant)):
        raise Refusal("DUPLICATED_ORDER_ID")
    amount = number(body, "amount")
    untaxed = number(body, "taxFreeAmount", default=0)
    if amount < 1 or untaxed > amount:
        raise Refusal("INVALID_REQUEST")
    vat = (amount - untaxed) - round((amount - untaxed) / 1.1)
    return {
        "id": new_key("tpay_"),
        "merchant": merchant,
        "type": kind,
        "orderId": order_id,
        "orderName": text(body, "orderName", 100),
        "currency": "KRW",
        "totalAmount": amount,
        "balanceAmount": amount,
        "suppliedAmount": amount - untaxed - vat,
        "vat": vat,
        "taxFreeAmount": untaxed,
        "requestedAt": now().isoformat(),
        "approvedAt": None,
        "lastTransactionKey": None,
        "cancels": None,
        "card": None,
        "virtualAccount": None,
        "secret": None,
        "failure": None,
    }


def _card(card: Card, amount: int) -> Body:
    return {
        "amount": amount,
        "issuerCode": "61",
        "acquirerCode": "31",
        "number": card.masked,
        "installmentPlanMonths": 0,
        "approveNo": "00000000",
        "useCardPoint": False,
        "cardType": "신용",
        "ownerType": "법인",
        "acquireStatus": "READY",
        "isInterestFree": False,
        "interestPayer": None,
    }


def _transaction(payment: Body, status: str, amount: int) -> Body:
    return {
        "id": new_key("tx_"),
        "merchant": payment["merchant"],
        "payment": payment["id"],
        "status": status,
        "at": now().isoformat(),
        "amount": amount,
        "settled": False,
    }


def shown(payment: Body) -> Body:
    """This function will return a payment as Toss shows it."""
    hidden = ("id", "merchant", "billing")
    visible = {name: value for name, value in payment.items() if name not in hidden}
    receipt = f"https://dashboard.tosspayments.com/receipt/{payment['id']}"
    return {
        "version": "2022-11-16",
        "paymentKey": payment["id"],
        "mId": "tosspayments",
        "useEscrow": False,
        "cultureExpense": False,
        "taxExemptionAmount": 0,
        "isPartialCancelable": True,
        "country": "KR",
        "mobilePhone": None,
        "giftCertificate": None,
        "transfer": None,
        "easyPay": None,
        "cashReceipt": None,
        "cashReceipts": None,
        "discount": None,
        "receipt": {"url": receipt},
        "checkout": {"url": f"https://api.tosspayments.com/v1/payments/{payment['id']}/checkout"},
        **visible,
    }


def cancel(box: Box, merchant: str, payment_key: str, body: Body) -> tuple[Reply, Rows]:
    """This function will give back `cancelAmount`, or all that remains."""
    payment = find(box, merchant, payment_key)
    reason = text(body, "cancelReason", 200)
    balance = payment["balanceAmount"]
    if payment["status"] == "CANCELED":
        raise Refusal("ALREADY_CANCELED_PAYMENT")
    if payment["status"] == "ABORTED":
        raise Refusal("NOT_CANCELABLE_PAYMENT")
    came = payment["status"] != "WAITING_FOR_DEPOSIT"
    if payment["virtualAccount"] and came and "refundReceiveAccount" not in body:
        raise Refusal("INVALID_REQUEST")
    given = number(body, "cancelAmount", default=balance)
    if not 0 < given <= balance:
        raise Refusal("NOT_CANCELABLE_AMOUNT")
    untaxed = number(body, "taxFreeAmount", default=0)
    if untaxed > given:
        raise Refusal("NOT_MATCHES_REFUNDABLE_AMOUNT")
    rows = take_back(payment, given, reason, untaxed=untaxed)
    return Reply(200, shown(rows[0][1])), rows


def take_back(payment: Body, given: int, reason: str, *, untaxed: int = 0) -> Rows:
    """This function will cancel so much of a payment, whoever wanted it."""
    transaction = _transaction(payment, "CANCELED", -given)
    left = payment["balanceAmount"] - given
    piece = {
        "cancelAmount": given,
        "cancelReason": reason,
        "taxFreeAmount": untaxed,
        "taxExemptionAmount": 0,
        "refundableAmount": left,
        "easyPayDiscountAmount": 0,
        "canceledAt": transaction["at"],
        "transactionKey": transaction["id"],
        "receiptKey": None,
        "cancelStatus": "DONE",
    }
    changed = {
        **payment,
        "balanceAmount": left,
        "status": "PARTIAL_CANCELED" if left else "CANCELED",
        "cancels": [*(payment["cancels"] or []), piece],
        "lastTransactionKey": transaction["id"],
    }
    told = event(payment["merchant"], "PAYMENT_STATUS_CHANGED", shown(changed))
    rows: Rows = [("payments", changed), told]
    return [*rows, ("transactions", transaction)] if payment["approvedAt"] else rows


def find(box: Box, merchant: str, payment_key: str) -> Body:
    """This function will return a payment of this merchant."""
    payment = box.book.get("payments", payment_key)
    if payment is None or payment["merchant"] != merchant:
        raise Refusal("NOT_FOUND_PAYMENT")
    return payment


def find_by_order(box: Box, merchant: str, order_id: str) -> Body:
    """This function will return the payment of an order of this merchant."""
    for payment in box.of("payments", merchant):
        if payment["orderId"] == order_id:
            return payment
    raise Refusal("NOT_FOUND_PAYMENT")


def open_account(box: Box, merchant: str, body: Body) -> tuple[Reply, Rows]:
    """This function will open a virtual account for one transfer."""
    payment = _payment(box, merchant, body, kind="NORMAL")
    bank, customer = text(body, "bank", 20), text(body, "customerName", 100)
    due = body.get("dueDate")
    try:
        hours = number(body, "validHours", default=168)
        ends = datetime.fromisoformat(due) if due else now() + timedelta(hours=min(hours, 720))
    except (TypeError, ValueError) as error:
        raise Refusal("INVALID_REQUEST") from error
    payment |= {
        "status": "WAITING_FOR_DEPOSIT",
        "method": "가상계좌",
        "secret": new_key("ps_"),
        "virtualAccount": {
            "accountType": "일반",
            "accountNumber": f"{secrets.randbelow(10**13):013d}",
            "bankCode": bank,
            "customerName": customer,
            "dueDate": ends.replace(tzinfo=None).isoformat(timespec="seconds") + "+09:00",
            "refundStatus": "NONE",
            "expired": False,
            "settlementStatus": "INCOMPLETED",
            "refundReceiveAccount": None,
        },
    }
    return Reply(200, shown(payment)), [("payments", payment)]


def deposit(payment: Body, *, arrived: bool) -> Rows:
    """This function will note that the transfer came, or that the bank took it back."""
    transaction = _transaction(payment, "DONE", payment["totalAmount"])
    changed = {
        **payment,
        "status": "DONE" if arrived else "WAITING_FOR_DEPOSIT",
        "approvedAt": now().isoformat() if arrived else None,
        "lastTransactionKey": transaction["id"] if arrived else None,
    }
    called_back = {
        "secret": payment["secret"],
        "status": changed["status"],
        "transactionKey": transaction["id"],
        "orderId": payment["orderId"],
    }
    rows: Rows = [
        ("payments", changed),
        event(payment["merchant"], None, called_back),
        event(payment["merchant"], "PAYMENT_STATUS_CHANGED", shown(changed)),
    ]
    return [*rows, ("transactions", transaction)] if arrived else rows


def issue_receipt(box: Box, merchant: str, body: Body) -> tuple[Reply, Rows]:
    """This function will issue a cash receipt; neither a second one nor a paid card stops it."""
    amount = number(body, "amount")
    use = text(body, "type", 10)
    if use not in ("소득공제", "지출증빙") or amount < 1:
        raise Refusal("INVALID_REQUEST")
    identity = text(body, "customerIdentityNumber", 30, re.compile(r"[0-9]+"))
    row = {
        "id": new_key("cr_"),
        "merchant": merchant,
        "receiptKey": new_key("rk_"),
        "issueNumber": new_key()[:9],
        "issueStatus": "IN_PROGRESS",
        "amount": amount,
        "taxFreeAmount": number(body, "taxFreeAmount", default=0),
        "orderId": text(body, "orderId", 64, ORDER_ID),
        "orderName": text(body, "orderName", 100),
        "type": use,
        "transactionType": "CONFIRM",
        "businessNumber": "1248100998",
        "customerIdentityNumber": f"{identity[:3]}***{identity[-2:]}",
        "failure": None,
        "requestedAt": now().isoformat(),
        "receiptUrl": "https://dashboard.tosspayments.com/receipt/cash",
    }
    return _told_receipt(box, row)


def cancel_receipt(box: Box, merchant: str, receipt_key: str, body: Body) -> tuple[Reply, Rows]:
    """This function will cancel so much of a cash receipt, or all that is left of it."""
    papers = [row for row in box.of("receipts", merchant) if row["receiptKey"] == receipt_key]
    issued = [row for row in papers if row["transactionType"] == "CONFIRM"]
    if not issued:
        raise Refusal("NOT_FOUND")
    left = issued[0]["amount"] - sum(
        row["amount"] for row in papers if row["transactionType"] == "CANCEL"
    )
    given = number(body, "amount", default=left)
    if not 0 < given <= left:
        raise Refusal("INVALID_REQUEST")
    row = {
        **issued[0],
        "id": new_key("cr_"),
        "amount": given,
        "transactionType": "CANCEL",
        "requestedAt": now().isoformat(),
    }
    return _told_receipt(box, row)


def _told_receipt(box: Box, row: Body) -> tuple[Reply, Rows]:
    """The answer about a cash receipt, as the control door wants it."""
    told = box.next_told("receipt")
    if code := told.get("code"):
        refusal = Refusal(code)
        return Reply(refusal.status, refusal.body), []
    return Reply(200, shown_receipt(row), told.get("fault", "answer")), [("receipts", row)]


def shown_receipt(row: Body) -> Body:
    """This function will return a cash receipt as Toss shows it."""
    return {name: value for name, value in row.items() if name not in ("id", "merchant")}
