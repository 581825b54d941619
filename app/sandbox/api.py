"""The gateway's JSON interface, under HTTP Basic with the secret key as user name."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, jsonify, request, url_for

from app.sandbox import accounts, movements, payments
from app.sandbox.journal import Book
from app.sandbox.payments import Delivery, Outcome, Refused, Reply
from app.sandbox.state import Sandbox

api = Blueprint("api", __name__, url_prefix="/v1")

REGISTRATION_LIFETIME = timedelta(minutes=30)
CODE_LIFETIME = timedelta(minutes=10)
KEY_LENGTH_MAX = 300
PAGE_SIZE_MAX = 100
DROP_CONNECTION = "tenantry.sandbox.drop"

_CUSTOMER_KEY = re.compile(r"[A-Za-z0-9\-_=.@]{2,300}")
_ORDER_ID = re.compile(r"[A-Za-z0-9\-_]{6,64}")
_CURRENCY = re.compile(r"[A-Z]{3}")
_AMOUNT_MAX = 10**12


def sandbox() -> Sandbox:
    """This function will return the gateway that this application serves."""
    found: Sandbox = current_app.extensions["sandbox"]
    return found


@api.before_request
def require_key() -> Response | None:
    """This function will turn away whoever does not hold the secret key."""
    request.get_data()  # An unread body would reset the connection under our answer.
    given = request.authorization.username if request.authorization else None
    expected = sandbox().secret_key
    if given and hmac.compare_digest(given.encode(), expected.encode()):
        return None
    response = _json(
        Reply(401, payments.error_body("secret_key_wrong", "The secret key is missing or wrong."))
    )
    response.headers["WWW-Authenticate"] = 'Basic realm="sandbox gateway"'
    return response


@api.errorhandler(Refused)
def refused(error: Refused) -> Response:
    """This function will answer a request that the gateway does not take."""
    return _json(error.reply)


@api.post("/registrations")
def open_registration() -> Response:
    """This function will open a registration and return the address of its page."""
    body = _body()
    return_url = _text(body, "return_url", 2_000)
    if urlsplit(return_url).scheme not in ("http", "https") or not urlsplit(return_url).hostname:
        raise Refused(400, "return_url_invalid", "return_url must be a whole http(s) address.")
    language = body.get("language", "ko")
    row = {
        "id": payments.new_id("reg"),
        "customer_key": _matching(body, "customer_key", _CUSTOMER_KEY),
        "return_url": return_url,
        "language": language if language in ("ko", "en") else "en",
        "expires_at": (_now() + REGISTRATION_LIFETIME).isoformat(),
        "code": None,
        "code_expires_at": None,
        "token": None,
        "cancelled": False,
    }
    sandbox().book.write([("registrations", row)])
    page = url_for("hosted.show", registration_id=row["id"], _external=True)
    return _json(Reply(201, {"id": row["id"], "url": page, "expires_at": row["expires_at"]}))


@api.post("/registrations/<registration_id>/complete")
def complete_registration(registration_id: str) -> Response:
    """This function will exchange the code that came with the browser for the method's token."""
    body = _body()
    code = _text(body, "code", 100)
    customer_key = _matching(body, "customer_key", _CUSTOMER_KEY)
    book = sandbox().book
    row = book.get("registrations", registration_id)
    if (
        row is None
        or row["code"] is None
        or not hmac.compare_digest(row["code"].encode(), code.encode())
        or row["customer_key"] != customer_key
    ):
        raise Refused(404, "registration_not_found", "There is no such registration.")
    if datetime.fromisoformat(row["code_expires_at"]) < _now():
        raise Refused(410, "code_expired", "The code has expired; register again.")
    method = book.get("methods", row["token"])
    if method is None or method["revoked_at"]:
        raise Refused(410, "method_revoked", "The payment method was revoked.")
    shown = {k: method[k] for k in ("customer_key", "kind", "brand", "masked", "expires")}
    return _json(Reply(200, {"token": method["id"], **shown}))


@api.post("/methods/revoke")
def revoke_method() -> Response:
    """This function will make a method unchargeable. Twice is fine."""
    book = sandbox().book
    with book.lock:
        method = _method()
        if not method["revoked_at"]:
            now = _now()
            gone = {**method, "revoked_at": now.isoformat()}
            data = {"method": method["id"]}
            told = payments.event_row(payments.new_id("evt"), "method.revoked", data, now)
            book.write([("methods", gone), ("events", told)])
    return _json(Reply(200, {"revoked": True}))


@api.post("/methods/show")
def show_method() -> Response:
    """This function will say whether a method can be charged; its token stands in no address."""
    return _json(Reply(200, {"revoked": _method()["revoked_at"] is not None}))


def _method() -> dict[str, Any]:
    body = _body()
    method = sandbox().book.get("methods", _text(body, "token", 200))
    if method is None or method["customer_key"] != body.get("customer_key"):
        raise Refused(404, "method_not_found", "There is no such payment method.")
    return method


@api.post("/charges")
def create_charge() -> Response:
    """This function will charge a method, once for each idempotency key."""
    body = _body()
    asked: dict[str, Any] = {
        "token": _text(body, "token", 200),
        "customer_key": _matching(body, "customer_key", _CUSTOMER_KEY),
        "order_id": _matching(body, "order_id", _ORDER_ID),
        "amount": _amount(body, "amount", least=1),
        "currency": _matching(body, "currency", _CURRENCY),
        "tax_amount": _amount(body, "tax_amount", least=0),
        "name": _text(body, "name", 100),
        "metadata": {"attempt_id": _text(body, "attempt_id", 100)},
    }
    if asked["tax_amount"] > asked["amount"]:
        raise Refused(400, "tax_amount_invalid", "The tax is more than the amount.")
    return _once(lambda book: payments.charge(book=book, request=asked, now=_now()))


@api.post("/virtual-accounts")
def open_account() -> Response:
    """This function will open an account for one transfer, once for each idempotency key."""
    body = _body()
    asked: dict[str, Any] = {
        "order_id": _matching(body, "order_id", _ORDER_ID),
        "amount": _amount(body, "amount", least=1),
        "currency": _matching(body, "currency", _CURRENCY),
        "name": _text(body, "name", 100),
        "payer": _text(body, "payer", 200),
        "bank": _text(body, "bank", 20),
        "expires_at": _text(body, "expires_at", 40),
    }
    return _once(lambda book: accounts.open_one(book=book, request=asked, now=_now()))


@api.post("/virtual-accounts/<order_id>/<act>")
def account_act(order_id: str, act: str) -> Response:
    """This function will let money come into an account, or let the bank take it back."""
    if act not in ("deposit", "take-back"):
        raise Refused(404, "act_unknown", "Accounts know `deposit` and `take-back`.")
    return _json(accounts.act(book=sandbox().book, order_id=order_id, act=act, now=_now()))


@api.post("/payments/<payment_id>/refunds")
def create_refund(payment_id: str) -> Response:
    """This function will refund a payment in whole or in part, once for each key."""
    body = _body()
    amount = None if body.get("amount") is None else _amount(body, "amount", least=1)
    reason = _text(body, "reason", 200)
    return _once(
        lambda book: payments.refund(
            book=book, payment_id=payment_id, amount=amount, reason=reason, now=_now()
        )
    )


@api.post("/payments/<payment_id>/disputes")
def create_dispute(payment_id: str) -> Response:
    """This function will let a payer dispute a payment."""
    return _json(payments.dispute(book=sandbox().book, payment_id=payment_id, now=_now()))


@api.get("/settlements")
def list_settlements() -> Response:
    """This function will list what was booked on the days from `from` to `to`, page by page."""
    found = movements.listed(book=sandbox().book, start=_day("from"), end=_day("to"))
    after = request.args.get("after", "")
    if after:
        ids = [row["id"] for row in found]
        if after not in ids:
            raise Refused(400, "after_invalid", "`after` names no line of this list.")
        found = found[ids.index(after) + 1 :]
    page = found[:PAGE_SIZE_MAX]
    return _json(Reply(200, {"settlements": page, "more": len(found) > len(page)}))


@api.get("/payments/<payment_id>")
def show_payment(payment_id: str) -> Response:
    """This function will show one payment."""
    payment = sandbox().book.get("payments", payment_id)
    if payment is None:
        raise Refused(404, "payment_not_found", "There is no such payment.")
    return _json(Reply(200, payments.shown(payment)))


@api.get("/payments")
def list_payments() -> Response:
    """This function will list payments, oldest first, by order, customer, status and time.

    `approved_from` ≤ approved < `approved_to`; `after` is the last id of the page before.
    """
    found = sandbox().book.rows("payments")
    for name in ("order_id", "customer_key", "status"):
        if name in request.args:
            found = [row for row in found if row[name] == request.args[name]]
    start, end = _moment("approved_from"), _moment("approved_to")
    if start or end:
        found = [row for row in found if row["approved_at"] and _within(row, start, end)]
    ids = [row["id"] for row in found]
    if "after" in request.args:
        if request.args["after"] not in ids:
            raise Refused(400, "after_invalid", "`after` names no payment of this list.")
        found = found[ids.index(request.args["after"]) + 1 :]
    limit = min(max(request.args.get("limit", PAGE_SIZE_MAX, type=int), 1), PAGE_SIZE_MAX)
    page = [payments.shown(row) for row in found[:limit]]
    return _json(Reply(200, {"payments": page, "more": len(found) > limit}))


@api.get("/events")
def list_events() -> Response:
    """This function will list the newest events and what became of their delivery."""
    return _json(Reply(200, {"events": sandbox().book.rows("events")[-PAGE_SIZE_MAX:]}))


@api.post("/events/<event_id>/deliveries")
def deliver_again(event_id: str) -> Response:
    """This function will have an event delivered once more, as gateways sometimes do."""
    book = sandbox().book
    with book.lock:
        event = book.get("events", event_id)
        if event is None:
            raise Refused(404, "event_not_found", "There is no such event.")
        again = {**event, "attempts": 0, "settled": None}
        book.write([("events", again)])
    return _json(Reply(202, again))


def _once(perform: Callable[[Book], Outcome]) -> Response:
    """One answer for each key: the first decides, the others hear it again."""
    key = request.headers.get("Idempotency-Key", "")
    if not key or len(key) > KEY_LENGTH_MAX:
        raise Refused(400, "idempotency_key_invalid", "Send an Idempotency-Key of 1-300 letters.")
    reply_id = f"{request.path} {key}"
    fingerprint = hashlib.sha256(
        json.dumps(_body(), sort_keys=True, ensure_ascii=False).encode()
    ).hexdigest()
    box = sandbox()
    if not box.take_key(reply_id):
        raise Refused(409, "in_progress", "A request with this key is in progress.")
    try:
        with box.book.lock:
            earlier = box.reply_of(reply_id, now=_now())
            if earlier is not None:
                return _replayed(earlier, fingerprint)
            outcome = perform(box.book)
            row = {
                "id": reply_id,
                "fingerprint": fingerprint,
                "at": _now().isoformat(),
                "status": outcome.replay.status,
                "body": outcome.replay.body,
            }
            box.book.write([*outcome.rows, ("replies", row)])
    finally:
        box.release_key(reply_id)
    if outcome.delivery is Delivery.HANG:
        box.hang()
    if outcome.delivery is Delivery.DROP:
        request.environ[DROP_CONNECTION] = True
    return _json(outcome.first)


def _replayed(earlier: dict[str, Any], fingerprint: str) -> Response:
    if earlier["fingerprint"] != fingerprint:
        raise Refused(422, "idempotency_key_reused", "This key was used with another body.")
    response = _json(Reply(earlier["status"], earlier["body"]))
    response.headers["Idempotency-Replayed"] = "true"
    return response


def _json(reply: Reply) -> Response:
    response = jsonify(reply.body)
    response.status_code = reply.status
    return response


def _now() -> datetime:
    return datetime.now(UTC)


def _body() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise Refused(400, "body_invalid", "Send a JSON object.")
    return body


def _text(body: dict[str, Any], name: str, length_max: int) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value or len(value) > length_max:
        raise Refused(400, f"{name}_invalid", f"{name} must be a text of 1-{length_max} letters.")
    return value


def _matching(body: dict[str, Any], name: str, pattern: re.Pattern[str]) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise Refused(400, f"{name}_invalid", f"{name} must match {pattern.pattern}.")
    return value


def _amount(body: dict[str, Any], name: str, *, least: int) -> int:
    value = body.get(name)
    if type(value) is not int or not least <= value <= _AMOUNT_MAX:
        raise Refused(400, f"{name}_invalid", f"{name} must be a whole number of minor units.")
    return value


def _moment(name: str) -> datetime | None:
    if name not in request.args:
        return None
    try:
        moment = datetime.fromisoformat(request.args[name])
    except ValueError as error:
        raise Refused(400, f"{name}_invalid", f"{name} must be an ISO 8601 time.") from error
    if moment.tzinfo is None:
        raise Refused(400, f"{name}_invalid", f"{name} must carry its offset from UTC.")
    return moment


def _day(name: str) -> date:
    try:
        return date.fromisoformat(request.args.get(name, ""))
    except ValueError as error:
        raise Refused(400, f"{name}_invalid", f"{name} must be a day, as 2026-03-31.") from error


def _within(row: dict[str, Any], start: datetime | None, end: datetime | None) -> bool:
    approved = datetime.fromisoformat(row["approved_at"])
    return (start is None or approved >= start) and (end is None or approved < end)
