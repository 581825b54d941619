"""Who is asking: staff by role. Fails closed, and writes refusals down."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

import structlog
from flask import Response, g, redirect, request, url_for

from app.base import clock
from app.base.accounts import Staff
from app.base.audit import AccessEntry, Actor
from app.base.errors import Forbidden
from app.web.db import db
from app.web.i18n import gettext
from app.web.sessions import browser_session

View = TypeVar("View", bound=Callable[..., Any])
log = structlog.get_logger()


def staff_required(*roles: str) -> Callable[[View], View]:
    """This function will let only signed-in staff through, of these roles when any are named.

    `admin` may do everything. The view finds `g.staff` and `g.actor`.

    Raises: Forbidden for a role that may not.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            staff = current_staff()
            if staff is None:
                return to_sign_in("console_accounts.sign_in")
            g.staff, g.actor = staff, Actor.staff(staff.id)
            if roles and staff.role not in (*roles, "admin"):
                log.warning("refused", staff_id=str(staff.id), role=staff.role, path=request.path)
                raise Forbidden(gettext("Your role does not allow this. Ask an admin."))
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]

    return decorate


def current_staff() -> Staff | None:
    """This function will return the member of staff signed in, unless disabled meanwhile."""
    browser = browser_session()
    if browser.user_id is None or browser.audience != "staff":
        return None
    staff = db.session.get(Staff, browser.user_id)
    return staff if staff is not None and staff.disabled_at is None else None


def to_sign_in(endpoint: str) -> Any:
    """This function will send somebody to sign in and remember where they wanted to go."""
    wanted = request.full_path.rstrip("?") if request.method == "GET" else None
    return redirect(url_for(endpoint, next=wanted))


def safe_next(fallback: str) -> str:
    """This function will return where to go after sign-in: a path of this site, nothing else."""
    wanted = request.values.get("next", "")
    ours = wanted.startswith("/") and not wanted.startswith(("//", "/\\"))
    # Browsers leave tabs and line breaks out, so that /<tab>/there would lead away; and a header
    # takes none.
    return wanted if ours and wanted.isprintable() else fallback


def attempt_keys(audience: str, account: str) -> list[str]:
    """This function will name what failed sign-ins are counted by: the account and the address."""
    return [
        f"{audience}:account:{account.strip().lower()}",
        f"{audience}:address:{request.remote_addr}",
    ]


def note_access(
    event: str, *, audience: str, user_id: UUID | None = None, tenant_id: UUID | None = None
) -> None:
    """This function will write a sign-in or its refusal to the access log."""
    db.session.add(
        AccessEntry(
            at=clock.real_now(),
            event=event,
            audience=audience,
            user_id=user_id,
            tenant_id=tenant_id,
            address=request.remote_addr,
            agent=(request.user_agent.string or "")[:300],
        )
    )


def see_other(location: str) -> Response:
    """This function will answer a POST by sending the browser on with a GET."""
    return redirect(location, code=303)  # type: ignore[return-value]
