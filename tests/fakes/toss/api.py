"""The interface under /v1: Basic auth, idempotency by key, errors by code."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any

from flask import Blueprint, Response, current_app, g, jsonify, request

from app.sandbox.journal import Row
from tests.fakes.toss import payments
from tests.fakes.toss.box import KST, Box, Reply, Rows, new_key, now
from tests.fakes.toss.cards import ERRORS, Refusal
from tests.fakes.toss.shapes import REQUESTS, misfits

api = Blueprint("api", __name__, url_prefix="/v1")
DROP_CONNECTION = "tests.fakes.toss.drop"
KEY_LENGTH_MAX = 300
_SECRET_KEY = re.compile(r"(?:test|live)_sk_([A-Za-z0-9]{1,100})")


def box() -> Box:
    """This function will return the simulator that this application serves."""
    found: Box = current_app.extensions["toss"]
    return found


@api.before_request
def authenticate() -> Response | None:
    """This function will find the merchant by the secret key, or turn the caller away."""
    request.get_data()  # An unread body would reset the connection under our answer.
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    try:
        user, colon, _rest = base64.b64decode(given, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, colon = "", ""
    if scheme != "Basic" or not colon:
        raise Refusal("INCORRECT_BASIC_AUTH_FORMAT")
    known = _SECRET_KEY.fullmatch(user)
    if known is None:
        raise Refusal("UNAUTHORIZED_KEY")
    g.merchant = known[1]
    # Only with a test key, and before anything else is done.
    forced = request.headers.get("TossPayments-Test-Code", "")
    if forced and user.startswith("test_"):
        raise Refusal(forced if forced in ERRORS else "INVALID_REQUEST")
    return None


@api.errorhandler(Refusal)
def refused(error: Refusal) -> Response:
    """This function will answer with an error's code."""
    return _json(Reply(error.status, error.body))


@api.after_request
def trace(response: Response) -> Response:
    """This function will number the answer as Toss does."""
    response.headers["x-tosspayments-trace-id"] = new_key()
    return response


@api.post("/billing/authorizations/issue")
def issue() -> Response:
    """This function will exchange a one-time key for a billing key."""
    body = _body("/v1/billing/authorizations/issue")
    return _once(lambda: payments.issue(box(), g.merchant, body))


@api.post("/billing/<billing_key>")
def charge(billing_key: str) -> Response:
    """This function will charge a billing key."""
    body = _body("/v1/billing/{billingKey}")
    return _once(lambda: payments.charge(box(), g.merchant, billing_key, body))


@api.delete("/billing/<billing_key>")
def revoke(billing_key: str) -> Response:
    """This function will remove a billing key; keys of idempotency count for POST alone."""
    with box().book.lock:
        reply, rows = payments.revoke(box(), g.merchant, billing_key)
        box().book.write(rows)
    return _json(reply)


@api.get("/payments/<payment_key>")
def show(payment_key: str) -> Response:
    """This function will show a payment."""
    return _json(Reply(200, payments.shown(payments.find(box(), g.merchant, payment_key))))


@api.get("/payments/orders/<order_id>")
def show_order(order_id: str) -> Response:
    """This function will show the payment of an order."""
    found = payments.find_by_order(box(), g.merchant, order_id)
    return _json(Reply(200, payments.shown(found)))


@api.post("/payments/<payment_key>/cancel")
def cancel(payment_key: str) -> Response:
    """This function will cancel a payment in whole or in part."""
    body = _body("/v1/payments/{paymentKey}/cancel")
    return _once(lambda: payments.cancel(box(), g.merchant, payment_key, body))


@api.post("/virtual-accounts")
def open_account() -> Response:
    """This function will open a virtual account."""
    body = _body("/v1/virtual-accounts")
    return _once(lambda: payments.open_account(box(), g.merchant, body))


@api.post("/cash-receipts")
def issue_receipt() -> Response:
    """This function will issue a cash receipt."""
    body = _body("/v1/cash-receipts")
    return _once(lambda: payments.issue_receipt(box(), g.merchant, body))


@api.post("/cash-receipts/<receipt_key>/cancel")
def cancel_receipt(receipt_key: str) -> Response:
    """This function will cancel a cash receipt."""
    body = _body("/v1/cash-receipts/{receiptKey}/cancel")
    return _once(lambda: payments.cancel_receipt(box(), g.merchant, receipt_key, body))


@api.get("/cash-receipts")
def list_receipts() -> Response:
    """This function will list the cash receipts and cancels of one day."""
    day = _day("requestDate")
    rows = [
        (number, row)
        for number, row in enumerate(box().of("receipts", g.merchant), start=1)
        if datetime.fromisoformat(row["requestedAt"]).date() == day
        and number > request.args.get("cursor", 0, type=int)
    ]
    limit = min(request.args.get("limit", 100, type=int), 10_000)
    page = rows[:limit]
    body = {
        "hasNext": len(rows) > limit,
        "lastCursor": page[-1][0] if page else 0,
        "data": [payments.shown_receipt(row) for _number, row in page],
    }
    return _json(Reply(200, body))


@api.get("/transactions")
def list_transactions() -> Response:
    """This function will list what moved money, by time, after `startingAfter`."""
    start, end = _moment("startDate"), _moment("endDate")
    rows = [
        row
        for row in box().of("transactions", g.merchant)
        if start <= datetime.fromisoformat(row["at"]) <= end
    ]
    after = request.args.get("startingAfter")
    if after:
        keys = [row["id"] for row in rows]
        if after not in keys:
            raise Refusal("INVALID_REQUEST")
        rows = rows[keys.index(after) + 1 :]
    limit = min(request.args.get("limit", 100, type=int), 5_000)
    return _json(Reply(200, [_transaction(row) for row in rows[:limit]]))


def _transaction(row: Row) -> dict[str, Any]:
    payment = payments.find(box(), g.merchant, row["payment"])
    billing = box().book.get("billings", payment.get("billing") or "") or {}
    return {
        "mId": "tosspayments",
        "transactionKey": row["id"],
        "paymentKey": payment["id"],
        "orderId": payment["orderId"],
        "method": payment["method"],
        "customerKey": billing.get("customerKey"),
        "useEscrow": False,
        "receiptUrl": payments.shown(payment)["receipt"]["url"],
        "status": row["status"],
        "transactionAt": row["at"],
        "currency": "KRW",
        "amount": row["amount"],
    }


@api.get("/settlements")
def list_settlements() -> Response:
    """This function will list what was settled in a span of days, page by page from 1."""
    start, end = _day("startDate"), _day("endDate")
    by = request.args.get("dateType", "soldDate")
    if by not in ("soldDate", "paidOutDate"):
        raise Refusal("INVALID_REQUEST")
    page, size = request.args.get("page", 1, type=int), request.args.get("size", 100, type=int)
    rows = [
        row["shown"]
        for row in box().of("settlements", g.merchant)
        if start <= date.fromisoformat(row["shown"][by]) <= end
    ]
    return _json(Reply(200, rows[(page - 1) * size : page * size]))


def _once(perform: Callable[[], tuple[Reply, Rows]]) -> Response:
    """One answer for each key: the first is told again for 15 days, refusals included.

    Told apart by the key, the API key, the method and the address; the body is not compared.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return _heard(_performed(perform, None))
    if len(key) > KEY_LENGTH_MAX:
        raise Refusal("INVALID_IDEMPOTENCY_KEY")
    reply_id = f"{g.merchant} {request.method} {request.path} {key}"
    if not box().take(reply_id):
        raise Refusal("IDEMPOTENT_REQUEST_PROCESSING")
    try:
        with box().book.lock:
            earlier = box().reply_of(reply_id)
            if earlier is not None:
                return _json(Reply(earlier["status"], earlier["body"]))
        reply = _performed(perform, reply_id)
    finally:
        box().release(reply_id)
    return _heard(reply)


def _performed(perform: Callable[[], tuple[Reply, Rows]], reply_id: str | None) -> Reply:
    """What the first caller is told; what the key tells from then on is written down."""
    with box().book.lock:
        try:
            reply, rows = perform()
        except Refusal as refusal:
            reply, rows = Reply(refusal.status, refusal.body), []
        broken = Refusal("FAILED_INTERNAL_SYSTEM_PROCESSING")
        kept = Reply(broken.status, broken.body) if reply.delivery == "keep_failing" else reply
        if reply_id is not None:
            row = {
                "id": reply_id,
                "at": now().isoformat(),
                "status": kept.status,
                "body": kept.body,
            }
            rows = [*rows, ("replies", row)]
        box().book.write(rows)
    return reply


def _heard(reply: Reply) -> Response:
    match reply.delivery:
        case "hang":
            box().hang()
        case "drop":
            request.environ[DROP_CONNECTION] = True
        case "fail" | "keep_failing":
            raise Refusal("FAILED_INTERNAL_SYSTEM_PROCESSING")
        case "busy":
            raise Refusal("IDEMPOTENT_REQUEST_PROCESSING")
    return _json(reply)


def _json(reply: Reply) -> Response:
    if reply.body is None:
        return Response(status=reply.status)
    response = jsonify(reply.body)
    response.status_code = reply.status
    return response


def _body(published: str) -> dict[str, Any]:
    """The request's body, refused where it is not of the shape that Toss publishes."""
    body = request.get_json(silent=True)
    if not isinstance(body, dict) or misfits(body, REQUESTS[published]):
        raise Refusal("INVALID_REQUEST")
    return body


def _day(name: str) -> date:
    try:
        return date.fromisoformat(request.args.get(name, "")[:10])
    except ValueError as error:
        raise Refusal("INVALID_REQUEST") from error


def _moment(name: str) -> datetime:
    try:
        return datetime.fromisoformat(request.args.get(name, "")).replace(tzinfo=KST)
    except ValueError as error:
        raise Refusal("INVALID_REQUEST") from error
