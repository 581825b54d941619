"""The pages that say what it is and what it costs, and the texts that bind both sides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, render_template, request

from app.base.config import settings
from app.base.errors import NotFound
from app.web.i18n import _, language
from app.web.parts import asset
from app.web.site import estimates, prices
from app.web.site.estimates import Ask, Estimate
from tenants import consents

pages = Blueprint("pages", __name__)

ROAD = (
    "apply",
    "review",
    "workspace",
    "invite",
    "usage",
    "invoice",
    "payment",
    "receipt",
)


@pages.app_context_processor
def _frame() -> dict[str, Any]:
    """Who sells stands under every public page, as the law on electronic commerce wants it."""
    if (request.blueprint or "").partition(".")[0] != "site":
        return {}
    s = settings()
    return {
        "trial_days": s.trial_days_default,
        "seller": {
            "name": s.seller_name,
            "name_en": s.seller_name_en,
            "representative": s.seller_representative,
            "registration_number": s.seller_registration_number,
            "address": s.seller_address,
            "phone": s.seller_phone,
            "email": s.seller_email,
        },
    }


@pages.get("/")
def home() -> str:
    """This function will say what it is, for whom and what it costs, then show the road."""
    found = prices.offers(prices.currency_of(request.args.get("currency")))
    return render_template("site/home.html", offers=found, pictures=_pictures(), vat=_vat())


def _vat() -> int:
    return prices.vat_percent()


def _pictures() -> dict[str, str]:
    """A screenshot of each step where one was taken in this language, else its drawing."""
    static = Path(str(current_app.static_folder))
    found = {}
    for step in ("hero", *ROAD):
        names = (f"screens/road-{step}.{language()}.png", f"road/{step}.svg")
        found[step] = asset(next(name for name in names if (static / name).exists()))
    return found


@pages.get("/pricing")
def pricing() -> str:
    """This function will show the price list and what a month would cost at a given use."""
    currency = prices.currency_of(request.args.get("currency"))
    found = prices.offers(currency)
    asks = estimates.asks(found)
    given = {ask.key: estimates.read(request.args.get(ask.key), ask) for ask in asks}
    rows = estimates.estimates(found, given)
    return render_template(
        "site/pricing.html",
        offers=found,
        asks=asks,
        given=given,
        estimates=rows,
        table=_table(asks, rows),
        currency=currency,
        currencies=prices.currencies(),
        vat=_vat(),
    )


def _table(asks: Sequence[Ask], rows: Sequence[Estimate]) -> dict[str, Any]:
    """The columns of the estimate: what is fixed, each kind of use, and the sum."""
    used = [ask for ask in asks if ask.column]
    topped = any(row.top_up for row in rows)
    between = [{"key": "fixed", "label": _("Fixed")}]
    between += [{"key": ask.key, "label": ask.column} for ask in used]
    between += [{"key": "top_up", "label": _("Up to the minimum")}] if topped else []
    return {
        "columns": [
            {"key": "plan", "label": _("Plan")},
            *(column | {"align": "end", "hide": "narrow"} for column in between),
            {"key": "total", "label": _("A month"), "align": "end"},
        ],
        "used": [ask.key for ask in used],
        "topped": topped,
    }


@pages.get("/privacy")
def privacy() -> str:
    """This function will show the privacy notice exactly as it is hashed into consents."""
    return _text("privacy_notice")


@pages.get("/terms")
def terms() -> str:
    """This function will show the terms of the trial exactly as they are hashed into consents."""
    return _text("terms")


@pages.get("/notices/<kind>")
def notice(kind: str) -> str:
    """This function will show any other text that people are asked about."""
    if kind not in consents.VERSIONS:
        raise NotFound(_("There is no such page here, or it is not yours to see."))
    return _text(kind)


def _text(kind: str) -> str:
    return render_template("site/notice.html", notice=consents.notice(kind, language()))


@pages.get("/robots.txt")
def robots() -> Response:
    """This function will keep search engines out of everything that is private."""
    closed = ("/console", "/portal", "/workspace", "/status", "/trial/confirm", "/hooks", "/_/")
    lines = ["User-agent: *", *(f"Disallow: {path}" for path in closed)]
    return Response("\n".join(lines) + "\n", mimetype="text/plain")
