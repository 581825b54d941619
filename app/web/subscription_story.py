"""A subscription in time: every change with who and why, and what will be billed when."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from app.base.audit import AuditEvent
from app.web.db import control
from app.web.event_words import said, staff_names
from app.web.i18n import gettext
from app.web.subscribed import Standing
from invoices import forecast, periods
from invoices.forecast import ComingBill
from tenants.models import TenantAdmin

EVENTS_MAX = 100
# What concerns the contract, among all that is written down of a tenant.
_KINDS = ("subscription",)
_TENANT_ACTIONS = ("tenant.currency_changed", "tenant.trial_extended")
_EVENTS = (
    select(AuditEvent)
    .where(
        AuditEvent.tenant_id == bindparam("tenant"),
        AuditEvent.subject_kind.in_(_KINDS) | AuditEvent.action.in_(_TENANT_ACTIONS),
    )
    .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    .limit(EVENTS_MAX)
)


def coming(standing: Standing) -> list[ComingBill]:
    """This function will return the bills of the year to come, by the billing run's own code."""
    return forecast.bills_of_items(
        control_session=control(),
        subscription=standing.subscription,
        in_force=standing.items,
        prices=standing.prices,
        until=periods.months_after(standing.today, forecast.MONTHS_AHEAD),
    )


def history(*, tenant_id: UUID, staff: bool) -> list[dict[str, Any]]:
    """This function will tell what was changed, newest first; customers read no names of staff."""
    events = list(control().scalars(_EVENTS, {"tenant": tenant_id}))
    if staff:
        names = staff_names(events)
        return [said(event, names) for event in events]
    people = _admin_names(tenant_id)
    return [said(event, {}) | {"who": _who(event, people)} for event in events]


def _admin_names(tenant_id: UUID) -> dict[str, str]:
    rows = control().execute(
        select(TenantAdmin.id, TenantAdmin.name).where(TenantAdmin.tenant_id == tenant_id)
    )
    return {str(admin_id): name for admin_id, name in rows}


def _who(event: AuditEvent, people: dict[str, str]) -> str:
    if event.actor_kind == "admin":
        return people.get(event.actor_id or "", gettext("A former colleague"))
    if event.actor_kind == "staff":
        return gettext("Our staff")
    return gettext("By itself")
