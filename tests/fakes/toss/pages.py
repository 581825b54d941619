"""The stand-in for the browser script, the page behind it, and the door by which tests steer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, abort, jsonify, redirect, render_template_string, request

from tests.fakes.toss import payments
from tests.fakes.toss.api import box
from tests.fakes.toss.box import Rows, event, new_key, now
from tests.fakes.toss.cards import BY_BEHAVIOUR, CARDS, ERRORS, Refusal

pages = Blueprint("pages", __name__)
_FEE_PERCENT = 2.5
_FAULTS = ("hang", "drop", "fail", "keep_failing", "busy")

# What the vendor's script offers, as far as our page calls it.
_SCRIPT = """
(() => {
  const home = new URL(document.currentScript.src).origin;
  window.TossPayments = (clientKey) => ({
    payment: ({ customerKey }) => ({
      requestBillingAuth: async ({ method, successUrl, failUrl }) => {
        const asked = new URLSearchParams({ clientKey, customerKey, method, successUrl, failUrl });
        window.location.assign(`${home}/_simulator/billing-auth?${asked}`);
      },
    }),
  });
})();
"""
_PAGE = """<!doctype html><html lang="ko"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>토스페이먼츠 모의 결제창</title></head><body>
<h1>토스페이먼츠 모의 결제창</h1>
<p>실제 카드 번호를 넣지 마세요. 돈은 움직이지 않습니다. · No money moves here.</p>
<form method="post">
{% for card in cards %}
<p><button name="behaviour" value="{{ card.behaviour }}">
{{ card.masked }} · {{ card.words }}</button></p>
{% endfor %}
<p><button name="behaviour" value="">취소 · Cancel</button></p>
</form></body></html>"""


@pages.get("/v2/standard")
def script() -> Response:
    """This function will serve the stand-in for the vendor's script."""
    return Response(_SCRIPT, content_type="text/javascript; charset=utf-8")


@pages.route("/_simulator/billing-auth", methods=["GET", "POST"])
def billing_auth() -> Any:
    """This function will let a person choose a card, and send the browser back with it."""
    asked = {name: request.args.get(name, "") for name in ("clientKey", "customerKey")}
    success, failure = request.args.get("successUrl", ""), request.args.get("failUrl", "")
    if not asked["clientKey"].startswith(("test_ck_", "live_ck_")) or not all(
        urlsplit(url).scheme in ("http", "https") for url in (success, failure)
    ):
        abort(400)
    if request.method == "GET":
        return render_template_string(_PAGE, cards=CARDS)
    behaviour = request.form.get("behaviour", "")
    if behaviour not in BY_BEHAVIOUR:
        words = {"code": "PAY_PROCESS_CANCELED", "message": "사용자에 의해 결제가 취소되었습니다."}
        return _back(failure, words)
    row = {
        "id": new_key("auth_"),
        "merchant": asked["clientKey"].partition("_ck_")[2],
        "customerKey": asked["customerKey"],
        "behaviour": behaviour,
        "used": False,
    }
    box().book.write([("authorizations", row)])
    return _back(success, {"customerKey": row["customerKey"], "authKey": row["id"]})


def _back(url: str, query: dict[str, str]) -> Any:
    joint = "&" if urlsplit(url).query else "?"
    return redirect(f"{url}{joint}{urlencode(query)}", code=303)


@pages.post("/_simulator/next")
def next_charge() -> Any:
    """This function will tell the next charge to go wrong: by a fault, or by an error's code.

    `about`: "receipt" tells the next cash receipt, or the next cancelling of one, instead.
    """
    told = request.get_json()
    if told.get("fault") not in (None, *_FAULTS) or told.get("code") not in (None, *ERRORS):
        abort(400)
    if told.get("about", "charge") not in ("charge", "receipt"):
        abort(400)
    box().told.append(told)
    return jsonify(told)


@pages.get("/_simulator/captures/<order_id>")
def captures(order_id: str) -> Any:
    """This function will list what was ever taken for an order."""
    return jsonify(
        [
            row["amount"]
            for row in box().book.rows("transactions")
            if row["status"] == "DONE" and _payment(row["payment"])["orderId"] == order_id
        ]
    )


@pages.post("/_simulator/payments/<payment_key>/reverse")
def reverse(payment_key: str) -> Any:
    """This function will cancel what is left of a payment, as somebody at the console would."""
    with box().book.lock:
        payment = _payment(payment_key)
        rows = payments.take_back(payment, payment["balanceAmount"], "상점관리자에서 취소")
        box().book.write(rows)
    return jsonify({})


@pages.post("/_simulator/deposits/<order_id>")
def deposit(order_id: str) -> Any:
    """This function will let a transfer arrive, or be taken back."""
    with box().book.lock:
        found = [row for row in box().book.rows("payments") if row["orderId"] == order_id]
        if not found:
            abort(404)
        arrived = bool(request.get_json()["arrived"])
        box().book.write(payments.deposit(found[-1], arrived=arrived))
    return jsonify({})


@pages.post("/_simulator/receipts")
def complete_receipts() -> Any:
    """This function will have the tax service confirm every cash receipt and every cancelling."""
    with box().book.lock:
        rows = [
            {**row, "issueStatus": "COMPLETED"}
            for row in box().book.rows("receipts")
            if row["issueStatus"] == "IN_PROGRESS"
        ]
        box().book.write([("receipts", row) for row in rows])
    return jsonify(len(rows))


@pages.post("/_simulator/forget-keys")
def forget_keys() -> Any:
    """This function will forget every idempotency key, as after fifteen days."""
    with box().book.lock:
        rows = box().book.rows("replies")
        box().book.write([("replies", {**row, "forgotten": True}) for row in rows])
    return jsonify({})


@pages.post("/_simulator/close-day")
def close_day() -> Any:
    """This function will settle every transaction that is not settled yet."""
    with box().book.lock:
        rows: Rows = []
        for row in box().book.rows("transactions"):
            if not row["settled"]:
                shown = _settlement(row)
                line = {"id": row["id"], "merchant": row["merchant"], "shown": shown}
                rows += [("settlements", line), ("transactions", {**row, "settled": True})]
        box().book.write(rows)
    return jsonify({})


@pages.post("/_simulator/payments/<payment_key>/settle-twice")
def settle_twice(payment_key: str) -> Any:
    """This function will list what is settled of a payment once more, under another name."""
    with box().book.lock:
        told = [
            row
            for row in box().book.rows("settlements")
            if row["shown"]["paymentKey"] == payment_key
        ]
        again = new_key("tx_")
        shown = {**told[0]["shown"], "transactionKey": again}
        box().book.write([("settlements", {**told[0], "id": again, "shown": shown})])
    return jsonify({})


def _settlement(row: dict[str, Any]) -> dict[str, Any]:
    payment = _payment(row["payment"])
    fee = int(abs(row["amount"]) * _FEE_PERCENT / 100)
    tax = fee // 10
    sign = 1 if row["amount"] > 0 else -1
    pieces = [p for p in payment["cancels"] or [] if p["transactionKey"] == row["id"]]
    return {
        "mId": "tosspayments",
        "paymentKey": payment["id"],
        "transactionKey": row["id"],
        "orderId": payment["orderId"],
        "currency": "KRW",
        "method": payment["method"],
        "amount": row["amount"],
        "interestFee": 0,
        "fees": [{"type": "BASE", "fee": sign * (fee + tax)}],
        "suppliedAmount": sign * fee,
        "vat": sign * tax,
        "payOutAmount": row["amount"] - sign * (fee + tax),
        "approvedAt": row["at"],
        "soldDate": f"{now():%Y-%m-%d}",
        "paidOutDate": f"{now() + timedelta(days=2):%Y-%m-%d}",
        "card": payment["card"],
        "virtualAccount": payment["virtualAccount"],
        "cancel": pieces[0] if pieces else None,
    }


@pages.post("/_simulator/payouts/<merchant>")
def payout(merchant: str) -> Any:
    """This function will tell of a payout, which is one of the few things that are signed."""
    body = {"payoutKey": new_key("po_"), "status": "COMPLETED"}
    box().book.write([event(merchant, "payout.changed", body)])
    return jsonify({})


@pages.post("/_simulator/webhooks")
def steer_webhooks() -> Any:
    """This function will hold webhooks, let them go in either order, or repeat the last one."""
    told = request.get_json()
    box().messenger.wake(held=bool(told.get("hold")), newest_first=bool(told.get("newest_first")))
    return jsonify({})


@pages.post("/_simulator/webhooks/<key>/repeat")
def repeat(key: str) -> Any:
    """This function will deliver the last webhook about a payment or an order once more."""
    with box().book.lock:
        about = [row for row in box().book.rows("deliveries") if key in str(row["body"])]
        if not about:
            abort(404)
        again = {**about[-1], "attempts": 0, "settled": None}
        box().book.write([("deliveries", again)])
    return jsonify({})


@pages.post("/_simulator/webhooks/forge")
def forge() -> Any:
    """This function will send what a stranger could: any body, under no signature."""
    told = request.get_json()
    box().book.write([event("stranger", told["eventType"], told["data"])])
    return jsonify({})


@pages.errorhandler(Refusal)
def unknown(_error: Refusal) -> Any:
    """This function will say that there is no such payment."""
    return jsonify({}), 404


def _payment(payment_key: str) -> dict[str, Any]:
    payment = box().book.get("payments", payment_key)
    if payment is None:
        raise Refusal("NOT_FOUND_PAYMENT")
    return payment
