"""Exceptions from a plan for one company: made for a reason, perhaps for a time, and ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from flask import g, request

from app.base import clock
from app.base.config import settings
from app.base.errors import Invalid
from app.web.auth import staff_required
from app.web.console.tenants import acted, console_tenants
from app.web.console.typed import a_day, a_number, reason_typed
from app.web.db import control
from app.web.i18n import gettext
from invoices.periods import midnight
from tenants import entitlements
from tenants.grants import ALERTS_DEFAULT, Override, Quota
from tenants.texts import one_line

# An admin may do it too.
KEEPERS = ("sales",)
_SWITCH = {"on": True, "off": False}


@console_tenants.post("/<uuid:tenant_id>/entitlements")
@staff_required(*KEEPERS)
def override(tenant_id: UUID) -> Any:
    """This function will put one value in the place of the plan's."""
    return acted(
        tenant_id,
        "entitlement",
        lambda: entitlements.override(
            control_session=control(),
            tenant_id=tenant_id,
            wanted=_wanted(),
            reason=reason_typed(request.form),
            expires_at=_expires(),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("The exception holds from now on."),
    )


def _wanted() -> Override:
    kind, value = request.form.get("kind", ""), one_line(request.form.get("value", ""))
    code = one_line(request.form.get("code", "")).lower()
    if kind == "limit":
        return Override(kind, code, _limit(value))
    if kind == "quota":
        return Override(kind, code, _quota())
    return Override(kind, code, _SWITCH.get(value.lower(), value))


def _limit(text: str) -> int | None:
    """Nothing typed is no limit."""
    if not text:
        return None
    figure = a_number(text, "value")
    if figure % 1:
        raise Invalid("Enter a whole number.", field="value")
    return int(figure)


def _quota() -> Quota | None:
    """Without both bounds the tenant has no quota on the meter."""
    soft, hard = _bound("soft"), _bound("hard")
    if soft is None and hard is None:
        return None
    return Quota(soft=soft, hard=hard, alerts=_alerts())


def _bound(field: str) -> Decimal | None:
    text = request.form.get(field, "").strip()
    return a_number(text, field) if text else None


def _alerts() -> tuple[int, ...]:
    parts = request.form.get("alerts", "").replace(",", " ").replace("%", " ").split()
    if not all(part.isascii() and part.isdigit() and len(part) <= 4 for part in parts):
        raise Invalid("Enter percentages such as 80, 100.", field="alerts")
    return tuple(sorted({int(part) for part in parts})) or ALERTS_DEFAULT


def _expires() -> datetime | None:
    """The end of the typed day, in the contract's time zone."""
    day = a_day(request.form.get("expires", ""), "expires")
    return midnight(day + timedelta(days=1), settings().contract_timezone) if day else None


@console_tenants.post("/<uuid:tenant_id>/entitlements/<uuid:override_id>/end")
@staff_required(*KEEPERS)
def end_override(tenant_id: UUID, override_id: UUID) -> Any:
    """This function will let the plan's value hold again."""
    return acted(
        tenant_id,
        f"end-{override_id}",
        lambda: entitlements.end_override(
            control_session=control(),
            tenant_id=tenant_id,
            override_id=override_id,
            reason=reason_typed(request.form),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("The plan's value holds again."),
    )
