"""API keys of our own programs: an admin makes, rotates and revokes them; each act is audited."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import Blueprint, flash, g, render_template, request, url_for
from sqlalchemy import select

from app.base import clock
from app.base.accounts import Staff
from app.base.errors import TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext, lazy
from tenants import api_keys
from tenants.api_key_models import ApiKey

SCOPE_NAMES = {
    "events:write": lazy("Push usage events"),
    "events:correct": lazy("Amend and void usage events"),
    "usage:read": lazy("Read usage"),
    "entitlements:read": lazy("Read what a tenant may use"),
    "invoices:read": lazy("Read the next invoice"),
}
OVERLAP_NAMES = {
    "24": lazy("For a day"),
    "168": lazy("For a week"),
    "720": lazy("For 30 days"),
    "0": lazy("Not at all: it ends now"),
}

console_api_keys = Blueprint("console_api_keys", __name__, url_prefix="/console/api-keys")


@console_api_keys.get("")
@staff_required("admin")
def keys() -> Any:
    """This function will list the keys that there are and were."""
    return _page()


def _page(
    *,
    form: Any = None,
    error: TenantryError | None = None,
    fresh: tuple[ApiKey, str] | None = None,
) -> str:
    rows = api_keys.listed(control_session=control())
    makers = control().execute(
        select(Staff.id, Staff.name).where(Staff.id.in_({row.created_by for row in rows}))
    )
    now = clock.now()
    return render_template(
        "console/api_keys/list.html",
        rows=rows,
        states={row.id: api_keys.state(row, now) for row in rows},
        rotated={row.rotated_from for row in rows},
        makers=dict(makers.all()),
        scope_names=SCOPE_NAMES,
        overlap_names=OVERLAP_NAMES,
        form=form or {},
        error=error,
        fresh=fresh,
    )


@console_api_keys.post("")
@staff_required("admin")
def make() -> Any:
    """This function will make a key and show its secret, this once."""
    try:
        fresh = api_keys.make(
            control_session=control(),
            name=request.form.get("name", ""),
            scopes=request.form.getlist("scopes"),
            staff_id=g.staff.id,
            now=clock.now(),
        )
    except api_keys.KeyUnfit as error:
        control().rollback()
        return _page(form=request.form, error=error), error.status
    control().commit()
    # Not after a redirect: the secret would have to wait somewhere for the next page.
    return _page(fresh=fresh)


@console_api_keys.post("/<uuid:key_id>/rotate")
@staff_required("admin")
def rotate(key_id: UUID) -> Any:
    """This function will give a key a new secret and show it, this once."""
    overlap = request.form.get("overlap", "")
    fresh = api_keys.rotate(
        control_session=control(),
        key_id=key_id,
        overlap_hours=int(overlap) if overlap in OVERLAP_NAMES else -1,
        staff_id=g.staff.id,
        now=clock.now(),
    )
    control().commit()
    return _page(fresh=fresh)


@console_api_keys.post("/<uuid:key_id>/revoke")
@staff_required("admin")
def revoke(key_id: UUID) -> Any:
    """This function will end a key at once."""
    api_keys.revoke(control_session=control(), key_id=key_id, staff_id=g.staff.id, now=clock.now())
    control().commit()
    flash(gettext("The key is revoked."), "good")
    return see_other(url_for("console_api_keys.keys"))
