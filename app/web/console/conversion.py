"""Subscribing on a customer's behalf: another first day, and the consent as it was given to us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid, TenantryError
from app.web import bills, subscribed
from app.web.auth import see_other, staff_required
from app.web.changing import REASON_LENGTH_MAX, MoneyChanged
from app.web.console.subscription import console_subscription, may_convert, tenant_of
from app.web.console.tenants import CARERS
from app.web.db import control
from app.web.i18n import gettext
from app.web.refusals import words_of
from app.web.wishes import FIELD_LENGTH_MAX
from invoices import (
    catalogue,
    coupons,
    fingerprints,
    forecast,
    payment_methods,
    periods,
    subscriptions,
)
from invoices.catalogue import PlanNotOffered
from invoices.forecast import ComingBill
from invoices.models import Subscription
from invoices.subscriptions import ConversionConsent
from tenants.consents import Notice
from tenants.models import Tenant
from tenants.texts import one_line

BILLS_SHOWN_MAX = 6
FIELDS = ("plan", "starts_on", "method", "coupon")


class NothingToConvert(Conflict):
    """The account pays already, or is closed for a reason that a subscription does not mend."""


class NotADay(Invalid):
    """What should be a day is none."""


class GiverMissing(Invalid):
    """A consent that we write down for somebody names who gave it."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed on, as it was typed and as it reads."""

    typed: Mapping[str, str]
    starts_on: date
    notice: Notice


@console_subscription.get("/convert")
@staff_required(*CARERS)
def convert(tenant_id: UUID) -> str:
    """This function will ask for plan, first day and way of paying."""
    return _question_page(_convertible(tenant_id), _typed(request.args))


@console_subscription.get("/convert/preview")
@staff_required(*CARERS)
def preview_conversion(tenant_id: UUID) -> Any:
    """This function will show the terms and the first bills, and ask for the consent."""
    return _previewed(_convertible(tenant_id), _typed(request.args))


@console_subscription.post("/convert")
@staff_required(*CARERS)
def confirm_conversion(tenant_id: UUID) -> Any:
    """This function will begin the subscription that was previewed, with its consent."""
    tenant, typed, now = _convertible(tenant_id), _typed(request.form), clock.now()
    given_by = one_line(request.form.get("given_by", ""))[:REASON_LENGTH_MAX]
    try:
        terms = _terms(tenant, typed, now)
        if fingerprint(_bills(tenant, terms, now)) != request.form.get("fingerprint", ""):
            raise MoneyChanged(
                "The amounts have changed since you looked. Nothing was done: please look again."
            )
        if not given_by:
            raise GiverMissing("Please say who gave the consent, how and when.", field="given_by")
        _convert(
            tenant,
            terms,
            now,
            given_by=given_by,
            accepted=request.form.get("accept") == "y",
            text_sha256=request.form.get("text_sha256", ""),
        )
        control().commit()
    except (
        MoneyChanged,
        GiverMissing,
        subscriptions.ConsentMissing,
        subscriptions.TermsChanged,
    ) as error:
        control().rollback()
        return _previewed(tenant_of(tenant_id), typed, error)
    except (Invalid, Conflict, PlanNotOffered) as error:
        control().rollback()
        return _question_page(tenant_of(tenant_id), typed, error), _status(error)
    flash(gettext("The subscription is agreed on and its consent recorded."), "good")
    return see_other(url_for(".details", tenant_id=tenant_id))


def _convertible(tenant_id: UUID) -> Tenant:
    tenant = tenant_of(tenant_id)
    known = subscriptions.active(control_session=control(), tenant_id=tenant_id)
    if not may_convert(tenant) or known is not None:
        raise NothingToConvert("There is no trial to convert, or a subscription already.")
    return tenant


def _typed(given: Mapping[str, str]) -> dict[str, str]:
    return {name: one_line(given.get(name, ""))[:FIELD_LENGTH_MAX] for name in FIELDS}


def _terms(tenant: Tenant, typed: Mapping[str, str], now: datetime) -> Terms:
    version = catalogue.current(
        control_session=control(), plan_code=typed["plan"], currency=tenant.currency
    )
    try:
        starts_on = date.fromisoformat(typed["starts_on"])
    except ValueError:
        raise NotADay("Give a day like 2026-11-20.", field="starts_on") from None
    _check_start(tenant, starts_on, now)
    notice = subscriptions.conversion_terms(
        version=version, language=tenant.language, method=typed["method"], starts_on=starts_on
    )
    return Terms(typed, starts_on, notice)


def _check_start(tenant: Tenant, starts_on: date, now: datetime) -> None:
    """The room refuses the same; here it is said with both days in the reader's language."""
    first, last = _start_bounds(tenant, now)
    if not first <= starts_on <= last:
        told = gettext("Start between %(first)s and %(last)s.", first=first, last=last)
        raise subscriptions.StartUnsound(told, field="starts_on")


def _start_bounds(tenant: Tenant, now: datetime) -> tuple[date, date]:
    today = clock.today(now, tenant.timezone)
    first = subscriptions.earliest_start(control_session=control(), tenant=tenant)
    return first or today, today + timedelta(days=subscriptions.START_AHEAD_DAYS_MAX)


def _convert(
    tenant: Tenant,
    terms: Terms,
    now: datetime,
    *,
    given_by: str,
    accepted: bool,
    text_sha256: str,
) -> Subscription:
    subscription = subscriptions.convert(
        control_session=control(),
        tenant_id=tenant.id,
        plan_code=terms.typed["plan"],
        currency=tenant.currency,
        consent=ConversionConsent(
            accepted=accepted,
            text_sha256=text_sha256,
            language=terms.notice.language,
            method=terms.typed["method"],
            channel="staff",
            given_by=given_by,
        ),
        actor=g.actor,
        now=now,
        starts_on=terms.starts_on,
    )
    if terms.typed["coupon"]:
        _redeem(tenant, terms, now)
    return subscription


def _redeem(tenant: Tenant, terms: Terms, now: datetime) -> None:
    """The coupon holds from the first bill, also of a subscription that began before today."""
    try:
        coupons.redeem(
            control_session=control(),
            code=terms.typed["coupon"],
            tenant_id=tenant.id,
            actor=g.actor,
            now=now,
            starts_on=min(terms.starts_on, clock.today(now, tenant.timezone)),
        )
    except (Invalid, Conflict) as error:
        error.field = "coupon"
        raise


def _bills(tenant: Tenant, terms: Terms, now: datetime) -> list[ComingBill]:
    """The first bills, found by subscribing and taking that back."""
    return forecast.of_beginning(
        control_session=control(),
        tenant_id=tenant.id,
        begin=lambda: _convert(
            tenant, terms, now, given_by="-", accepted=True, text_sha256=terms.notice.sha256
        ),
        until=periods.months_after(max(terms.starts_on, clock.today(now, tenant.timezone)), 2),
        bills_max=BILLS_SHOWN_MAX,
        now=now,
    )


def fingerprint(found: list[ComingBill]) -> str:
    """This function will fingerprint the bills that are shown."""
    return fingerprints.sha256([bills.facts(each) for each in found])


def _status(error: TenantryError) -> int:
    return Invalid.status if isinstance(error, PlanNotOffered) else error.status


def _previewed(tenant: Tenant, typed: dict[str, str], error: TenantryError | None = None) -> Any:
    now = clock.now()
    try:
        terms = _terms(tenant, typed, now)
        found = _bills(tenant, terms, now)
    except (Invalid, Conflict, PlanNotOffered) as refused:
        control().rollback()
        return _question_page(tenant_of(tenant.id), typed, refused), _status(refused)
    page = render_template(
        "console/subscription/conversion.html",
        tenant=tenant,
        typed=typed,
        notice=terms.notice,
        starts_on=terms.starts_on,
        today=clock.today(now, tenant.timezone),
        bills=found,
        fingerprint=fingerprint(found),
        sent=request.form,
        error=error,
        told=words_of(error) if error else "",
    )
    return (page, error.status) if error else page


def _question_page(
    tenant: Tenant, typed: dict[str, str], error: TenantryError | None = None
) -> str:
    now = clock.now()
    card = payment_methods.default_method(control_session=control(), tenant_id=tenant.id)
    offered = catalogue.offers(control_session=control(), currency=tenant.currency)
    first, last = _start_bounds(tenant, now)
    return render_template(
        "console/subscription/convert.html",
        tenant=tenant,
        typed=typed,
        plans=[
            (each.plan_code, f"{subscribed.name_of(each)} · {subscribed.headline(each)}")
            for each in offered
        ],
        today=clock.today(now, tenant.timezone),
        first=first,
        last=last,
        card=card,
        error=error,
        failed="plan" if isinstance(error, PlanNotOffered) else (error.field if error else ""),
        told=words_of(error) if error else "",
    )
