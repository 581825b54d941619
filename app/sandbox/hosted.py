"""The pages a customer sees: card registration, the slip of a payment, and a front page."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, abort, g, redirect, render_template, request

from app.base.money import Money
from app.sandbox import payments
from app.sandbox.api import CODE_LIFETIME, sandbox
from app.sandbox.cards import CARDS, Card, find
from app.sandbox.journal import Row

hosted = Blueprint("hosted", __name__, template_folder="templates")

_BRAND = "Sandbox"


@hosted.get("/")
def front() -> str:
    """This function will say what this is and list the test cards."""
    return _page("front.html", language=_language("ko"), cards=CARDS)


@hosted.get("/healthz")
def healthz() -> dict[str, str]:
    """This function will say that the process answers."""
    return {"status": "ok"}


@hosted.get("/register/<registration_id>")
def show(registration_id: str) -> str | tuple[str, int]:
    """This function will show the registration page."""
    registration = _registration(registration_id)
    if _closed(registration):
        return _page("closed.html", language=_language(registration["language"])), 410
    return _form(registration, error=None)


@hosted.post("/register/<registration_id>")
def register(registration_id: str) -> Response | tuple[str, int]:
    """This function will register a test card and send the browser back with a one-time code.

    A number that is not on the page is neither stored nor shown again: it may be a real card.
    """
    registration = _registration(registration_id)
    card = find(request.form.get("number", ""))
    if card is None:
        return _form(registration, error="unlisted"), 422
    book = sandbox().book
    with book.lock:
        current = _registration(registration_id)
        if _closed(current):
            return _page("closed.html", language=_language(current["language"])), 410
        now = datetime.now(UTC)
        method = _method(card, customer_key=current["customer_key"], now=now)
        done = {
            **current,
            "token": method["id"],
            "code": secrets.token_urlsafe(24),
            "code_expires_at": (now + CODE_LIFETIME).isoformat(),
        }
        told = payments.event_row(payments.new_id("evt"), "method.registered", {}, now)
        book.write([("methods", method), ("registrations", done), ("events", told)])
    return _back(done, customer_key=done["customer_key"], code=done["code"])


@hosted.post("/register/<registration_id>/cancel")
def cancel(registration_id: str) -> Response | tuple[str, int]:
    """This function will close the registration and send the browser back without a method."""
    book = sandbox().book
    with book.lock:
        registration = _registration(registration_id)
        if _closed(registration):
            return _page("closed.html", language=_language(registration["language"])), 410
        book.write([("registrations", {**registration, "cancelled": True})])
    return _back(registration, error="cancelled")


@hosted.get("/receipts/<payment_id>")
def receipt(payment_id: str) -> str:
    """This function will show the slip of a payment to whoever was given its address."""
    payment = sandbox().book.get("payments", payment_id)
    if payment is None or payment["status"] != "succeeded":
        abort(404)
    currency = payment["currency"]
    return _page(
        "receipt.html",
        language=_language("ko"),
        payment=payment,
        approved_at=datetime.fromisoformat(payment["approved_at"]),
        amount=Money(payment["amount"], currency),
        tax=Money(payment["tax_amount"], currency),
        refunded=Money(payment["refunded_amount"], currency),
    )


@hosted.after_request
def harden(response: Response) -> Response:
    """This function will allow the page its own style and its own way back, and nothing else."""
    # Browsers hold the redirect after a form to form-action too.
    targets = " ".join(["'self'", *g.get("form_targets", [])])
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{g.get('nonce', '')}'; img-src data:; "
        f"form-action {targets}; frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    return response


def _form(registration: Row, *, error: str | None) -> str:
    target = urlsplit(registration["return_url"])
    g.form_targets = [f"{target.scheme}://{target.netloc}"]
    return _page(
        "register.html",
        language=_language(registration["language"]),
        registration=registration,
        cards=CARDS,
        error=error,
    )


def _page(template: str, *, language: str, **context: Any) -> str:
    g.nonce = secrets.token_urlsafe(16)
    return render_template(f"sandbox/{template}", language=language, nonce=g.nonce, **context)


def _language(default: str) -> str:
    asked = request.args.get("lang", default)
    return asked if asked in ("ko", "en") else default


def _registration(registration_id: str) -> Row:
    registration = sandbox().book.get("registrations", registration_id)
    if registration is None:
        abort(404)
    return registration


def _closed(registration: Row) -> bool:
    expired = datetime.fromisoformat(registration["expires_at"]) < datetime.now(UTC)
    return expired or registration["cancelled"] or registration["code"] is not None


def _method(card: Card, *, customer_key: str, now: datetime) -> Row:
    return {
        "id": payments.new_id("mth"),
        "customer_key": customer_key,
        "behaviour": card.behaviour,
        "kind": "card",
        "brand": _BRAND,
        "masked": card.masked,
        "expires": "2040-12",
        "registered_at": now.isoformat(),
        "revoked_at": None,
    }


def _back(registration: Row, **parameters: str) -> Response:
    joint = "&" if urlsplit(registration["return_url"]).query else "?"
    query = urlencode({"registration_id": registration["id"], **parameters})
    return redirect(f"{registration['return_url']}{joint}{query}", code=303)  # type: ignore[return-value]  # Flask's kind at run time
