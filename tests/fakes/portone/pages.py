"""What a customer sees of PortOne: its script, and the window in which a method is registered."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Blueprint, Response, g, make_response, redirect, render_template, request

from app.sandbox.cards import CARDS, Card, find
from app.sandbox.journal import Row
from tests.fakes.portone.api import simulator
from tests.fakes.portone.book import (
    MERCHANT_ID,
    Simulator,
    channel_of,
    channel_row,
    event,
    new_id,
)

pages = Blueprint("pages", __name__, template_folder="templates")

_ASKED = (
    *("storeId", "channelKey", "billingKeyMethod", "uiType", "issueId", "issueName"),
    *("customerId", "redirectUrl", "locale", "mode", "origin"),
)
_WORDS = {
    "ko": {
        "title": "결제수단 등록 (모의 포트원)",
        "explained": "실제 결제는 일어나지 않아요",
        "register": "등록하기",
        "cancel": "취소",
    },
    "en": {
        "title": "Register a payment method (simulated PortOne)",
        "explained": "No money moves here",
        "register": "Register",
        "cancel": "Cancel",
    },
}
_METHODS = {"kakaopay": "EASY_PAY", "naverpay": "EASY_PAY", "paypal": "PAYPAL", "card": "CARD"}
# Windows that show a title ask for it; NaverPay wants an id of its own as well.
_NEEDED = {"kakaopay": ("issueName",), "naverpay": ("issueId", "issueName")}


@pages.get("/")
def front() -> Response:
    """This function will say what this is."""
    return make_response(
        "PortOne, simulated. No money moves here.\n", {"Content-Type": "text/plain"}
    )


@pages.get("/healthz")
def healthz() -> dict[str, str]:
    """This function will say that the process answers."""
    return {"status": "ok"}


@pages.get("/v2/browser-sdk.js")
def script() -> Response:
    """This function will send the script that a merchant's page loads."""
    source = Path(__file__).with_name("browser-sdk.js").read_text(encoding="utf-8")
    return Response(source, mimetype="text/javascript")


@pages.get("/checkout")
def show() -> Response:
    """This function will show the window in which a method is chosen."""
    asked = _asked(request.args)
    if (wrong := _wrong(asked)) is not None:
        return _back(asked, code="INVALID_REQUEST", message=wrong)
    return _page(
        "checkout.html",
        asked=asked,
        channel=channel_of(asked["channelKey"]),
        cards=CARDS,
        language="en" if asked["locale"] == "EN_US" else "ko",
        words=_WORDS["en" if asked["locale"] == "EN_US" else "ko"],
    )


@pages.post("/checkout")
def choose() -> Response:
    """This function will issue a billing key for the chosen card, or none."""
    asked = _asked(request.form)
    if (wrong := _wrong(asked)) is not None:
        return _back(asked, code="INVALID_REQUEST", message=wrong)
    card = find(request.form.get("number", ""))
    if request.form.get("cancel") or card is None:
        return _back(asked, code="FAILURE_TYPE_PG", message="사용자가 등록을 취소했습니다.")
    here = simulator()
    row = _billing_key(here, asked, card)
    here.book.write(
        [("billing_keys", row), event(here, "BillingKey.Issued", {"billingKey": row["id"]})]
    )
    return _back(asked, billingKey=row["id"])


def _asked(given: Any) -> dict[str, str]:
    return {name: str(given.get(name, "")) for name in _ASKED}


def _wrong(asked: dict[str, str]) -> str | None:
    channel = channel_of(asked["channelKey"])
    if asked["storeId"] != simulator().store_id or channel is None:
        return "storeId, channelKey"
    if asked["billingKeyMethod"] != _METHODS[channel]:
        return "billingKeyMethod"
    if channel == "paypal" and asked["uiType"] != "PAYPAL_RT":
        return "uiType"
    return next((name for name in _NEEDED.get(channel, ()) if not asked[name]), None)


def _billing_key(here: Simulator, asked: dict[str, str], card: Card) -> Row:
    channel = str(channel_of(asked["channelKey"]))
    return {
        "id": new_id("billing-key"),
        "status": "ISSUED",
        "behaviour": str(card.behaviour),
        "merchantId": MERCHANT_ID,
        "storeId": here.store_id,
        "channel": channel_row(channel),
        "customer": {"id": asked["customerId"]} if asked["customerId"] else {},
        "method": _method(channel, card),
        "issueId": asked["issueId"] or new_id("issue"),
        "issueName": asked["issueName"],
        "issuedAt": here.stamp(),
    }


def _method(channel: str, card: Card) -> Row:
    number = f"{card.number[:6]}******{card.number[-4:]}"
    shown = {"publisher": "SHINHAN_CARD", "issuer": "SHINHAN_CARD", "number": number}
    if channel == "card":
        return {"type": "BillingKeyPaymentMethodCard", "card": shown}
    if channel == "paypal":
        return {"type": "BillingKeyPaymentMethodPaypal"}
    return {
        "type": "BillingKeyPaymentMethodEasyPay",
        "provider": channel.upper(),
        "method": {"type": "BillingKeyPaymentMethodCard", "card": shown},
    }


def _back(asked: dict[str, str], **told: str) -> Response:
    """Back to the merchant's page: by its frame's parent, or by address."""
    told = {"transactionType": "ISSUE_BILLING_KEY", **told}
    if asked["mode"] == "frame":
        return _page("back.html", told=told, target=asked["origin"])
    target = urlsplit(asked["redirectUrl"])
    if target.scheme not in ("http", "https") or not target.hostname:
        return make_response("redirectUrl", 400)
    joint = "&" if target.query else "?"
    return redirect(f"{asked['redirectUrl']}{joint}{urlencode(told)}", code=303)  # type: ignore[return-value]  # Flask's kind at run time


def _page(template: str, **context: Any) -> Response:
    g.nonce = secrets.token_urlsafe(16)
    response = make_response(render_template(f"portone/{template}", nonce=g.nonce, **context))
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'nonce-{g.nonce}'; script-src 'nonce-{g.nonce}'; "
        "base-uri 'none'"
    )
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"
    return response
