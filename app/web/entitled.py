"""What a tenant may use, in words for a page: each value, what is used, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from app.web import granted
from app.web.db import control
from app.web.format import day, filesize, number
from app.web.i18n import gettext, language, lazy
from invoices import catalogue
from tenants import entitlement_sheet, grants, meters, quotas
from tenants.entitlement_models import QuotaAlert
from tenants.entitlement_sheet import Limit, QuotaState, Standing
from tenants.models import LIVE_STATES, Tenant

ALERTS_SHOWN = 10
KIND_NAMES = {
    "feature": lazy("Feature"),
    "limit": lazy("Limit"),
    "quota": lazy("Monthly quota"),
}
_LIMIT_NAMES = {grants.SEATS: lazy("Seats"), grants.STORAGE_BYTES: lazy("Storage")}


@dataclass(frozen=True, slots=True)
class Line:
    """One thing a tenant may use; `tone` says how near its end is."""

    kind: str
    code: str
    name: str
    value: str
    used: str
    tone: str
    override: Standing | None


@dataclass(frozen=True, slots=True)
class Entitled:
    """The lines of the section, and the thresholds that were reached lately."""

    lines: list[Line]
    alerts: list[str]


def of(*, tenant: Tenant, now: datetime) -> Entitled | None:
    """This function will say what a live tenant may use; nothing for one that is not live."""
    if tenant.state not in LIVE_STATES:
        return None
    sheet = entitlement_sheet.of_tenant(control_session=control(), tenant=str(tenant.id), now=now)
    known = meters.current(control_session=control()) if sheet.quotas else {}
    names = {
        code: each.name_ko if language() == "ko" else each.name_en for code, each in known.items()
    }
    lines = [_limit(each) for each in sheet.limits]
    lines += [_quota(each, names.get(each.meter, each.meter)) for each in sheet.quotas]
    called = catalogue.feature_names(control_session=control()) if sheet.features else {}
    for each in sheet.features:
        name, value = granted.feature(each.code, called), granted.worth(each.value)
        lines.append(Line("feature", each.code, name, value, "", "", each.override))
    return Entitled(lines, _alerts(tenant.id, names))


def _limit(limit: Limit) -> Line:
    def said(amount: Decimal | int) -> str:
        storage = limit.key == grants.STORAGE_BYTES
        return str(filesize(int(amount))) if storage else str(number(amount))

    value = gettext("No limit") if limit.value is None else said(limit.value)
    used = "" if limit.used is None else said(limit.used)
    full = limit.remaining is not None and limit.remaining == 0
    name = str(_LIMIT_NAMES[limit.key])
    return Line("limit", limit.key, name, value, used, "warn" if full else "", limit.override)


def _quota(state: QuotaState, name: str) -> Line:
    bounds = []
    if state.quota.soft is not None:
        bounds.append(gettext("soft %(bound)s", bound=number(state.quota.soft)))
    if state.quota.hard is not None:
        bounds.append(gettext("hard %(bound)s", bound=number(state.quota.hard)))
    tone = "bad" if not state.allowed else "warn" if state.over_soft else ""
    used = number(state.used)
    return Line("quota", state.meter, name, " · ".join(bounds), str(used), tone, state.override)


def _alerts(tenant_id: UUID, names: Mapping[str, str]) -> list[str]:
    rows = quotas.alerts(control_session=control(), tenant_id=tenant_id, limit=ALERTS_SHOWN)
    return [_said(row, names.get(row.meter, row.meter)) for row in rows]


def _said(alert: QuotaAlert, name: str) -> str:
    return gettext(
        "%(day)s: %(percent)s%% of the %(bound)s quota of %(meter)s reached"
        " (%(used)s of %(quota)s)",
        day=day(alert.reached_at),
        percent=alert.percent,
        bound=gettext("hard") if alert.bound == "hard" else gettext("soft"),
        meter=name,
        used=number(alert.used),
        quota=number(alert.quota),
    )
