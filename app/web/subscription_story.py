"""A subscription in time: every change with who and why, and what will be billed when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, func, select

from app.base.audit import AuditEvent
from app.base.db import usage_session
from app.web.db import control
from app.web.event_words import said, staff_names
from app.web.i18n import gettext
from app.web.paging import page_number, page_within, pages_of
from app.web.subscribed import Standing
from invoices import forecast, periods
from invoices.forecast import ComingBill
from tenants.models import TenantAdmin

EVENTS_A_PAGE = 100
# What concerns the contract, among all that is written down of a tenant.
_KINDS = ("subscription",)
_TENANT_ACTIONS = ("tenant.currency_changed", "tenant.trial_extended")
_ALL = select(AuditEvent).where(
    AuditEvent.tenant_id == bindparam("tenant"),
    AuditEvent.subject_kind.in_(_KINDS) | AuditEvent.action.in_(_TENANT_ACTIONS),
)
_COUNT = _ALL.with_only_columns(func.count())
_EVENTS = (
    _ALL.order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    .limit(EVENTS_A_PAGE + 1)
    .offset(bindparam("behind"))
)


@dataclass(frozen=True, slots=True)
class Story:
    """One page of what was changed, newest first."""

    events: list[dict[str, Any]]
    page: int
    pages: int
    total: int


def coming(standing: Standing) -> list[ComingBill]:
    """This function will return the bills of the year to come, by the billing run's own code."""
    with usage_session() as usage:
        return forecast.bills_of_items(
            control_session=control(),
            subscription=standing.subscription,
            in_force=standing.items,
            prices=standing.prices,
            until=periods.months_after(standing.today, forecast.MONTHS_AHEAD),
            usage_session=usage,
            now=standing.now,
        )


def history(*, tenant_id: UUID, staff: bool) -> Story:
    """This function will tell what was changed, newest first; customers read no names of staff.

    The address says which page of it.
    """
    page, total, events = _page(tenant_id)
    names = staff_names(events) if staff else {}
    told = [said(event, names) for event in events]
    if not staff:
        people = _admin_names(tenant_id)
        told = [
            each | {"who": _who(event, people)} for event, each in zip(events, told, strict=True)
        ]
    return Story(told, page, pages_of(total, size=EVENTS_A_PAGE), total)


def _page(tenant_id: UUID) -> tuple[int, int, list[AuditEvent]]:
    """The page that the address asks for: which it is, how many events there are, and its own."""
    if page_number() == 1:
        events = _events(tenant_id, behind=0)
        if len(events) <= EVENTS_A_PAGE:
            return 1, len(events), events  # all there are: nothing is to be counted
    total = control().scalar(_COUNT, {"tenant": tenant_id}) or 0
    page = page_within(total, size=EVENTS_A_PAGE)
    behind = (page - 1) * EVENTS_A_PAGE
    return page, total, _events(tenant_id, behind=behind)[:EVENTS_A_PAGE]


def _events(tenant_id: UUID, *, behind: int) -> list[AuditEvent]:
    """One more than a page shows: with it there is another page."""
    return list(control().scalars(_EVENTS, {"tenant": tenant_id, "behind": behind}))


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
