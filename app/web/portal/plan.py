"""The plan: what it costs and allows, how much is used, converting the trial, and cancelling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, TenantryError
from app.base.money import Money
from app.web import live, usage
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language, lazy
from app.web.portal.door import portal, portal_required
from app.web.portal.overview import version_of
from app.web.site.prices import Offer, offers
from invoices import catalogue, changes, parties, payment_methods, periods, rating, subscriptions
from invoices.catalogue import PlanNotOffered
from invoices.models import PlanVersion
from invoices.periods import Period
from invoices.rating import Stretch
from invoices.subscriptions import METHODS, ConversionConsent
from tenants.consents import Notice
from tenants.lifecycle import RETENTION_FOLLOWS

METHOD_NAMES = {"card": lazy("Card"), "transfer": lazy("Bank transfer")}


class NothingToConvert(Conflict):
    """The account pays already, or is closed for a reason that a subscription does not mend."""


@dataclass(frozen=True, slots=True)
class FirstBill:
    """What is billed on the first day, and when the next bill comes."""

    period: Period
    base: Money
    tax: Money
    total: Money

    @property
    def starts_on(self) -> date:
        """The day on which the subscription begins: today."""
        return self.period.start

    @property
    def next_on(self) -> date:
        """The day of the next bill."""
        return self.period.end


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
        prices=offer_of(version) if version else None,
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
    ended = g.tenant.state == "suspended" and g.tenant.suspend_reason in RETENTION_FOLLOWS
    return g.tenant.state == "trialing" or ended


def offer_of(version: PlanVersion) -> dict[str, Any]:
    """This function will return a version's prices and limits in words of money."""
    prices = {}
    for charge in ("base", "seats", "storage"):
        price = catalogue.price_of(version, charge)
        prices[charge] = {
            "amount": subscriptions.unit_price(version, charge),
            "included": int(price.included) if price else 0,
        }
    limits = catalogue.limits_of(version)
    return {
        "name": version.name_ko if language() == "ko" else version.name_en,
        "prices": prices,
        "seats_max": limits["seats"],
        "storage_max_gb": limits["storage_bytes"] // usage.GIGABYTE,
    }


@portal.route("/plan/convert", methods=["GET", "POST"])
@portal_required
def convert() -> Any:
    """This function will show what subscribing means, and subscribe whoever agrees to it."""
    if not may_convert():
        raise NothingToConvert("There is no trial to convert. Your plan page shows what applies.")
    if request.method == "GET":
        return _convert_page()
    try:
        subscriptions.convert(
            control_session=control(),
            tenant_id=g.tenant.id,
            plan_code=_chosen().code,
            currency=g.tenant.currency,
            consent=ConversionConsent(
                accepted=request.form.get("accept") == "y",
                text_sha256=request.form.get("text_sha256", ""),
                language=request.form.get("language", ""),
                method=request.form.get("method", ""),
            ),
            actor=g.actor,
            now=clock.now(),
        )
    except (Invalid, subscriptions.TermsChanged) as error:
        control().rollback()
        return _convert_page(error), error.status
    control().commit()
    flash(gettext("Thank you. The subscription has begun and the workspace is open."), "good")
    return see_other(url_for("portal.plan"))


def _convert_page(error: TenantryError | None = None) -> str:
    chosen, method = _chosen(), _method()
    starts_on = clock.today(clock.now(), g.tenant.timezone)
    card = payment_methods.default_method(control_session=control(), tenant_id=g.tenant.id)
    notice = subscriptions.conversion_terms(
        version=chosen.version, language=language(), method=method, starts_on=starts_on
    )
    return render_template(
        "portal/convert.html",
        offer_tabs=[
            {
                "label": offer.name,
                "url": url_for("portal.convert", plan=offer.code, method=method),
                "active": offer.code == chosen.code,
            }
            for offer in offers(g.tenant.currency)
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
        method=method,
        card=card,
        notice=notice,
        terms=sections(notice),
        bill=first_bill(chosen.version, starts_on),
        vat_percent=vat_percent(),
        term_days=settings().payment_term_days,
        error=error,
    )


def _chosen() -> Offer:
    found = offers(g.tenant.currency)
    wanted = request.values.get("plan", g.tenant.plan_code)
    for offer in found:
        if offer.code == wanted:
            return offer
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


def first_bill(version: PlanVersion, starts_on: date) -> FirstBill:
    """This function will price the first day by the one rating: the base fee and its tax."""
    zero = Money.zero(version.currency)
    first = periods.period(starts_on, 0)
    amounts = [
        rating.rate(
            price_id=price.id,
            charge=catalogue.charge_of(price),
            currency=version.currency,
            stretch=Stretch.whole(first),
        ).amount_minor
        for price in version.prices
        if price.timing == "advance" and not price.optional and price.kind != "one_off"
    ]
    taxes = rating.taxes(
        amounts_minor=amounts,
        rate_percent=vat_percent(),
        rounding=settings().vat_rounding,
    )
    base = sum((Money(amount, version.currency) for amount in amounts), zero)
    tax = Money(taxes.total_minor, version.currency)
    return FirstBill(first, base, tax, base + tax)


def vat_percent() -> int:
    """This function will return the tax that comes on top for this tenant."""
    return parties.vat_percent({"vat_treatment": parties.vat_treatment(g.tenant.billing_profile)})


@portal.post("/plan/cancel")
@portal_required
def cancel() -> Any:
    """This function will end the subscription with the period that is running."""
    ended = changes.cancel(
        control_session=control(),
        tenant_id=g.tenant.id,
        when="period_end",
        actor=g.actor,
        now=clock.now(),
        why=request.form.get("why", "").replace("\x00", "").strip()[:500] or None,
    )
    control().commit()
    flash(
        gettext("Cancelled. You may use everything until %(day)s.", day=str(ended.ends_on)), "good"
    )
    return see_other(url_for("portal.plan"))
