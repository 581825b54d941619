"""The guard of every workspace page: one tenant, from the session, and one database a request."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import structlog
from flask import g, render_template

from app.base import logs
from app.base.audit import Actor
from app.base.errors import Forbidden
from app.web.auth import to_sign_in
from app.web.db import control
from app.web.i18n import gettext
from app.web.sessions import browser_session, sign_out
from tenants import databases, drawings
from tenants.models import Tenant
from tenants.schema import Member

View = TypeVar("View", bound=Callable[..., Any])
log = structlog.get_logger()


def workspace_required(*roles: str) -> Callable[[View], View]:
    """This function will let only members of an open workspace through, of these roles if named.

    The tenant's state is read from control on each request, so a suspension shuts the door at
    once. The view finds `g.tenant`, `g.tenant_session`, `g.member` and `g.actor`; the tenant's
    transaction commits after it, then the one on control. Digests that it leaves in `g.unswept`
    are swept after that.

    Raises: Forbidden for a role that may not; what the databases raise.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            browser = browser_session()
            if browser.user_id is None or browser.tenant_id is None:
                return to_sign_in("workspace.sign_in")
            tenant = control().get(Tenant, browser.tenant_id, populate_existing=True)
            if tenant is None:
                return _out()
            try:
                place = databases.open_workspace(control(), tenant.id)
            except databases.WorkspaceClosed:
                return closed(tenant)
            g.unswept = []
            with databases.tenant_session(place) as tenant_session:
                member = tenant_session.get(Member, browser.user_id)
                if member is None or member.deactivated_at is not None:
                    return _out()
                # Apart from its session, so that a page about an error can still name them.
                tenant_session.expunge(member)
                g.tenant, g.tenant_session, g.member = tenant, tenant_session, member
                g.actor = Actor("member", str(member.id))
                logs.bind(tenant_id=str(tenant.id))
                if roles and member.role not in roles:
                    log.warning("refused", member_id=str(member.id), role=member.role)
                    raise Forbidden("Only an admin of your company may do this.")
                answer = view(*args, **kwargs)
            control().commit()
            for sha256 in g.unswept:
                with databases.tenant_session(place) as again:
                    drawings.sweep(tenant_session=again, sha256=sha256)
            return answer

        return guarded  # type: ignore[return-value]  # wraps keeps its shape

    return decorate


def _out() -> Any:
    sign_out()
    return to_sign_in("workspace.sign_in")


def closed(tenant: Tenant) -> Any:
    """This function will say that the workspace is shut, and send an admin to the portal."""
    return render_template(
        "workspace/closed.html", tenant=tenant, title=gettext("This workspace is shut")
    ), 403
