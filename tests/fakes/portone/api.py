"""PortOne's JSON interface: `Authorization: PortOne {secret}`, and quoted idempotency keys."""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request

from app.sandbox.api import DROP_CONNECTION
from app.sandbox.journal import Row
from tests.fakes.portone import rules
from tests.fakes.portone.book import Simulator, event
from tests.fakes.portone.rules import Outcome, Reply, refusal
from tests.fakes.portone.shapes import faults

api = Blueprint("api", __name__)

_KEY = re.compile(r'"([A-Za-z0-9_-]{16,256})"')
_CURRENCY = re.compile(r"[A-Z]{3}")


class Refused(Exception):
    """A request that is not taken; its key stays free."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.body["type"])
        self.reply = reply


def simulator() -> Simulator:
    """This function will return the PortOne that this application serves."""
    found: Simulator = current_app.extensions["portone"]
    return found


@api.before_request
def require_secret() -> Response | None:
    """This function will turn away whoever does not hold the secret."""
    request.get_data()  # An unread body would reset the connection under our answer.
    given = request.headers.get("Authorization", "")
    expected = f"PortOne {simulator().api_secret}"
    if hmac.compare_digest(given.encode(), expected.encode()):
        return None
    return answer(refusal(401, "UNAUTHORIZED", "인증 정보가 올바르지 않습니다."))


@api.errorhandler(Refused)
def refused(error: Refused) -> Response:
    """This function will answer a request that is not taken."""
    return answer(error.reply)


@api.get("/billing-keys/<billing_key>")
def show_billing_key(billing_key: str) -> Response:
    """This function will show a billing key and whose it is."""
    _check_store(request.args.get("storeId"))
    row = simulator().book.get("billing_keys", billing_key)
    if row is None:
        raise Refused(refusal(404, "BILLING_KEY_NOT_FOUND"))
    return answer(Reply(200, _billing_key(row)))


@api.delete("/billing-keys/<billing_key>")
def delete_billing_key(billing_key: str) -> Response:
    """This function will delete a billing key."""
    _check_store(request.args.get("storeId"))
    here = simulator()
    with here.book.lock:
        row = here.book.get("billing_keys", billing_key)
        if row is None:
            raise Refused(refusal(404, "BILLING_KEY_NOT_FOUND"))
        if row["status"] == "DELETED":
            raise Refused(refusal(409, "BILLING_KEY_ALREADY_DELETED"))
        now = here.stamp()
        gone = {**row, "status": "DELETED", "deletedAt": now}
        told = event(here, "BillingKey.Deleted", {"billingKey": billing_key})
        here.book.write([("billing_keys", gone), told])
    return answer(Reply(200, {"deletedAt": now}))


@api.post("/payments/<payment_id>/billing-key")
def charge(payment_id: str) -> Response:
    """This function will charge a billing key under the merchant's own payment id."""
    body = _body("BillingKeyPaymentInput")
    _check_store(body.get("storeId"))
    for name in ("billingKey", "orderName"):
        _text(body, name)
    amount = body.get("amount")
    if not isinstance(amount, dict) or type(amount.get("total")) is not int or amount["total"] < 1:
        raise Refused(refusal(400, "INVALID_REQUEST", "amount.total"))
    vat, free = amount.get("vat") or 0, amount.get("taxFree") or 0
    if vat + free > amount["total"]:
        raise Refused(refusal(409, "SUM_OF_PARTS_EXCEEDS_TOTAL_AMOUNT"))
    if not isinstance(body.get("currency"), str) or not _CURRENCY.fullmatch(body["currency"]):
        raise Refused(refusal(400, "INVALID_REQUEST", "currency"))
    return _once(lambda: rules.charge(simulator(), payment_id, body))


@api.post("/payments/<payment_id>/cancel")
def cancel(payment_id: str) -> Response:
    """This function will cancel a payment in whole or in part."""
    body = _body("CancelPaymentBody")
    _check_store(body.get("storeId"))
    _text(body, "reason")
    amount = body.get("amount")
    if amount is not None and (type(amount) is not int or amount < 1):
        raise Refused(refusal(400, "INVALID_REQUEST", "amount"))
    return _once(lambda: rules.cancel(simulator(), payment_id, body))


@api.get("/payments/<payment_id>")
def show_payment(payment_id: str) -> Response:
    """This function will show a payment."""
    _check_store(request.args.get("storeId"))
    if simulator().lookup_refusals:
        raise Refused(refusal(404, simulator().lookup_refusals.pop(0)))
    row = simulator().book.get("payments", payment_id)
    if row is None:
        raise Refused(refusal(404, "PAYMENT_NOT_FOUND"))
    return answer(Reply(200, _shown(row)))


@api.get("/payments-by-cursor")
def list_payments() -> Response:
    """This function will list payments by when they were created, oldest first."""
    try:
        asked = json.loads(request.args.get("requestBody", "{}"))
        if wrong := list(faults("GetAllPaymentsByCursorBody", asked)):
            raise Refused(refusal(400, "INVALID_REQUEST", "; ".join(wrong)))
        size = min(int(asked.get("size", 10)), 1_000)
        start = datetime.fromisoformat(asked.get("from", "1970-01-01T00:00:00+00:00"))
        end = datetime.fromisoformat(asked.get("until", "9999-01-01T00:00:00+00:00"))
    except (ValueError, TypeError, AttributeError) as error:
        raise Refused(refusal(400, "INVALID_REQUEST", "requestBody")) from error
    _check_store(asked.get("storeId"))
    found = [
        row
        for row in simulator().book.rows("payments")
        if start <= datetime.fromisoformat(row["requestedAt"]) < end
    ]
    if "cursor" in asked:
        ids = [row["id"] for row in found]
        if asked["cursor"] not in ids:
            raise Refused(refusal(400, "INVALID_REQUEST", "cursor"))
        found = found[ids.index(asked["cursor"]) + 1 :]
    return answer(
        Reply(
            200, {"items": [{"payment": _shown(row), "cursor": row["id"]} for row in found[:size]]}
        )
    )


def answer(reply: Reply) -> Response:
    """This function will send a reply."""
    response = jsonify(reply.body)
    response.status_code = reply.status
    return response


def carry_out(outcome: Outcome) -> None:
    """This function will write a decision into the book; a failed one changes nothing."""
    simulator().book.write(outcome.rows)


def _once(decide: Callable[[], Outcome]) -> Response:
    """One answer for each key; without a key, as often as asked."""
    here = simulator()
    header = request.headers.get("Idempotency-Key")
    if header is None:
        with here.book.lock:
            outcome = decide()
            carry_out(outcome)
        return _sent(outcome)
    key = _KEY.fullmatch(header)
    if key is None:
        raise Refused(refusal(400, "INVALID_REQUEST", "Idempotency-Key"))
    reply_id = f"{request.method} {request.path} {key[1]}"
    if not here.take_key(reply_id):
        raise Refused(rules.OUTSTANDING)
    try:
        with here.book.lock:
            if (earlier := here.reply_of(reply_id)) is not None:
                return answer(Reply(earlier["status"], earlier["body"]))
            outcome = decide()
            replay = outcome.replay
            told: Row = {
                "id": reply_id,
                "at": here.now().isoformat(),
                "status": replay.status,
                "body": replay.body,
            }
            here.book.write([*outcome.rows, ("replies", told)])
    finally:
        here.release_key(reply_id)
    return _sent(outcome)


def _sent(outcome: Outcome) -> Response:
    if outcome.leaves == "hang":
        simulator().hang()
    if outcome.leaves == "drop":
        request.environ[DROP_CONNECTION] = True
    return answer(outcome.first)


def _shown(row: Row) -> Row:
    """A payment without what only the book knows of it."""
    return {name: value for name, value in row.items() if not name.startswith("_")}


def _billing_key(row: Row) -> Row:
    shown = {
        "status": row["status"],
        "billingKey": row["id"],
        "merchantId": row["merchantId"],
        "storeId": row["storeId"],
        "methods": [row["method"]],
        "channels": [row["channel"]],
        "customer": row["customer"],
        "issueId": row["issueId"],
        "issueName": row["issueName"],
        "issuedAt": row["issuedAt"],
    }
    return shown | ({"deletedAt": row["deletedAt"]} if row["status"] == "DELETED" else {})


def _body(shape: str) -> dict[str, Any]:
    """What was sent, held to what PortOne publishes; PortOne itself would overlook more."""
    body = request.get_json(silent=True)
    wrong = list(faults(shape, body))
    if wrong:
        raise Refused(refusal(400, "INVALID_REQUEST", "; ".join(wrong)))
    found: dict[str, Any] = body
    return found


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise Refused(refusal(400, "INVALID_REQUEST", name))
    return value


def _check_store(store_id: object) -> None:
    if store_id is not None and store_id != simulator().store_id:
        raise Refused(refusal(403, "FORBIDDEN", "다른 상점입니다."))
