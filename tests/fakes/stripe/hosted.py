"""Checkout, as far as it registers a card: the page that a customer is sent to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, redirect, render_template, request

from tests.fakes.stripe import shapes
from tests.fakes.stripe.api import box
from tests.fakes.stripe.cards import BY_NUMBER, CARDS
from tests.fakes.stripe.wire import Row

hosted = Blueprint("hosted", __name__, template_folder="templates")
_EXPIRES = (12, 2040)


@hosted.get("/")
def front() -> str:
    return render_template("stripe_simulator.html", session=None, cards=CARDS, error=None)


@hosted.get("/healthz")
def healthz() -> dict[str, str]:
    return {"status": "ok"}


@hosted.get("/c/pay/<session_id>")
def show(session_id: str) -> str:
    """This function will show the form, with a button for each test card."""
    return _form(_open(session_id))


@hosted.post("/c/pay/<session_id>")
def register(session_id: str) -> Any:
    """This function will register a test card and send the browser back.

    A number that is not on the page is neither stored nor shown again: it may be a real card.
    """
    number = "".join(filter(str.isdigit, request.form.get("number", "")))
    card = BY_NUMBER.get(number)
    book = box().book
    with book.lock:
        session = _open(session_id)
        if card is None:
            return _form(session, "Choose a card of the list: no other is taken here."), 422
        customer = shapes.customer()
        method = shapes.method(card.number, card.behaviour, customer["id"], _EXPIRES)
        intent = book.get("setup_intents", session["setup_intent"])
        assert intent is not None
        ready = {
            **intent,
            "customer": customer["id"],
            "payment_method": method["id"],
            "status": "succeeded",
        }
        done = {**session, "customer": customer["id"], "status": "complete", "url": None}
        book.write(
            [
                ("customers", customer),
                ("methods", method),
                ("setup_intents", ready),
                ("sessions", done),
                shapes.event("setup_intent.succeeded", ready),
                shapes.event("checkout.session.completed", done),
            ]
        )
    back = session["success_url"].replace("{CHECKOUT_SESSION_ID}", session["id"])
    return _sent_to(back)


@hosted.post("/c/pay/<session_id>/cancel")
def cancel(session_id: str) -> Response:
    """This function will send the browser back without a card; the session stays open."""
    return _sent_to(_open(session_id)["cancel_url"])


def _open(session_id: str) -> Row:
    session = box().book.get("sessions", session_id)
    if session is None:
        abort(404)
    if session["status"] != "open" or session["expires_at"] < shapes.now():
        abort(410)
    return session


def _form(session: Row, error: str | None = None) -> str:
    return render_template("stripe_simulator.html", session=session, cards=CARDS, error=error)


def _sent_to(address: str) -> Response:
    found: Any = redirect(address, code=303)
    return found
