"""What a plan grants beside its limits, as the file writes it: features and quotas. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from invoices.catalogue_nodes import Entry
from invoices.charges import Meter
from invoices.plan_terms import PlanTerms
from tenants.grants import ALERTS_DEFAULT, BOUNDS, Quota

_QUOTA = (*BOUNDS, "alerts")
_TRUTHS = {"true": True, "false": False}


def features(entry: Entry) -> dict[str, bool | str]:
    """This function will read a plan's features, each true, false or words."""
    found = entry.entry("features", required=False)
    if found is None:
        return {}
    written = {name: found.text(name) or "" for name in found.names()}
    return {name: _TRUTHS.get(said, said) for name, said in written.items()}


def feature_names(entry: Entry) -> dict[str, tuple[str, str]]:
    """This function will read what a plan's features are called, in Korean and English."""
    found = entry.entry("feature_names", required=False)
    named: dict[str, tuple[str, str]] = {}
    for code in found.names() if found else ():
        words = found.entry(code) if found else None
        if words is not None:
            words.only(("ko", "en"))
            named[code] = words.text("ko") or "", words.text("en") or ""
    return named


def quotas(entry: Entry, meters: Mapping[str, Meter] | None) -> dict[str, Quota]:
    """This function will read a plan's quotas by meter; without `meters` any is let through."""
    found = entry.entry("quotas", required=False)
    if found is None:
        return {}
    quotas: dict[str, Quota] = {}
    for code in found.names():
        quota = found.entry(code)
        if quota is None:
            continue
        quota.only(_QUOTA)
        if meters is not None and (code not in meters or meters[code].by_day):
            found.fault(code, "No meter of events is called %(meter)s.", meter=code)
        bounds = {name: quota.number(name, required=False) for name in BOUNDS}
        quotas[code] = Quota(alerts=_alerts(quota), **bounds)
    return quotas


def _alerts(quota: Entry) -> tuple[int, ...]:
    if "alerts" not in quota:
        return ALERTS_DEFAULT
    written = quota.texts("alerts")
    if not all(each.isascii() and each.isdigit() and len(each) <= 4 for each in written):
        quota.fault("alerts", "Write percentages as whole numbers: [80, 100].")
        return ALERTS_DEFAULT
    return tuple(int(each) for each in written)


def entries_of(
    terms: PlanTerms,
    *,
    one_line: Callable[..., dict[str, Any]],
    number: Callable[[Decimal], Any],
) -> dict[str, Any]:
    """This function will return features, their names and quotas as the file has them, if any."""
    entry: dict[str, Any] = {}
    if terms.features:
        entry["features"] = dict(terms.features)
    if terms.feature_names:
        entry["feature_names"] = {
            code: one_line(ko=ko, en=en) for code, (ko, en) in terms.feature_names.items()
        }
    if terms.quotas:
        entry["quotas"] = {
            meter: one_line(_quota_entry(quota, number)) for meter, quota in terms.quotas.items()
        }
    return entry


def _quota_entry(quota: Quota, number: Callable[[Decimal], Any]) -> dict[str, Any]:
    bounds = {name: getattr(quota, name) for name in BOUNDS}
    entry = {name: number(bound) for name, bound in bounds.items() if bound is not None}
    if quota.alerts != ALERTS_DEFAULT:
        entry["alerts"] = list(quota.alerts)
    return entry
