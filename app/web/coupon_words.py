"""Coupons and credits in words: what is taken off, for how long, of what, and how it stands."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from app.base.money import Money
from app.web.contract_words import charge_names, plan_names
from app.web.format import number
from app.web.i18n import gettext, lazy, ngettext
from invoices.fingerprints import plain_decimal
from invoices.models import CouponOffer, CreditGrant

KIND_NAMES = {
    "percentage": lazy("Percentage"),
    "amount": lazy("Fixed amount"),
    "free_units": lazy("Free units"),
    "months_free": lazy("Months free"),
}
DURATION_NAMES = {
    "once": lazy("One bill"),
    "months": lazy("A number of months"),
    "forever": lazy("For ever"),
}
STATE_NAMES = {
    "offered": (lazy("On offer"), "good", "done"),
    "scheduled": (lazy("Not yet"), "info", "clock"),
    "used_up": (lazy("Used up"), "calm", "slash"),
    "expired": (lazy("Expired"), "calm", "slash"),
    "retired": (lazy("Retired"), "calm", "slash"),
}
SOURCE_NAMES = {
    "purchase": lazy("Bought ahead"),
    "promotion": lazy("Promotion"),
    "adjustment": lazy("Adjustment"),
    "change": lazy("Carried over from a bill"),
    "rollover": lazy("Rolled over"),
    "overpayment": lazy("Paid beyond an invoice"),
    "credit_note": lazy("From a credit note"),
}


def off(offer: CouponOffer) -> str:
    """This function will say what a coupon takes off, and of what."""
    scope = charge_names(offer.charges, offer.plans)
    if offer.kind == "free_units":
        return gettext(
            "%(units)s units of %(charge)s free", units=_plain(offer.units), charge=scope
        )
    if offer.kind == "months_free":
        said = ngettext("%(num)d month free", "%(num)d months free", offer.months)
    elif offer.kind == "percentage":
        said = gettext("%(percent)s%% off", percent=_plain(offer.percent))
    else:
        money = Money(offer.amount_minor, offer.currency or "KRW")
        said = gettext("%(money)s off", money=money)
    return f"{said} ({scope})" if scope else said


def lasts(offer: CouponOffer) -> str:
    """This function will say for how long a coupon takes something off."""
    if offer.kind == "months_free":
        return gettext("From the first period after it")
    if offer.duration == "once":
        return gettext("One bill")
    if offer.duration == "forever":
        return gettext("For ever")
    return ngettext("Bills of %(num)d month", "Bills of %(num)d months", offer.months)


def for_whom(offer: CouponOffer) -> str:
    """This function will say whom a coupon is for, or nothing when it is for everybody."""
    said = [plan_names(offer.plans)] if offer.plans else []
    if offer.currency and offer.kind != "amount":
        said.append(offer.currency)
    if offer.first_time_only:
        said.append(gettext("new customers"))
    return " · ".join(said)


def rollover(grant: CreditGrant) -> str:
    """This function will say what of a credit lives on at its expiry."""
    if grant.rollover_percent is None:
        return ""
    said = gettext("%(percent)s%% rolls over", percent=_plain(grant.rollover_percent))
    if grant.rollover_max_minor is not None:
        most = Money(grant.rollover_max_minor, grant.currency)
        said += ", " + gettext("%(money)s at most", money=most)
    if grant.rollover_days is not None:
        said += ", " + gettext("for %(days)s days", days=number(grant.rollover_days))
    return said


def standing(grant: CreditGrant, today: date) -> str:
    """This function will tell whether a credit is open, used up, expired or revoked."""
    if grant.revoked_at is not None:
        return "revoked"
    if not grant.left_minor:
        return "expired" if grant.lapsed_minor else "used_up"
    return "expired" if grant.expires_on is not None and grant.expires_on <= today else "open"


def _plain(value: Decimal) -> str:
    """A stored decimal without the zeros that its column pads it with."""
    return number(Decimal(plain_decimal(value)))
