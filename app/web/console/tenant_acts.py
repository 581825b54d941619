"""What staff may do about a company, each act for a reason that can be read later."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import g, request

from app.base import audit, clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid
from app.web.auth import staff_required
from app.web.console.tenants import CARERS, acted, console_tenants, tenant_of
from app.web.db import control
from app.web.i18n import gettext
from app.web.sessions import end_everywhere
from tenants import admins, lifecycle, retention
from tenants.models import Tenant
from tenants.review import extend_trial
from tenants.texts import one_line

REASON_LENGTH_MAX = 500


class ReasonMissing(Invalid):
    """What staff does to a customer is done for a reason that can be read."""


class NotClosedByStaff(Conflict):
    """What an unpaid bill or the end of a trial has closed, no click opens."""


def _reason() -> str:
    reason = one_line(request.form.get("why", ""))
    if not reason:
        raise ReasonMissing("Please say why: it is written to the audit trail.", field="why")
    return reason[:REASON_LENGTH_MAX]


@console_tenants.post("/<uuid:tenant_id>/extend")
@staff_required(*CARERS)
def extend(tenant_id: UUID) -> Any:
    """This function will lengthen a trial, running or ended."""
    return acted(
        tenant_id,
        "extend",
        lambda: extend_trial(
            control_session=control(),
            tenant_id=tenant_id,
            days=_days(request.form.get("days", ""), tenant_of(tenant_id)),
            actor=g.actor,
            now=clock.now(),
        ),
        gettext("The trial is extended and its administrators are told."),
    )


def _days(text: str, tenant: Tenant) -> int:
    digits = text.strip()
    if not digits.isascii() or not digits.isdigit() or len(digits) > 4:
        raise Invalid("Enter how many days, as a whole number.", field="days")
    most = settings().trial_days_max
    if not 1 <= int(digits) <= most - tenant.trial_days:
        told = gettext("A trial lasts %(days)s days at most, extensions included.", days=most)
        raise Invalid(told, field="days")
    return int(digits)


@console_tenants.post("/<uuid:tenant_id>/suspend")
@staff_required(*CARERS)
def suspend(tenant_id: UUID) -> Any:
    """This function will shut a workspace at once, for a reason."""

    def act() -> None:
        reason, now = _reason(), clock.now()
        lifecycle.suspend(
            control_session=control(), tenant_id=tenant_id, reason="staff", actor=g.actor, now=now
        )
        audit.append(
            control_session=control(),
            actor=g.actor,
            action="tenant.suspension_explained",
            subject_kind="tenant",
            subject_id=tenant_id,
            tenant_id=tenant_id,
            why=reason,
            now=now,
        )

    return acted(tenant_id, "suspend", act, gettext("The workspace is closed."))


@console_tenants.post("/<uuid:tenant_id>/unblock")
@staff_required(*CARERS)
def unblock(tenant_id: UUID) -> Any:
    """This function will open a workspace again that staff closed."""

    def act() -> None:
        tenant = lifecycle.locked(control(), tenant_id)
        if (tenant.state, tenant.suspend_reason) != ("suspended", "staff"):
            raise NotClosedByStaff(
                "Only what staff closed is opened here: a payment opens the rest."
            )
        lifecycle.unblock(
            control_session=control(),
            tenant_id=tenant_id,
            actor=g.actor,
            now=clock.now(),
            why=_reason(),
        )

    return acted(tenant_id, "unblock", act, gettext("The workspace is open again."))


@console_tenants.post("/<uuid:tenant_id>/hold")
@staff_required("admin")
def hold(tenant_id: UUID) -> Any:
    """This function will keep a company's data from erasure, or let its term run again."""
    wish = request.form.get("wish") == "set"
    tenant_of(tenant_id)
    return acted(
        tenant_id,
        "hold",
        lambda: retention.set_legal_hold(
            control_session=control(),
            tenant_id=tenant_id,
            hold=wish,
            actor=g.actor,
            now=clock.now(),
            why=_reason(),
        ),
        gettext("The data is kept.") if wish else gettext("The term of retention runs again."),
    )


@console_tenants.post("/<uuid:tenant_id>/erase")
@staff_required("admin")
def erase(tenant_id: UUID) -> Any:
    """This function will let the retention of a company begin that no rule would ever erase."""
    return acted(
        tenant_id,
        "erase",
        lambda: retention.schedule_destruction(
            control_session=control(),
            tenant_id=tenant_id,
            actor=g.actor,
            now=clock.now(),
            why=_reason(),
        ),
        gettext("The days until the erasure run, and its administrators are told."),
    )


@console_tenants.post("/<uuid:tenant_id>/keep")
@staff_required("admin")
def keep(tenant_id: UUID) -> Any:
    """This function will take back that a company's data is to be erased."""
    return acted(
        tenant_id,
        "keep",
        lambda: retention.call_off_destruction(
            control_session=control(),
            tenant_id=tenant_id,
            actor=g.actor,
            now=clock.now(),
            why=_reason(),
        ),
        gettext("The data is kept."),
    )


@console_tenants.post("/<uuid:tenant_id>/admins/<uuid:admin_id>/access")
@staff_required("admin")
def admin_access(tenant_id: UUID, admin_id: UUID) -> Any:
    """This function will shut an administrator of a customer out of the portal, or let them in."""
    disable = request.form.get("wish") == "disable"

    def act() -> None:
        admins.set_access(
            control_session=control(),
            tenant_id=tenant_id,
            admin_id=admin_id,
            disabled=disable,
            actor=g.actor,
            now=clock.now(),
            why=_reason(),
        )
        if disable:
            end_everywhere(user_id=admin_id)

    return acted(tenant_id, f"access-{admin_id}", act, gettext("Saved."))
