"""The coupons on offer: who may have them, how many did, and new ones."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from app.base import clock
from app.base.config import settings
from app.base.errors import Invalid, TenantryError
from app.web import coupon_words
from app.web.auth import see_other, staff_required
from app.web.console.typed import a_day, a_number, an_amount, whole
from app.web.db import control
from app.web.i18n import gettext
from invoices import coupons
from invoices.coupons import Availability
from invoices.discounts import Coupon
from invoices.periods import midnight
from tenants.texts import one_line

console_coupons = Blueprint("console_coupons", __name__, url_prefix="/console/coupons")

FINANCE = ("finance",)
CURRENCIES = ("KRW", "USD")
_ZERO = Decimal(0)


@console_coupons.get("")
@staff_required()
def index() -> str:
    """This function will list every coupon with its terms and how many have it."""
    return _page()


def _page(*, form: MultiDict[str, str] | None = None, error: TenantryError | None = None) -> str:
    rows, now = coupons.listed(control_session=control()), clock.now()
    return render_template(
        "console/coupons/list.html",
        rows=rows,
        states={row.id: coupons.state(row, now) for row in rows},
        words=coupon_words,
        may_act=g.staff.role in ("finance", "admin"),
        currencies=[("", gettext("Any")), *((each, each) for each in CURRENCIES)],
        typed=form or MultiDict(),
        error=error,
        told=gettext(error.message) if error else "",
    )


@console_coupons.post("")
@staff_required(*FINANCE)
def create() -> Any:
    """This function will offer a new coupon."""
    try:
        offer = coupons.create(
            control_session=control(),
            coupon=_coupon(),
            availability=_availability(),
            actor=g.actor,
            now=clock.now(),
        )
    except Invalid as error:
        control().rollback()
        return _page(form=request.form, error=error), error.status
    control().commit()
    flash(gettext("The coupon %(code)s is on offer.", code=offer.code), "good")
    return see_other(url_for(".index"))


def _coupon() -> Coupon:
    """What was typed; only what the kind uses is read."""
    kind, form = request.form.get("kind", ""), request.form
    duration = "months" if kind == "months_free" else form.get("duration", "")
    currency = form.get("currency", "") if form.get("currency") in CURRENCIES else ""
    return Coupon(
        code=form.get("code", "").strip().upper(),
        name_ko=one_line(form.get("name_ko", "")),
        name_en=one_line(form.get("name_en", "")),
        kind=kind,
        percent=a_number(form.get("percent", ""), "percent") if kind == "percentage" else _ZERO,
        amount_minor=an_amount(form.get("amount", ""), currency or "KRW", "amount").amount_minor
        if kind == "amount"
        else 0,
        currency=currency or None,
        units=a_number(form.get("units", ""), "units") if kind == "free_units" else _ZERO,
        plans=_codes("plans"),
        charges=_codes("charges"),
        duration=duration,
        months=_whole("months", 0) if duration == "months" else 0,
        priority=_whole("priority", 100),
    )


def _whole(field: str, otherwise: int) -> int:
    typed = whole(request.form.get(field, ""), field)
    return otherwise if typed is None else typed


def _codes(field: str) -> tuple[str, ...]:
    parts = request.form.get(field, "").replace("\x00", "").lower().replace(",", " ").split()
    return tuple(dict.fromkeys(parts))[:50]


def _availability() -> Availability:
    return Availability(
        starts_at=_moment("starts_on"),
        expires_at=_moment("expires_on"),
        max_redemptions=whole(request.form.get("max_redemptions", ""), "max_redemptions"),
        per_customer_max=_whole("per_customer_max", 1),
        first_time_only=request.form.get("first_time_only") == "y",
    )


def _moment(field: str) -> datetime | None:
    """The beginning of a typed day; a coupon that ends on a day is not redeemed on it any more."""
    day = a_day(request.form.get(field, ""), field)
    return midnight(day, settings().contract_timezone) if day else None


@console_coupons.post("/<uuid:coupon_id>/retire")
@staff_required(*FINANCE)
def retire(coupon_id: UUID) -> Any:
    """This function will take a coupon off offer."""
    coupons.retire(control_session=control(), coupon_id=coupon_id, actor=g.actor, now=clock.now())
    control().commit()
    flash(gettext("The coupon is not offered any more. Whoever has it keeps it."), "good")
    return see_other(url_for(".index"))
