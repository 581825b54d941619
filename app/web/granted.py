"""What a plan grants beside its limits, in words: its features, and its quotas a month."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from app.web.db import control
from app.web.format import number
from app.web.i18n import gettext, language, lazy
from invoices.plan_terms import PlanTerms
from tenants import meters
from tenants.grants import Quota

# Features are codes that programs ask for. Usual ones read as people say them, others as written.
_FEATURES = {
    "api": lazy("API"),
    "audit_log": lazy("Audit log"),
    "backups": lazy("Backups"),
    "custom_domain": lazy("Own domain"),
    "export": lazy("Export"),
    "scim": lazy("User provisioning (SCIM)"),
    "sla": lazy("Service level agreement"),
    "sso": lazy("Single sign-on (SSO)"),
    "support": lazy("Support"),
    "webhooks": lazy("Webhooks"),
}
_WORDS = {
    "basic": lazy("basic"),
    "business_hours": lazy("in business hours"),
    "community": lazy("by the community"),
    "daily": lazy("daily"),
    "email": lazy("by e-mail"),
    "hourly": lazy("hourly"),
    "phone": lazy("by phone"),
    "premium": lazy("premium"),
    "priority": lazy("with priority"),
    "standard": lazy("standard"),
    "weekdays": lazy("on weekdays"),
    "weekly": lazy("weekly"),
}
# What a meter's unit is called beside a figure; others stand as they were declared.
_UNITS = {
    "call": lazy("calls"),
    "device": lazy("devices"),
    "event": lazy("events"),
    "file": lazy("files"),
    "hour": lazy("hours"),
    "image": lazy("images"),
    "job": lazy("jobs"),
    "message": lazy("messages"),
    "minute": lazy("minutes"),
    "page": lazy("pages"),
    "request": lazy("requests"),
    "seat": lazy("people"),
    "second": lazy("seconds"),
    "token": lazy("tokens"),
    "user": lazy("people"),
}


def feature(code: str, names: Mapping[str, tuple[str, str]]) -> str:
    """This function will name a feature: as the price list does, as usual, or by its code."""
    if code in names:
        return names[code][language() != "ko"]
    known = _FEATURES.get(code.replace("-", "_"))
    return str(known) if known is not None else code.replace("_", " ").replace("-", " ")


def worth(value: bool | str) -> str:
    """This function will say what a feature is: on, off, or words."""
    if isinstance(value, bool):
        return gettext("On") if value else gettext("Off")
    return str(_WORDS.get(value, value))


def unit(declared: str) -> str:
    """This function will say a meter's unit as it stands behind a figure."""
    return str(_UNITS.get(declared, declared))


def lines(terms: PlanTerms) -> list[str]:
    """This function will say what a plan grants, one line each; what is off is not said."""
    said = [
        name if value is True else f"{name}: {worth(value)}"
        for code, value in terms.features.items()
        if value is not False and (name := feature(code, terms.feature_names))
    ]
    known = meters.current(control_session=control()) if terms.quotas else {}
    for code, quota in terms.quotas.items():
        definition = known.get(code)
        if definition is None:
            continue  # a meter that was withdrawn: nothing is counted
        name = definition.name_ko if language() == "ko" else definition.name_en
        said.append(f"{name}: {_bound(quota, unit(definition.unit))}")
    return said


def _bound(quota: Quota, units: str) -> str:
    if quota.hard is not None:
        return gettext("up to %(count)s a month", count=_counted(quota.hard, units))
    soft = quota.soft if quota.soft is not None else Decimal(0)
    return gettext("%(count)s a month, and word when it is more", count=_counted(soft, units))


def _counted(count: Decimal, units: str) -> str:
    return gettext("%(count)s %(units)s", count=number(count), units=units).strip()
