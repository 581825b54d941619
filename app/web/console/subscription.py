"""A customer's subscription: what is in force, what was changed, what comes, and every change.

Sales and finance act, everybody of us may look; each act has a reason and a preview of its money.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid
from app.web import changing, subscribed
from app.web.auth import see_other, staff_required
from app.web.change_pages import Door
from app.web.console.tenant_acts import REASON_LENGTH_MAX
from app.web.console.tenants import CARERS, NoSuchTenant
from app.web.db import control
from app.web.i18n import gettext
from app.web.refusals import words_of
from app.web.sentences import say
from app.web.site import prices
from app.web.subscription_story import coming, history
from app.web.wishes import VERBS
from invoices import catalogue, currencies
from tenants import lifecycle
from tenants.models import Tenant
from tenants.texts import one_line

console_subscription = Blueprint(
    "console_subscription",
    __name__,
    url_prefix="/console/tenants/<uuid:tenant_id>/subscription",
)


@console_subscription.get("")
@staff_required()
def details(tenant_id: UUID) -> str:
    """This function will show what a tenant is subscribed to, its past and its year to come."""
    tenant = tenant_of(tenant_id)
    standing = subscribed.standing(tenant_id=tenant_id, now=clock.now())
    may_act = g.staff.role in (*CARERS, "admin")
    return render_template(
        "console/subscription/details.html",
        tenant=tenant,
        standing=standing,
        rows=subscribed.rows(standing) if standing else [],
        verbs={code: VERBS[code] for code in standing.possible()} if standing and may_act else {},
        coming=coming(standing) if standing else [],
        story=history(tenant_id=tenant_id, staff=True),
        may_act=may_act,
        may_convert=may_convert(tenant) and standing is None,
    )


def tenant_of(tenant_id: UUID) -> Tenant:
    """This function will return the tenant that an address names.

    Raises: NoSuchTenant.
    """
    found = control().get(Tenant, tenant_id)
    if found is None:
        raise NoSuchTenant("There is no such company.")
    return found


def may_convert(tenant: Tenant) -> bool:
    """This function will tell whether a subscription can begin: on trial, or after one's end."""
    return lifecycle.may_convert(tenant)


@console_subscription.get("/change/<verb>")
@staff_required(*CARERS)
def change(tenant_id: UUID, verb: str) -> Any:
    """This function will ask what a change has to know, or show its preview."""
    return changing.ask(_door(tenant_id), verb)


@console_subscription.get("/change/<verb>/preview")
@staff_required(*CARERS)
def preview_change(tenant_id: UUID, verb: str) -> Any:
    """This function will show what a change costs."""
    return changing.preview(_door(tenant_id), verb)


@console_subscription.post("/change/<verb>")
@staff_required(*CARERS)
def confirm_change(tenant_id: UUID, verb: str) -> Any:
    """This function will make a change that was previewed."""
    return changing.confirm(_door(tenant_id), verb)


_PAGES = {"ask": ".change", "preview": ".preview_change", "confirm": ".confirm_change"}


def _door(tenant_id: UUID) -> Door:
    tenant = tenant_of(tenant_id)
    return Door(
        tenant=tenant,
        actor=g.actor,
        staff=True,
        layout="layout/console.html",
        section="tenants",
        home_url=url_for(".details", tenant_id=tenant_id),
        home_label=gettext("Subscription of %(company)s", company=tenant.name),
        url=lambda page, **values: url_for(_PAGES[page], tenant_id=tenant_id, **values),
        # What makes sense is checked by all doors; staff of these roles may do all of it.
        check=lambda _code, _standing: None,
    )


@console_subscription.route("/currency", methods=["GET", "POST"])
@staff_required(*CARERS)
def currency(tenant_id: UUID) -> Any:
    """This function will bill a tenant in another currency, as long as no money is open."""
    tenant = tenant_of(tenant_id)
    if request.method == "GET":
        return _currency_page(tenant)
    why = one_line(request.form.get("why", ""))[:REASON_LENGTH_MAX]
    try:
        if not why:
            raise changing.ReasonMissing(
                "Please say why: it is written to the audit trail.", field="why"
            )
        currencies.change_currency(
            control_session=control(),
            tenant_id=tenant_id,
            currency=request.form.get("currency", ""),
            actor=g.actor,
            now=clock.now(),
            why=why,
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        return _currency_page(tenant_of(tenant_id), error), error.status
    control().commit()
    flash(gettext("The next subscription is billed in the new currency."), "good")
    return see_other(url_for(".details", tenant_id=tenant_id))


def _currency_page(tenant: Tenant, error: Invalid | Conflict | None = None) -> str:
    return render_template(
        "console/subscription/currency.html",
        tenant=tenant,
        obstacles=[
            say(words)
            for words in currencies.obstacles(control_session=control(), tenant_id=tenant.id)
        ],
        options=[
            (code, _priced(tenant, code)) for code in prices.currencies() if code != tenant.currency
        ],
        typed=request.form,
        error=error,
        told=words_of(error) if error else "",
    )


def _priced(tenant: Tenant, code: str) -> str:
    """A currency with what the tenant's plan costs in it: all that a preview could show."""
    offered = catalogue.offers(control_session=control(), currency=code)
    found = next((each for each in offered if each.plan_code == tenant.plan_code), None)
    if found is None:
        return gettext("%(currency)s · its plan is not sold in it", currency=code)
    return f"{code} · {subscribed.name_of(found)}, {subscribed.headline(found)}"
