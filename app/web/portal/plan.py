"""The plan: what it costs and allows, how much is used, converting the trial, and cancelling."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, TenantryError
from app.web import live, usage
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language, lazy
from app.web.portal.door import portal, portal_required
from app.web.portal.overview import version_of
from app.web.security import limiter
from app.web.site.prices import Offer, charges, offer, offers
from invoices import (
    catalogue,
    coupons,
    forecast,
    gateway_accounts,
    parties,
    payment_methods,
    periods,
    subscriptions,
)
from invoices.catalogue import PlanNotOffered
from invoices.coupons import CouponRefused
from invoices.forecast import ComingBill
from invoices.models import PlanVersion, Subscription
from invoices.subscriptions import METHODS, ConversionConsent
from tenants import lifecycle
from tenants.consents import Notice

COUPON_LENGTH_MAX = 100
METHOD_NAMES = {"card": lazy("Card"), "transfer": lazy("Bank transfer")}


class NothingToConvert(Conflict):
    """The account pays already, or is closed for a reason that a subscription does not mend."""


@portal.get("/plan")
@portal_required
def plan() -> str:
    """This function will show the plan that applies, its usage, and what can be changed."""
    now = clock.now()
    subscription = subscriptions.active(control_session=control(), tenant_id=g.tenant.id)
    version = version_of(subscription)
    return render_template(
        "portal/plan.html",
        subscription=subscription,
        offer=offer(version) if version else None,
        charges=charges(catalogue.terms_of(version, position=0)) if version else [],
        usage=usage.so_far(tenant=g.tenant, subscription=subscription, now=now),
        live=live.of(tenant=g.tenant, now=now),
        offers=offers(g.tenant.currency) if may_convert() else [],
        may_convert=may_convert(),
        running=subscriptions.current_period(subscription=subscription, now=now)
        if subscription
        else None,
        kept_days=settings().retention_days,
    )


def may_convert() -> bool:
    """This function will tell whether a subscription can begin: on trial, or after one's end."""
    return lifecycle.may_convert(g.tenant)


@portal.route("/plan/convert", methods=["GET", "POST"])
@portal_required
@limiter.limit("10/minute", methods=["POST"])
def convert() -> Any:
    """This function will show what subscribing means, and subscribe whoever agrees to it."""
    if not may_convert():
        raise NothingToConvert("There is no trial to convert. Your plan page shows what applies.")
    if request.method == "GET" or "look" in request.form:
        return _convert_page()
    now = clock.now()
    try:
        _begin(
            _chosen().code,
            ConversionConsent(
                accepted=request.form.get("accept") == "y",
                text_sha256=request.form.get("text_sha256", ""),
                language=request.form.get("language", ""),
                method=request.form.get("method", ""),
            ),
            _coupon(),
            now,
        )
    except (Invalid, CouponRefused, PlanNotOffered, subscriptions.TermsChanged) as error:
        control().rollback()
        return _convert_page(error)
    control().commit()
    flash(gettext("Thank you. The subscription has begun and the workspace is open."), "good")
    return see_other(url_for("portal.plan"))


def _begin(plan_code: str, consent: ConversionConsent, coupon: str, now: datetime) -> Subscription:
    """This function will give a coupon with the subscription: both begin, or neither does."""
    subscription = subscriptions.convert(
        control_session=control(),
        tenant_id=g.tenant.id,
        plan_code=plan_code,
        currency=g.tenant.currency,
        consent=consent,
        actor=g.actor,
        now=now,
    )
    if not coupon:
        return subscription
    try:
        coupons.redeem(
            control_session=control(), code=coupon, tenant_id=g.tenant.id, actor=g.actor, now=now
        )
    except (Invalid, CouponRefused) as error:
        error.field = "coupon"
        raise
    return subscription


def _coupon() -> str:
    return request.form.get("coupon", "").replace("\x00", "").strip()[:COUPON_LENGTH_MAX]


def _first_bills(version: PlanVersion, coupon: str, now: datetime) -> list[ComingBill]:
    """Today's bill and the one after, found by subscribing and taking that back.

    How it is paid changes no amount: no card need be registered to see them.
    """
    starts_on = clock.today(now, g.tenant.timezone)
    terms = subscriptions.conversion_terms(
        version=version, language=language(), method="transfer", starts_on=starts_on
    )
    consent = ConversionConsent(
        accepted=True, text_sha256=terms.sha256, language=terms.language, method="transfer"
    )
    recurring = (price for price in version.prices if price.kind == "recurring")
    return forecast.of_beginning(
        control_session=control(),
        tenant_id=g.tenant.id,
        begin=lambda: _begin(version.plan_code, consent, coupon, now),
        until=max(
            periods.period(starts_on, 0, catalogue.charge_of(price).interval).end
            for price in recurring
        ),
        bills_max=2,
        now=now,
    )


def _convert_page(error: TenantryError | None = None) -> Any:
    chosen, method, now = _chosen(), _method(), clock.now()
    starts_on = clock.today(now, g.tenant.timezone)
    try:
        found = _first_bills(chosen.version, _coupon(), now)
    except (Invalid, CouponRefused) as refused:
        if refused.field != "coupon":
            raise
        error = error or refused
        found = _first_bills(chosen.version, "", now)
    card = payment_methods.default_method(control_session=control(), tenant_id=g.tenant.id)
    notice = subscriptions.conversion_terms(
        version=chosen.version, language=language(), method=method, starts_on=starts_on
    )
    page = render_template(
        "portal/convert.html",
        offer_tabs=[
            {
                "label": each.name,
                "url": url_for("portal.convert", plan=each.code, method=method),
                "active": each.code == chosen.code,
            }
            for each in offers(g.tenant.currency)
        ],
        method_tabs=[
            {
                "label": METHOD_NAMES[name],
                "url": url_for("portal.convert", plan=chosen.code, method=name),
                "active": name == method,
            }
            for name in METHODS
        ],
        chosen=chosen,
        charges=charges(chosen.terms),
        method=method,
        card=card,
        choices=gateway_accounts.choices(control_session=control(), currency=g.tenant.currency),
        notice=notice,
        terms=sections(notice),
        starts_on=starts_on,
        currency=g.tenant.currency,
        first=next((each for each in found if each.bill_on <= starts_on), None),
        following=next((each for each in found if each.bill_on > starts_on), None),
        vat_percent=vat_percent(),
        term_days=settings().payment_term_days,
        error=error,
        coupon=_coupon(),
    )
    return (page, error.status) if error else page


def _chosen() -> Offer:
    found = offers(g.tenant.currency)
    wanted = request.values.get("plan", g.tenant.plan_code)
    for each in found:
        if each.code == wanted:
            return each
    if not found:
        raise PlanNotOffered("There is no plan on offer in your currency. Please write to us.")
    return found[0]


def _method() -> str:
    wanted = request.values.get("method", "card")
    return wanted if wanted in METHODS else "card"


def sections(notice: Notice) -> list[tuple[str, list[str]]]:
    """This function will part the terms at their headings; nothing of the text is left out."""
    found: list[tuple[str, list[str]]] = []
    for line in notice.text.splitlines():
        if line.startswith("#"):
            found.append((line.lstrip("# "), []))
        elif line.strip():
            found[-1][1].append(line.removeprefix("- "))
    return found


def vat_percent() -> int:
    """This function will return the tax that comes on top for this tenant."""
    return parties.vat_percent({"vat_treatment": parties.vat_treatment(g.tenant.billing_profile)})
