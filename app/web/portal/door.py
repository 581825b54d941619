"""The portal's door: who may enter, for which tenant, and what the frame shows of them.

The tenant comes from the session alone, never from an address or a form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import Blueprint, g, request, url_for

from app.base import logs
from app.base.audit import Actor
from app.web.auth import to_sign_in
from app.web.db import db
from app.web.papers import days, lines_of, plus_days
from app.web.sessions import browser_session
from tenants import rescue
from tenants.models import Tenant, TenantAdmin

View = TypeVar("View", bound=Callable[..., Any])

portal = Blueprint("portal", __name__, url_prefix="/portal")


def portal_required(view: View) -> View:
    """This function will let only a tenant's own administrator through, suspended or not.

    The view finds `g.admin`, `g.tenant` and `g.actor`.
    """

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        found = current_admin()
        if found is None:
            return to_sign_in("portal.sign_in")
        g.admin, g.tenant = found
        g.actor = Actor.admin(g.admin.id)
        logs.bind(tenant_id=str(g.tenant.id))
        return view(*args, **kwargs)

    return guarded  # type: ignore[return-value]  # wraps keeps its shape


def current_admin() -> tuple[TenantAdmin, Tenant] | None:
    """This function will return who is signed in and their tenant, unless either is shut out."""
    browser = browser_session()
    if browser.user_id is None or browser.audience != "portal":
        return None
    admin = db.session.get(TenantAdmin, browser.user_id)
    if admin is None or admin.disabled_at is not None:
        return None
    if admin.tenant_id != browser.tenant_id:
        return None
    tenant = db.session.get(Tenant, admin.tenant_id)
    return (admin, tenant) if tenant is not None and not gone_for_good(tenant) else None


def gone_for_good(tenant: Tenant) -> bool:
    """This function will tell whether a tenant's data is erased: until then it may be saved."""
    return rescue.is_gone(control_session=db.session(), tenant=tenant)


@portal.app_context_processor
def who() -> dict[str, Any]:
    """This function will tell the portal's frame who is signed in and for whom."""
    if not request.path.startswith("/portal") or not hasattr(g, "admin"):
        return {}
    return {
        "admin": g.admin,
        "tenant": g.tenant,
        "tenant_name": g.tenant.name,
        "account": {
            "name": g.admin.name,
            "detail": g.admin.email,
            "sign_out_url": url_for("portal.leave"),
        },
    }


portal.add_app_template_filter(days, "days")
portal.add_app_template_filter(plus_days, "plus_days")
portal.add_app_template_global(lines_of, "lines_of")
