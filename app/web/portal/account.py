"""The company as papers name it, the administrator's password, and the export of all data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from flask import flash, g, render_template, request, url_for

from app.base import accounts, clock
from app.base.errors import Forbidden, TenantryError
from app.web.auth import attempt_keys, note_access, see_other
from app.web.db import control
from app.web.exports import download
from app.web.i18n import gettext
from app.web.portal.access import check_same, let_in, share_with_workspace
from app.web.portal.door import portal, portal_required
from app.web.security import limiter
from app.web.sessions import end_everywhere
from tenants import admins, billing_profiles, exports
from tenants.models import LIVE_STATES


@portal.get("/account")
@portal_required
def account() -> str:
    """This function will show what papers say of the company, and the exports made so far."""
    return _page()


def _page(
    *,
    typed: Mapping[str, str] | None = None,
    errors: Mapping[str, str] | None = None,
    password_error: TenantryError | None = None,
) -> str:
    return render_template(
        "portal/account.html",
        typed=typed or billing_profiles.profile_of(g.tenant),
        errors=errors or {},
        errors_shown=[(field, gettext(message)) for field, message in (errors or {}).items()],
        lengths=billing_profiles.LENGTHS_MAX,
        password_error=password_error,
        exports=exports.list_(control_session=control(), tenant_id=g.tenant.id),
        may_export=g.tenant.state in LIVE_STATES,
        now=clock.now(),
    )


@portal.post("/account")
@portal_required
def save_profile() -> Any:
    """This function will keep the billing profile for the papers to come."""
    typed = {field: request.form.get(field, "") for field in billing_profiles.FIELDS}
    try:
        billing_profiles.update(
            control_session=control(),
            tenant_id=g.tenant.id,
            typed=typed,
            actor=g.actor,
            now=clock.now(),
        )
    except billing_profiles.ProfileInvalid as error:
        control().rollback()
        return _page(typed=typed, errors=error.errors), error.status
    control().commit()
    flash(gettext("Saved. Papers from now on carry these details; issued ones stay."), "good")
    return see_other(url_for("portal.account"))


@portal.post("/account/password")
@portal_required
@limiter.limit("10/minute")
def change_password() -> Any:
    """This function will change the password of somebody who gives the present one once more."""
    keys = attempt_keys("portal", g.admin.email)
    try:
        accounts.check_attempts(control_session=control(), keys=keys)
        check_same(request.form.get("password", ""))
        admins.change_password(
            control_session=control(),
            admin_id=g.admin.id,
            current=request.form.get("current", ""),
            password=request.form.get("password", ""),
            now=clock.now(),
        )
    except (accounts.PasswordTooWeak, Forbidden) as error:
        control().rollback()
        if isinstance(error, accounts.WrongCredentials):
            accounts.count_failure(control_session=control(), keys=keys)
            control().commit()
        return _page(password_error=error), error.status
    share_with_workspace(g.admin)
    end_everywhere(user_id=g.admin.id)
    note_access("password_set", audience="portal", user_id=g.admin.id, tenant_id=g.tenant.id)
    answer = let_in(g.admin, g.tenant, to=url_for("portal.account"))
    flash(gettext("Your password is changed. Other devices are signed out."), "good")
    return answer


@portal.post("/account/export")
@portal_required
@limiter.limit("10/hour")
def request_export() -> Any:
    """This function will ask for all of the tenant's own data as one file."""
    exports.request(
        control_session=control(), tenant_id=g.tenant.id, actor=g.actor, now=clock.now()
    )
    control().commit()
    flash(gettext("The export is being made. You get a mail when it is ready."), "good")
    return see_other(url_for("portal.account") + "#exports")


@portal.get("/account/exports/<uuid:export_id>")
@portal_required
def fetch_export(export_id: UUID) -> Any:
    """This function will send a finished export of this very tenant."""
    opened = exports.open_(
        control_session=control(), tenant_id=g.tenant.id, export_id=export_id, now=clock.now()
    )
    return download(
        opened.stream,
        file_name=opened.file_name,
        media_type="application/zip",
        size_bytes=opened.size_bytes,
    )
