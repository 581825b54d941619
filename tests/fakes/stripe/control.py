"""The control door: whoever runs the tests tells this Stripe what to do wrong."""

from __future__ import annotations

from typing import Any

import httpx
from flask import Blueprint, Response, current_app, jsonify, request

from tests.fakes.stripe import payments
from tests.fakes.stripe.api import box
from tests.fakes.stripe.box import Fault
from tests.fakes.stripe.webhooks import Messenger
from tests.fakes.stripe.wire import Refusal, new_id, shown
from tests.plain_http import NO_AUTHORITIES

control = Blueprint("control", __name__, url_prefix="/_simulator")

FAULTS = ("hang", "drop", "fail_once", "keep_failing", "fail_before", "busy", "locked", "forbidden")


@control.errorhandler(Refusal)
def refused(error: Refusal) -> tuple[dict[str, Any], int]:
    return error.body, error.status


@control.post("/faults")
def add_fault() -> tuple[dict[str, str], int]:
    """`{"kind": one of FAULTS, "path": a part of the address, "times": n}`; GETs just fail."""
    told = request.get_json()
    if told["kind"] not in FAULTS:
        return {"error": f"kind is one of {', '.join(FAULTS)}"}, 400
    box().faults.append(Fault(told["kind"], told.get("path", ""), int(told.get("times", 1))))
    return {"told": told["kind"]}, 201


@control.post("/keys/forget")
def forget_keys() -> dict[str, int]:
    """Forgets every idempotency key, as Stripe does after a day."""
    book = box().book
    with book.lock:
        rows = [("replies", {**row, "forgotten": True}) for row in book.rows("replies")]
        book.write(rows)
    return {"forgotten": len(rows)}


@control.post("/methods/<method_id>")
def teach_method(method_id: str) -> tuple[dict[str, Any], int]:
    """`{"behaviour": …}`: how a registered card behaves from now on, "declines:<code>" included."""
    with box().book.lock:
        row = box().book.get("methods", method_id)
        if row is None:
            return {"error": "no such method"}, 404
        taught = {**row, "_behaviour": request.get_json()["behaviour"], "_declined": 0}
        box().book.write([("methods", taught)])
    return shown(taught), 200


@control.post("/search")
def lag_search() -> dict[str, float]:
    """`{"lag_seconds": n}`: how far the search is behind."""
    box().search_lag_seconds = float(request.get_json()["lag_seconds"])
    return {"lag_seconds": box().search_lag_seconds}


@control.post("/payments/<intent_id>/dispute")
def dispute(intent_id: str) -> tuple[dict[str, Any], int]:
    with box().book.lock:
        return shown(payments.dispute(box().book, intent_id)), 201


@control.post("/payments/<intent_id>/reverse")
def reverse(intent_id: str) -> tuple[dict[str, Any], int]:
    """Somebody refunds the whole at the dashboard."""
    with box().book.lock:
        done = payments.refund(box().book, {"payment_intent": intent_id}, key=None)
        box().book.write(done.rows)
    return shown(done.body), 201


@control.post("/payments/<intent_id>/book-twice")
def book_twice(intent_id: str) -> tuple[dict[str, Any], int]:
    """What came of a payment stands in the books once more, under another name."""
    with box().book.lock:
        intent = box().book.get("intents", intent_id)
        charge = box().book.get("charges", (intent or {}).get("latest_charge") or "")
        booked = charge and box().book.get("transactions", charge["balance_transaction"])
        if not booked:
            return {"error": "nothing is booked of it"}, 404
        again = {**booked, "id": new_id("txn")}
        box().book.write([("transactions", again)])
    return shown(again), 201


@control.post("/payouts")
def pay_out() -> tuple[Response, int]:
    with box().book.lock:
        return jsonify(payments.pay_out(box().book)), 201


@control.get("/events")
def events() -> dict[str, Any]:
    return {"events": [shown(row) for row in box().book.rows("events")]}


@control.post("/webhooks")
def hold_webhooks() -> dict[str, bool]:
    """`{"paused": true}` holds deliveries back; false lets those that wait go."""
    with box().book.changed:
        box().paused = bool(request.get_json()["paused"])
        box().book.changed.notify_all()
    return {"paused": box().paused}


@control.post("/events/deliver")
def deliver() -> dict[str, int]:
    """`{"ids": [...]}`: delivers these now, in this order, as often as each is named."""
    found = [box().book.get("events", row_id) for row_id in request.get_json()["ids"]]
    taken = 0
    with httpx.Client(timeout=10.0, verify=NO_AUTHORITIES, trust_env=False) as client:
        for row in found:
            taken += row is not None and _messenger().send(client, row)
    return {"taken": taken}


@control.post("/events/forge")
def forge() -> dict[str, bool]:
    """`{"how": "wrong_key" | "stale" | "future" | "signed", "event": …}`."""
    told = request.get_json()
    return {"taken": _messenger().forge(told["event"], how=told["how"])}


def _messenger() -> Messenger:
    found: Messenger = current_app.extensions["stripe_messenger"]
    return found
