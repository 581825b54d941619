"""The control door: what PortOne, its console, or a thief of its name does at a test's word."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, request

from app.sandbox.cards import Behaviour
from tests.fakes.portone import rules
from tests.fakes.portone.api import answer, carry_out, simulator
from tests.fakes.portone.book import event
from tests.fakes.portone.rules import Reply

control = Blueprint("control", __name__, url_prefix="/_simulator")


@control.before_request
def read_it() -> None:
    """This function will read the body, so that the answer is not lost with the connection."""
    request.get_data()


@control.get("/payments")
def payments() -> Response:
    """This function will list every payment, by the simulator's own book."""
    return answer(Reply(200, {"payments": simulator().book.rows("payments")}))


@control.post("/next-charge")
def next_charge() -> Response:
    """This function will have the next charge behave so, or be declined with that `pgCode`."""
    told = _told()
    fault = {name: str(told[name]) for name in ("behaviour", "pgCode") if name in told}
    if "behaviour" in fault and fault["behaviour"] not in set(Behaviour):
        return answer(Reply(400, {"behaviours": [str(each) for each in Behaviour]}))
    simulator().faults.append(fault)
    return answer(Reply(202, fault))


@control.post("/next-lookup")
def next_lookup() -> Response:
    """This function will have the next look-up of a payment refused for that reason."""
    simulator().lookup_refusals.append(str(_told().get("type", "PAYMENT_NOT_FOUND")))
    return answer(Reply(202, {}))


@control.post("/keys/forget")
def forget_keys() -> Response:
    """This function will end the window of every idempotency key."""
    simulator().forget_keys()
    return answer(Reply(200, {}))


@control.post("/payments/<payment_id>/cancel")
def cancel(payment_id: str) -> Response:
    """This function will cancel a payment as somebody at PortOne's console would."""
    told = {"reason": "At the console", **_told()}
    with simulator().book.lock:
        outcome = rules.cancel(simulator(), payment_id, told)
        carry_out(outcome)
    return answer(outcome.first)


@control.post("/payments/<payment_id>/dispute")
def dispute(payment_id: str) -> Response:
    """This function will have the payer dispute a payment."""
    here = simulator()
    with here.book.lock:
        row = here.book.get("payments", payment_id)
        if row is None:
            return answer(rules.refusal(404, "PAYMENT_NOT_FOUND"))
        opened = {"status": "PENDING", "reason": "ITEM_NOT_RECEIVED", "createdAt": here.stamp()}
        told = {"paymentId": payment_id, "transactionId": row["transactionId"]}
        changed = dict(row)
        if "disputes" in row:
            changed["disputes"] = [*row["disputes"], opened]
        here.book.write(
            [("payments", changed), event(here, "Transaction.DisputeCreated", told, row["_to"])]
        )
    return answer(Reply(200, opened))


@control.post("/payments/<payment_id>/redeliver")
def redeliver(payment_id: str) -> Response:
    """This function will deliver the payment's newest event once more."""
    book = simulator().book
    with book.lock:
        about = [r for r in book.rows("events") if r["data"].get("paymentId") == payment_id]
        if not about:
            return answer(rules.refusal(404, "WEBHOOK_NOT_FOUND"))
        book.write([("events", {**about[-1], "attempts": 0, "settled": None})])
    return answer(Reply(202, {"id": about[-1]["id"]}))


@control.post("/webhooks/hold")
def hold() -> Response:
    """This function will keep every event back."""
    simulator().webhooks_held = True
    return answer(Reply(200, {}))


@control.post("/webhooks/release")
def release() -> Response:
    """This function will deliver what was kept back; with `order` "reversed", newest first."""
    here = simulator()
    with here.book.changed:
        here.newest_first = _told().get("order") == "reversed"
        here.webhooks_held = False
        here.book.changed.notify_all()
    return answer(Reply(200, {}))


@control.post("/webhooks/forge")
def forge() -> Response:
    """This function will send what a stranger would: an event signed with another secret."""
    told = _told()
    kind = str(told.get("type", "Transaction.Paid"))
    data: dict[str, Any] = told.get("data") or {"paymentId": "payment-forged", "transactionId": "x"}
    here = simulator()
    name, row = event(here, kind, data)
    here.book.write([(name, {**row, "forged": True})])
    return answer(Reply(202, {"id": row["id"]}))


def _told() -> dict[str, Any]:
    found = request.get_json(silent=True)
    return found if isinstance(found, dict) else {}
