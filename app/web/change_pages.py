"""The pages of a change of a subscription: which charge, the question, the preview of the money."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from flask import render_template, request

from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import TenantryError
from app.web import subscribed
from app.web.db import control
from app.web.format import day, number
from app.web.i18n import gettext
from app.web.refusals import words_of
from app.web.subscribed import Standing
from app.web.wishes import Verb, Wish, whole
from invoices import catalogue, payment_methods
from invoices.amending import NothingChanges
from invoices.catalogue import PlanNotOffered
from invoices.forecast import Preview
from tenants.models import Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Through which a change is made: whose pages frame it, who acts, and where they lead.

    `check` refuses a verb that this door does not open, from the standing.
    """

    tenant: Tenant
    actor: Actor
    staff: bool
    layout: str
    section: str
    home_url: str
    home_label: str
    url: Callable[..., str]
    check: Callable[[str, Standing], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """A change as it was previewed: what it does to the money, and the fingerprint of that."""

    wish: Wish
    at: datetime
    preview: Preview
    fingerprint: str


def questions(door: Door, wished: Wish, standing: Standing) -> list[str]:
    """This function will list what a verb's form asks; the charge meant was chosen before."""
    asks = [name for name in wished.verb.fields(staff=door.staff) if name != "charge"]
    price = catalogue.price_of(standing.version, wished.typed.get("charge", ""))
    if wished.verb.code == "add" and price is not None and price.model == "flat":
        asks.remove("quantity")
    if standing.subscription.state != "active" and wished.verb.code == "cancel":
        asks = []
    return asks


def _frame(door: Door, verb: Verb, error: TenantryError | None) -> dict[str, Any]:
    return {
        "layout": door.layout,
        "section": door.section,
        "door": door,
        "verb": verb,
        "error": error,
        "told": words_of(error) if error else "",
    }


def choice(door: Door, verb: Verb, standing: Standing) -> str:
    """This function will ask which charge is meant."""
    charges = {
        "quantity": [item.charge for item in standing.bought],
        "add": [catalogue.charge_of(price) for price in standing.addable],
        "remove": [item.charge for item in standing.removable],
    }[verb.code]
    currency = standing.subscription.currency
    return render_template(
        "changes/choice.html",
        **_frame(door, verb, None),
        choices=[
            {
                "name": subscribed.name_of(charge),
                "price": subscribed.price_of(charge, currency),
                "url": door.url("ask", verb=verb.code, charge=charge.code),
            }
            for charge in charges
        ],
    )


def question(
    door: Door, wished: Wish, standing: Standing, error: TenantryError | None = None
) -> str:
    """This function will ask what a verb has to know, with what was typed before and its fault."""
    asks = questions(door, wished, standing)
    return render_template(
        "changes/question.html",
        **_frame(door, wished.verb, error),
        wish=wished,
        asks=asks,
        # A refusal that names none of the questions stands above them all.
        failed=error.field or _field_of(error) if error else "",
        standing=standing,
        charge=standing.charge_name(wished.typed.get("charge", "")),
        plans=_plans(standing) if "plan" in asks else [],
        running_end=standing.running_end,
    )


def _field_of(error: TenantryError) -> str:
    return "plan" if isinstance(error, PlanNotOffered | NothingChanges) else ""


def _plans(standing: Standing) -> list[tuple[str, str]]:
    found = []
    for version in catalogue.offers(
        control_session=control(), currency=standing.subscription.currency
    ):
        label = f"{subscribed.name_of(version)} · {subscribed.headline(version)}"
        if version.id == standing.version.id:
            label = gettext("%(plan)s (in force)", plan=label)
        found.append((version.plan_code, label))
    return found


def preview(
    door: Door,
    seen: Seen,
    standing: Standing,
    error: TenantryError | None,
    dearer_from: date | None = None,
) -> str:
    """This function will show what a change costs, with the form that confirms exactly that.

    `dearer_from` is from when it costs more, where staff must hold the customer's consent to it.
    """
    wished = seen.wish
    card = payment_methods.default_method(control_session=control(), tenant_id=door.tenant.id)
    asked = questions(door, wished, standing)
    return render_template(
        "changes/preview.html",
        **_frame(door, wished.verb, error),
        seen=seen,
        wish=wished,
        what=said(wished, standing),
        today=standing.today,
        currency=standing.subscription.currency,
        card=card,
        term_days=settings().payment_term_days,
        kept_days=settings().retention_days,
        reason=request.form.get("why", ""),
        typed=request.form,
        dearer_from=dearer_from,
        back_url=door.url("ask", verb=wished.verb.code, **_not_empty(wished.typed))
        if asked
        else door.home_url,
    )


def _not_empty(typed: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in typed.items() if value}


def said(wished: Wish, standing: Standing) -> list[tuple[str, str]]:
    """This function will say what was wished for, question by question, in words."""
    typed, found = wished.typed, []
    if "charge" in typed:
        found.append((gettext("Charge"), standing.charge_name(typed["charge"])))
    if "plan" in typed:
        offered = catalogue.offers(
            control_session=control(), currency=standing.subscription.currency
        )
        chosen = next((each for each in offered if each.plan_code == typed["plan"]), None)
        names = [subscribed.name_of(each) for each in (standing.version, chosen) if each]
        found.append((gettext("Plan"), " → ".join(names)))
    if "quantity" in typed:
        held = [item for item in standing.live if item.charge.code == typed.get("charge")]
        numbers = [number(item.quantity) for item in held] + [
            number(whole(typed["quantity"], field="quantity"))
        ]
        found.append((gettext("Quantity"), " → ".join(numbers)))
    if "billing_day" in typed:
        found.append((gettext("Day of the month"), typed["billing_day"]))
    if typed.get("credit"):
        words = gettext("not given back") if typed["credit"] == "no" else gettext("given back")
        found.append((gettext("What was paid ahead"), words))
    found.append(_effect(wished, standing))
    return found


def _effect(wished: Wish, standing: Standing) -> tuple[str, str]:
    """From when it holds: at once, or with the next period."""
    ends = wished.verb.code in ("cancel", "remove")
    later = wished.typed.get("when", "period_end" if wished.verb.code == "cancel" else "now")
    if later == "period_end" and standing.running_end:
        if ends:
            return gettext("Last day"), day(standing.running_end - timedelta(days=1))
        return gettext("In force from"), day(standing.running_end)
    label = gettext("Ends on") if ends else gettext("In force from")
    return label, gettext("%(day)s, at once", day=day(standing.today))
