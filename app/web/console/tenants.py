"""The companies we serve: who is where in its life, and all that is known of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import ColumnElement, Row, Text, and_, bindparam, cast, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from app.base import clock
from app.base.audit import AuditEvent
from app.base.config import settings
from app.base.db import planned_once
from app.base.errors import Conflict, Invalid, NotFound, TenantryError
from app.web import entitled, live, usage
from app.web.auth import see_other, staff_required
from app.web.console import businesses
from app.web.db import control
from app.web.event_words import said, staff_names
from app.web.i18n import gettext
from app.web.paging import page_number, pages_of
from app.web.refusals import words_of
from invoices import listing, payment_methods
from invoices.models import PlanVersion, Subscription
from tenants import lifecycle, rescue
from tenants.models import (
    LIVE_STATES,
    TENANT,
    Cluster,
    ProvisioningRun,
    Tenant,
    TenantAdmin,
    TenantDatabase,
)
from tenants.texts import one_line

console_tenants = Blueprint("console_tenants", __name__, url_prefix="/console/tenants")

# Who may act; an admin may do all of it.
CARERS = ("sales", "finance")
TEXT_LENGTH_MAX = 100
EVENTS_SHOWN = 15
INVOICES_SHOWN = 8

# What the page of a company reads, put together once and not for every look at it.
_EVENTS = (
    select(AuditEvent)
    .where(AuditEvent.tenant_id == bindparam("tenant"))
    .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
    .limit(EVENTS_SHOWN + 1)
)
_PEOPLE = (
    select(
        func.jsonb_agg(
            aggregate_order_by(
                func.jsonb_build_object(
                    *("id", TenantAdmin.id, "name", TenantAdmin.name, "email", TenantAdmin.email),
                    *("disabled", TenantAdmin.disabled_at.is_not(None)),
                    *("joined", TenantAdmin.password_hash.is_not(None)),
                ),
                TenantAdmin.created_at,
            ),
            type_=JSONB,
        )
    )
    .where(TenantAdmin.tenant_id == Tenant.id)
    .correlate(Tenant)
    .scalar_subquery()
)
# By columns where the page names little of it: the prices of a version would be a query more.
_COMPANY = planned_once(
    select(
        Tenant,
        Subscription,
        PlanVersion.name_ko,
        PlanVersion.name_en,
        PlanVersion.version,
        payment_methods.MASKED_DEFAULT.label("card"),
        _PEOPLE.label("people"),
        ProvisioningRun.run,
        ProvisioningRun.steps_done,
        ProvisioningRun.finished_at,
        ProvisioningRun.last_error,
        TenantDatabase.database_name,
        TenantDatabase.role_name,
        TenantDatabase.schema_revision,
        Cluster.name.label("cluster"),
    )
    .select_from(Tenant)
    .outerjoin(
        Subscription,
        and_(Subscription.tenant_id == Tenant.id, Subscription.state != "cancelled"),
    )
    .outerjoin(PlanVersion, PlanVersion.id == Subscription.plan_version_id)
    .outerjoin(ProvisioningRun, ProvisioningRun.tenant_id == Tenant.id)
    .outerjoin(TenantDatabase, TenantDatabase.tenant_id == Tenant.id)
    .outerjoin(Cluster, Cluster.id == TenantDatabase.cluster_id)
    .where(Tenant.id == bindparam("tenant"))
)


class NoSuchTenant(NotFound):
    """There is no such company."""


@console_tenants.get("")
@staff_required()
def index() -> str:
    """This function will list companies by state, or those that a search finds."""
    state = request.args.get("state", "")
    text = one_line(request.args.get("q", ""))[:TEXT_LENGTH_MAX]
    conditions = [Tenant.state == state] if state in TENANT.states else []
    if text:
        conditions.append(_found(text))
    page, size = page_number(), settings().page_size
    counts = _counts([_found(text)] if text else [])
    total = counts.get(state, 0) if state in TENANT.states else sum(counts.values())
    pages = pages_of(total)
    page = min(page, pages)
    rows = control().scalars(
        select(Tenant)
        .where(*conditions)
        .order_by(Tenant.created_at.desc(), Tenant.id.desc())
        .limit(size)
        .offset((page - 1) * size)
    )
    return render_template(
        "console/tenants/list.html",
        rows=list(rows),
        tabs=_tabs(counts, state, text),
        text=text,
        state=state,
        page=page,
        pages=pages,
        total=total,
        now=clock.now(),
    )


def _found(text: str) -> ColumnElement[bool]:
    digits = "".join(character for character in text if character in "0123456789")
    number = cast(Tenant.billing_profile["registration_number"].astext, Text)
    return or_(
        Tenant.name.icontains(text, autoescape=True),
        Tenant.slug.startswith(text.lower(), autoescape=True),
        number == (digits or text),
    )


def _counts(conditions: list[ColumnElement[bool]]) -> dict[str, int]:
    rows = control().execute(
        select(Tenant.state, func.count()).where(*conditions).group_by(Tenant.state)
    )
    return dict(rows.all())


def _tabs(counts: dict[str, int], lit: str, text: str) -> list[dict[str, Any]]:
    names = {
        "": gettext("All"),
        "trialing": gettext("On trial"),
        "active": gettext("Active"),
        "past_due": gettext("Payment overdue"),
        "suspended": gettext("Suspended"),
        "approved": gettext("Being set up"),
        "destroyed": gettext("Erased"),
    }
    return [
        {
            "label": name,
            "url": url_for(".index", state=state or None, q=text or None),
            "count": counts.get(state, 0) if state else sum(counts.values()),
            "active": state == lit,
        }
        for state, name in names.items()
    ]


@console_tenants.get("/<uuid:tenant_id>")
@staff_required()
def details(tenant_id: UUID) -> str:
    """This function will show all that is known of one company, and its acts."""
    return _page(tenant_id)


def _page(tenant_id: UUID, *, error: TenantryError | None = None, failed: str = "") -> str:
    company, now = _company(tenant_id), clock.now()
    tenant, subscription = company.Tenant, company.Subscription
    events = _events(tenant_id)
    names = staff_names(events)
    return render_template(
        "console/tenants/details.html",
        tenant=tenant,
        subscription=subscription,
        past=_past_subscriptions(tenant_id) if subscription is None else [],
        company=company,
        usage=usage.so_far(tenant=tenant, subscription=subscription, now=now),
        live=live.of(tenant=tenant, now=now),
        entitled=entitled.of(tenant=tenant, now=now),
        kinds=list(entitled.KIND_NAMES.items()),
        people=company.people or [],
        invoices=listing.latest(
            control_session=control(), tenant_id=tenant_id, now=now, limit=INVOICES_SHOWN
        ),
        **businesses.of(tenant.billing_profile.get("registration_number"), tenant.country),
        story=[said(event, names) for event in events[:EVENTS_SHOWN]],
        more=len(events) > EVENTS_SHOWN,
        acts=_acts(tenant),
        told=words_of(error) if error else "",
        error=error,
        failed=failed,
        typed=request.form,
        retention_days=settings().retention_days,
        now=now,
    )


def _company(tenant_id: UUID) -> Row[Any]:
    """The company with its people, subscription, card, database and how that was made; each but
    the company may be missing.
    """
    found = control().execute(_COMPANY, {"tenant": tenant_id}).one_or_none()
    if found is None:
        raise NoSuchTenant("There is no such company.")
    return found


def tenant_of(tenant_id: UUID) -> Tenant:
    """This function will return a company, or say that there is none."""
    found = control().get(Tenant, tenant_id)
    if found is None:
        raise NoSuchTenant("There is no such company.")
    return found


def _events(tenant_id: UUID) -> list[AuditEvent]:
    return list(control().scalars(_EVENTS, {"tenant": tenant_id}))


def _past_subscriptions(tenant_id: UUID) -> list[Subscription]:
    return list(
        control().scalars(
            select(Subscription)
            .where(Subscription.tenant_id == tenant_id)
            .order_by(Subscription.created_at.desc())
            .limit(5)
        )
    )


def _acts(tenant: Tenant) -> dict[str, bool]:
    """Which acts this person may take on this company now; each is checked again when taken."""
    carer = g.staff.role in (*CARERS, "admin")
    ended = tenant.state in lifecycle.SHUT_STATES and tenant.suspend_reason == "trial_ended"
    # After a trial or a contract the policy's own term runs; a paused one is not over.
    by_hand = tenant.state == "suspended" and tenant.suspend_reason in ("unpaid", "staff")
    alive = tenant.state not in ("approved", "destroying", "destroyed")
    return {
        "extend": carer and (tenant.state == "trialing" or ended),
        "suspend": carer and alive and tenant.state != "suspended",
        "unblock": carer and tenant.state == "suspended" and tenant.suspend_reason == "staff",
        # Also while its erasure has begun: a hold stops that as long as the data is there.
        "hold": g.staff.role == "admin"
        and tenant.state != "approved"
        and not rescue.is_gone(control_session=control(), tenant=tenant),
        "erase": g.staff.role == "admin" and by_hand and tenant.destroy_after is None,
        "keep": g.staff.role == "admin" and by_hand and tenant.destroy_after is not None,
        "except": g.staff.role in ("sales", "admin") and tenant.state in LIVE_STATES,
    }


def acted(tenant_id: UUID, name: str, act: Callable[[], object], words: str) -> Any:
    """This function will do one act; what it refuses is told on the page, input kept."""
    try:
        act()
    except (Invalid, Conflict) as error:
        control().rollback()
        return _page(tenant_id, error=error, failed=name), error.status
    control().commit()
    flash(words, "good")
    return see_other(url_for(".details", tenant_id=tenant_id))
