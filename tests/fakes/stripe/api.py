"""The interface under /v1, as far as our adapter asks: Bearer key, forms in, JSON out."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Iterable
from typing import Any

from flask import Blueprint, Response, current_app, request, url_for

from tests.fakes.stripe import payments, shapes
from tests.fakes.stripe.box import Box
from tests.fakes.stripe.once import Outcome, answer, once
from tests.fakes.stripe.wire import (
    Refusal,
    Row,
    form,
    missing,
    page,
    published,
    required,
    shown,
    take,
)

api = Blueprint("api", __name__, url_prefix="/v1")

# By the beginning of an id: where its object is kept, and what Stripe calls it.
_PLACES = {
    "ch": ("charges", "charge"),
    "cus": ("customers", "customer"),
    "dp": ("disputes", "dispute"),
    "pi": ("intents", "payment_intent"),
    "pm": ("methods", "PaymentMethod"),
    "po": ("payouts", "payout"),
    "re": ("refunds", "refund"),
    "seti": ("setup_intents", "setupintent"),
    "cs": ("sessions", "checkout.session"),
    "txn": ("transactions", "balance_transaction"),
}
_METADATA_QUERY = re.compile(r"metadata\['([A-Za-z_]+)'\]:'([^'\\]*)'")


def box() -> Box:
    found: Box = current_app.extensions["stripe"]
    return found


@api.before_request
def require_key() -> Response | None:
    """This function will turn away whoever does not hold the secret key."""
    request.get_data()  # An unread body would reset the connection under our answer.
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme == "Bearer" and hmac.compare_digest(given.encode(), box().secret_key.encode()):
        if request.method == "GET" and box().take_fault(request.path):
            return Response("<html>502 Bad Gateway</html>", 502, mimetype="text/html")
        return None
    hidden = f"{given[:7]}{'*' * 8}{given[-4:]}"
    return answer(
        {"error": {"message": f"Invalid API Key provided: {hidden}", "type": _INVALID}}, 401
    )


_INVALID = "invalid_request_error"


@api.errorhandler(Refusal)
def refused(error: Refusal) -> Response:
    return answer(error.body, error.status)


def _post(call: str, perform: Any) -> Response:
    """Runs a POST under its key, with parameters that Stripe publishes for the call only."""
    given = form(request.form.items(multi=True))
    take(given, published(call))
    expand = given.pop("expand", [])
    key = request.headers.get("Idempotency-Key")

    def run() -> Outcome:
        outcome: Outcome = perform(given, key)
        if outcome.status < 300:
            rows = {row["id"]: row for _table, row in outcome.rows}
            outcome.body = expanded(outcome.body, expand, rows)
        return outcome

    return once(box(), {**given, "expand": expand}, run)


def _query(call: str) -> tuple[Row, list[str]]:
    given = form(request.args.items(multi=True))
    take(given, published(call) | {"expand"})
    return given, given.pop("expand", [])


def expanded(row: Row, paths: Iterable[str], beside: dict[str, Row]) -> Row:
    """This function will put objects in place of the ids that are asked for."""
    row = shown(row)
    for path in paths:
        name, _, rest = path.partition(".")
        if name not in row:
            raise Refusal(400, f"This property cannot be expanded ({path}).", param="expand")
        value = row[name]
        if isinstance(value, list):
            row[name] = [expanded(each, [rest], beside) for each in value] if rest else value
        elif isinstance(value, str):
            found = beside.get(value) or found_row(value)
            if found is not None:
                row[name] = expanded(found, [rest] if rest else [], beside)
        elif isinstance(value, dict) and rest:
            row[name] = expanded(value, [rest], beside)
    return row


def found_row(row_id: str) -> Row | None:
    """This function will return the object of an id, wherever it is kept."""
    place = _PLACES.get(row_id.partition("_")[0])
    return box().book.get(place[0], row_id) if place else None


def _one(row_id: str, prefix: str) -> Row:
    row = box().book.get(_PLACES[prefix][0], row_id)
    if row is None:
        raise missing(_PLACES[prefix][1], row_id)
    return row


def _retrieve(row_id: str, prefix: str) -> Response:
    paths = form(request.args.items(multi=True)).get("expand", [])
    return answer(expanded(_one(row_id, prefix), paths, {}))


def _list(table: str, call: str, *filters: str) -> Response:
    query, paths = _query(call)
    rows = [
        row
        for row in box().book.rows(table)
        if all(row[name] == query[name] for name in filters if name in query)
    ]
    found = page(rows, query, request.path)
    return answer(expanded({**found, "data": [shown(row) for row in found["data"]]}, paths, {}))


@api.post("/customers")
def create_customer() -> Response:
    def perform(given: Row, _key: str | None) -> Outcome:
        row = shapes.customer(given.get("metadata"), given.get("email"))
        return Outcome(row, rows=[("customers", row)])

    return _post("CustomerCreateParams", perform)


@api.post("/checkout/sessions")
def create_session() -> Response:
    def perform(given: Row, _key: str | None) -> Outcome:
        required(given, "mode", "success_url")
        if given["mode"] != "setup" or given.get("allowed_payment_method_types") != ["card"]:
            raise Refusal(400, "Here is only a setup mode, for cards.", param="mode")
        data = given.get("setup_intent_data") or {}
        intent = shapes.setup_intent(data.get("metadata") or {}, given.get("customer"))
        row_id = shapes.new_id("cs_test")
        row = shapes.shaped(
            "checkout.session",
            id=row_id,
            cancel_url=given.get("cancel_url"),
            client_reference_id=given.get("client_reference_id"),
            customer=given.get("customer"),
            customer_creation=given.get("customer_creation"),
            customer_details=None,
            expires_at=shapes.now() + 86_400,
            locale=given.get("locale"),
            mode="setup",
            payment_intent=None,
            payment_status="no_payment_required",
            setup_intent=intent["id"],
            status="open",
            success_url=given["success_url"],
            url=url_for("hosted.show", session_id=row_id, _external=True),
        )
        return Outcome(row, rows=[("setup_intents", intent), ("sessions", row)])

    return _post("SessionCreateParams", perform)


@api.get("/checkout/sessions/<row_id>")
def show_session(row_id: str) -> Response:
    return _retrieve(row_id, "cs")


@api.get("/setup_intents/<row_id>")
def show_setup_intent(row_id: str) -> Response:
    return _retrieve(row_id, "seti")


@api.get("/payment_methods/<row_id>")
def show_method(row_id: str) -> Response:
    return _retrieve(row_id, "pm")


@api.post("/payment_methods/<row_id>/detach")
def detach_method(row_id: str) -> Response:
    def perform(_given: Row, key: str | None) -> Outcome:
        row = _one(row_id, "pm")
        if row["customer"] is None:
            message = "This payment method is not attached to a customer; it can't be detached."
            raise Refusal(400, message, param="payment_method", saved=True)
        gone = {**row, "customer": None, "_behaviour": "gone"}
        told = shapes.event("payment_method.detached", gone, key)
        return Outcome(gone, rows=[("methods", gone), told])

    return _post("PaymentMethodDetachParams", perform)


@api.post("/payment_intents")
def create_intent() -> Response:
    return _post(
        "PaymentIntentCreateParams",
        lambda given, key: payments.create(box().book, given, key=key),
    )


@api.get("/payment_intents")
def list_intents() -> Response:
    return _list("intents", "PaymentIntentListParams", "customer")


@api.get("/payment_intents/search")
def search_intents() -> Response:
    query, paths = _query("PaymentIntentSearchParams")
    asked = _METADATA_QUERY.fullmatch(str(query.get("query", "")))
    if asked is None:
        raise Refusal(400, "Here only metadata can be searched for.", param="query")
    indexed_until = time.time() - box().search_lag_seconds
    found = [
        shown(row)
        for row in reversed(box().book.rows("intents"))
        if row["metadata"].get(asked[1]) == asked[2] and row["created"] <= indexed_until
    ]
    body = {"object": "search_result", "url": request.path, "has_more": False, "data": found}
    return answer(expanded({**body, "next_page": None}, paths, {}))


@api.get("/payment_intents/<row_id>")
def show_intent(row_id: str) -> Response:
    return _retrieve(row_id, "pi")


@api.post("/payment_intents/<row_id>/confirm")
def confirm_intent(row_id: str) -> Response:
    return _post(
        "PaymentIntentConfirmParams",
        lambda given, key: payments.confirm(box().book, _one(row_id, "pi"), given, key=key),
    )


@api.post("/payment_intents/<row_id>/cancel")
def cancel_intent(row_id: str) -> Response:
    return _post(
        "PaymentIntentCancelParams",
        lambda given, key: payments.cancel(_one(row_id, "pi"), given, key=key),
    )


@api.get("/charges")
def list_charges() -> Response:
    return _list("charges", "ChargeListParams", "customer", "payment_intent")


@api.get("/charges/<row_id>")
def show_charge(row_id: str) -> Response:
    return _retrieve(row_id, "ch")


@api.post("/refunds")
def create_refund() -> Response:
    return _post(
        "RefundCreateParams", lambda given, key: payments.refund(box().book, given, key=key)
    )


@api.get("/refunds")
def list_refunds() -> Response:
    return _list("refunds", "RefundListParams", "charge", "payment_intent")


@api.get("/balance_transactions")
def list_transactions() -> Response:
    return _list("transactions", "BalanceTransactionListParams", "source", "type", "currency")
