"""Changing the subscription in the portal, as far as the setting lets customers do it."""

from __future__ import annotations

from typing import Any

from flask import g, render_template, url_for

from app.base import clock
from app.web import changing, subscribed
from app.web.change_pages import Door
from app.web.i18n import gettext
from app.web.portal.door import portal, portal_required
from app.web.subscribed import Standing, customer_may
from app.web.subscription_story import coming, history
from app.web.wishes import VERBS
from invoices import catalogue


@portal.get("/plan/change/<verb>")
@portal_required
def change(verb: str) -> Any:
    """This function will ask what a change has to know, or show its preview."""
    return changing.ask(_door(), verb)


@portal.get("/plan/change/<verb>/preview")
@portal_required
def preview_change(verb: str) -> Any:
    """This function will show what a change costs."""
    return changing.preview(_door(), verb)


@portal.post("/plan/change/<verb>")
@portal_required
def confirm_change(verb: str) -> Any:
    """This function will make a change that was previewed."""
    return changing.confirm(_door(), verb)


@portal.get("/plan/timeline")
@portal_required
def timeline() -> str:
    """This function will show what will be billed when, and every change with who and why."""
    standing = subscribed.standing(tenant_id=g.tenant.id, now=clock.now())
    return render_template(
        "portal/timeline.html",
        subscription=standing.subscription if standing else None,
        coming=coming(standing) if standing else [],
        story=history(tenant_id=g.tenant.id, staff=False),
    )


_PAGES = {
    "ask": "portal.change",
    "preview": "portal.preview_change",
    "confirm": "portal.confirm_change",
}


def _door() -> Door:
    return Door(
        tenant=g.tenant,
        actor=g.actor,
        staff=False,
        layout="layout/portal.html",
        section="plan",
        home_url=url_for("portal.plan"),
        home_label=gettext("Plan and usage"),
        url=lambda page, **values: url_for(_PAGES[page], **values),
        check=_check,
    )


def _check(code: str, standing: Standing) -> None:
    if not customer_may(code, standing):
        raise subscribed.NotByYourself("Your contract leaves this to us: please write to us.")


def subscription_choices() -> dict[str, Any] | None:
    """This function will gather what the plan page offers to change; nothing without a contract."""
    standing = subscribed.standing(tenant_id=g.tenant.id, now=clock.now())
    if standing is None:
        return None
    price_currency = standing.subscription.currency
    possible = [code for code in standing.possible() if customer_may(code, standing)]
    return {
        "verbs": {code: VERBS[code] for code in possible},
        "rows": subscribed.rows(standing),
        "addable": [
            {
                "code": price.charge,
                "name": subscribed.name_of(price),
                "price": subscribed.price_of(catalogue.charge_of(price), price_currency),
            }
            for price in standing.addable
        ],
        "standing": standing,
    }


portal.add_app_template_global(subscription_choices, "subscription_choices")
