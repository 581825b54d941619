"""The plan: what it costs and allows, how much is used, converting the trial, and cancelling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, TenantryError
from app.base.ids import uuid7
from app.base.money import Money
from app.web import live, papers, usage
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language, lazy
from app.web.portal.door import portal, portal_required
from app.web.portal.overview import version_of
from app.web.security import limiter
from app.web.site.prices import Offer, charges, offer, offers
from app.web.subscribed import require_right
from invoices import (
    catalogue,
    changes,
    coupons,
    gateway_accounts,
    parties,
    payment_methods,
    periods,
    rating,
    subscriptions,
    vat,
)
from invoices.catalogue import PlanNotOffered
from invoices.charges import Charge
from invoices.coupons import CouponRefused
from invoices.models import PlanVersion
from invoices.periods import Period
from invoices.rating import Stretch
from invoices.subscriptions import METHODS, ConversionConsent
from tenants.consents import Notice
from tenants.lifecycle import RETENTION_FOLLOWS

COUPON_LENGTH_MAX = 100
METHOD_NAMES = {"card": lazy("Card"), "transfer": lazy("Bank transfer")}


class NothingToConvert(Conflict):
    """The account pays already, or is closed for a reason that a subscription does not mend."""


@dataclass(frozen=True, slots=True)
class FirstLine:
    """One charge of the first bill; `period` is empty for what is asked for once."""

    name: str
    period: Period | None
    amount: Money


@dataclass(frozen=True, slots=True)
class FirstBill:
    """What is billed on the first day, and when the next bill comes."""

    starts_on: date
    next_on: date
    lines: tuple[FirstLine, ...]
    tax: Money
    total: Money


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
    ended = g.tenant.state == "suspended" and g.tenant.suspend_reason in RETENTION_FOLLOWS
    return g.tenant.state == "trialing" or ended


@portal.route("/plan/convert", methods=["GET", "POST"])
@portal_required
@limiter.limit("10/minute", methods=["POST"])
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
        _redeem(request.form.get("coupon", ""))
    except (Invalid, CouponRefused, subscriptions.TermsChanged) as error:
        control().rollback()
        return _convert_page(error), error.status
    control().commit()
    flash(gettext("Thank you. The subscription has begun and the workspace is open."), "good")
    return see_other(url_for("portal.plan"))


def _redeem(typed: str) -> None:
    """This function will give a coupon with the subscription: both begin, or neither does."""
    code = typed.replace("\x00", "").strip()[:COUPON_LENGTH_MAX]
    if not code:
        return
    try:
        coupons.redeem(
            control_session=control(),
            code=code,
            tenant_id=g.tenant.id,
            actor=g.actor,
            now=clock.now(),
        )
    except (Invalid, CouponRefused) as error:
        error.field = "coupon"
        raise


def _convert_page(error: TenantryError | None = None) -> str:
    chosen, method = _chosen(), _method()
    starts_on = clock.today(clock.now(), g.tenant.timezone)
    card = payment_methods.default_method(control_session=control(), tenant_id=g.tenant.id)
    notice = subscriptions.conversion_terms(
        version=chosen.version, language=language(), method=method, starts_on=starts_on
    )
    bill = first_bill(chosen.version, starts_on)
    return render_template(
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
        bill=bill,
        first_lines=[_money_line(line) for line in bill.lines],
        vat_percent=vat_percent(),
        term_days=settings().payment_term_days,
        error=error,
        coupon=request.form.get("coupon", ""),
    )


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


def first_bill(version: PlanVersion, starts_on: date) -> FirstBill:
    """This function will price the first day by the one rating: what is paid ahead, and its tax."""
    terms = catalogue.terms_of(version, position=0)
    begun = [each for each in terms.charges if not each.optional and each.kind != "one_off"]
    ahead = [each for each in begun if each.timing == "advance"]
    priced = [_first_line(each, terms.currency, starts_on) for each in ahead]
    applies = parties.vat_terms(parties.buyer_snapshot(tenant=g.tenant, email=""))
    supplies = vat.supplies(
        lines=[
            [vat.Part(line.amount.amount_minor, each.vat, each.vat_included)]
            for each, line in zip(ahead, priced, strict=True)
        ],
        terms=applies,
    )
    lines = tuple(
        replace(line, amount=Money(supply.amount_minor, terms.currency))
        for line, supply in zip(priced, supplies, strict=True)
    )
    tax = Money(vat.taxes(lines=supplies, terms=applies).total_minor, terms.currency)
    return FirstBill(
        starts_on=starts_on,
        next_on=min(
            periods.period(starts_on, 0, each.interval).end for each in begun if not each.once
        ),
        lines=lines,
        tax=tax,
        total=sum((line.amount for line in lines), tax),
    )


def _first_line(charge: Charge, currency: str, starts_on: date) -> FirstLine:
    period = periods.period(starts_on, 0, charge.interval)
    rated = rating.rate(
        price_id=uuid7(), charge=charge, currency=currency, stretch=Stretch.whole(period)
    )
    return FirstLine(
        name=charge.name_ko if language() == "ko" else charge.name_en,
        period=None if charge.once else period,
        amount=Money(rated.amount_minor, currency),
    )


def _money_line(line: FirstLine) -> dict[str, Any]:
    days = papers.days(line.period) if line.period else None
    return {
        "text": line.name,
        "note": gettext("%(days)s, billed today", days=days)
        if days
        else gettext("once, billed today"),
        "amount_minor": line.amount.amount_minor,
    }


def vat_percent() -> int:
    """This function will return the tax that comes on top for this tenant."""
    return parties.vat_percent({"vat_treatment": parties.vat_treatment(g.tenant.billing_profile)})


@portal.post("/plan/cancel")
@portal_required
def cancel() -> Any:
    """This function will end the subscription with the period that is running."""
    require_right("cancel")
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
