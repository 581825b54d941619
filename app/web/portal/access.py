"""A tenant's administrator signs in, chooses among several tenants, and sets a password."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from flask import flash, render_template, request, session, url_for

from app.base import accounts, clock
from app.base.errors import Forbidden
from app.web.auth import attempt_keys, note_access, safe_next, see_other
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.portal.door import current_admin, gone_for_good, portal
from app.web.security import limiter, mail_limit
from app.web.sessions import end_everywhere, sign_in, sign_out
from tenants import admins, members
from tenants.databases import NoDatabase, placement, tenant_session
from tenants.members import NoSuchMember
from tenants.models import Tenant, TenantAdmin

# How long a right password counts while its owner chooses among tenants.
CHOICE_SECONDS = 600
_CHOICE = "choice"


class ChoiceOver(Forbidden):
    """Nobody has shown a password here, or too long ago."""


@portal.route("/sign-in", endpoint="sign_in", methods=["GET", "POST"])
@limiter.limit("30/minute", methods=["POST"])
def sign_in_page() -> Any:
    """This function will show the sign-in form, and let in whoever fills it in rightly."""
    if request.method == "GET":
        return see_other(_wanted()) if current_admin() else _sign_in_form()
    email = request.form.get("email", "").replace("\x00", "")
    keys = attempt_keys("portal", email)
    try:
        accounts.check_attempts(control_session=control(), keys=keys)
        opened = admins.authenticate(
            control_session=control(), email=email, password=request.form.get("password", "")
        )
    except Forbidden as error:
        if not isinstance(error, accounts.TooManyAttempts):
            accounts.count_failure(control_session=control(), keys=keys)
        note_access("sign_in_refused", audience="portal")
        control().commit()
        return _sign_in_form(email=email, error=gettext(error.message)), error.status
    accounts.forget_failures(control_session=control(), keys=keys)
    if len(opened) == 1:
        return let_in(*opened[0])
    session[_CHOICE] = {
        "at": clock.real_now().timestamp(),
        "admins": [str(admin.id) for admin, _ in opened],
        "next": safe_next(""),
    }
    control().commit()
    return see_other(url_for("portal.choose"))


def _wanted() -> str:
    return safe_next(url_for("portal.overview"))


def _sign_in_form(*, email: str = "", error: str = "") -> str:
    return render_template("portal/sign_in.html", email=email, error=error, next=safe_next(""))


def let_in(admin: TenantAdmin, tenant: Tenant, *, to: str | None = None) -> Any:
    """This function will begin a session of its own for one administrator of one tenant.

    Notices are flashed after it: whatever the old session held is gone.
    """
    note_access("signed_in", audience="portal", user_id=admin.id, tenant_id=tenant.id)
    sign_in(user_id=admin.id, tenant_id=tenant.id)
    return see_other(to or _wanted())


@portal.route("/choose", methods=["GET", "POST"])
@limiter.limit("30/minute", methods=["POST"])
def choose() -> Any:
    """This function will let somebody with one password for several tenants pick one."""
    try:
        opened, to = _choice()
    except ChoiceOver:
        return see_other(url_for("portal.sign_in"))
    if request.method == "GET":
        return render_template("portal/choose.html", opened=opened)
    wanted = request.form.get("admin_id", "")
    for admin, tenant in opened:
        if str(admin.id) == wanted:
            session.pop(_CHOICE, None)
            return let_in(admin, tenant, to=to or url_for("portal.overview"))
    return render_template("portal/choose.html", opened=opened), 422


def _choice() -> tuple[list[tuple[TenantAdmin, Tenant]], str]:
    held = session.get(_CHOICE)
    if not held or clock.real_now().timestamp() - held["at"] > CHOICE_SECONDS:
        raise ChoiceOver("Please sign in first.")
    opened = []
    for admin_id in held["admins"]:
        admin = control().get(TenantAdmin, UUID(admin_id))
        tenant = control().get(Tenant, admin.tenant_id) if admin else None
        if admin and tenant and admin.disabled_at is None and not gone_for_good(tenant):
            opened.append((admin, tenant))
    return opened, held["next"]


@portal.post("/sign-out")
def leave() -> Any:
    """This function will sign out, on this device."""
    found = current_admin()
    if found:
        admin, tenant = found
        note_access("signed_out", audience="portal", user_id=admin.id, tenant_id=tenant.id)
    sign_out()
    return see_other(url_for("portal.sign_in"))


@portal.route("/forgot", methods=["GET", "POST"])
@limiter.limit("5/minute", methods=["POST"])
@mail_limit(5)
def forgot() -> Any:
    """This function will mail links for a new password, and say the same whoever asked."""
    if request.method == "GET":
        return render_template("portal/forgot.html", sent=False)
    email = request.form.get("email", "").replace("\x00", "")
    admins.request_reset(
        control_session=control(), email=email, language=language(), now=clock.now()
    )
    control().commit()
    return render_template("portal/forgot.html", sent=True)


@portal.route("/welcome/<token>", methods=["GET", "POST"])
def welcome(token: str) -> Any:
    """This function will let an invited administrator choose the first password."""
    return _choose_password(token, purpose=admins.INVITATION)


@portal.route("/reset/<token>", methods=["GET", "POST"])
def reset(token: str) -> Any:
    """This function will let an administrator who asked for it choose a new password."""
    return _choose_password(token, purpose=admins.RESET)


def _choose_password(token: str, *, purpose: str) -> Any:
    now = clock.now()
    # GET only looks: mail scanners open links before people do.
    admin, tenant = admins.holder(control_session=control(), purpose=purpose, token=token, now=now)
    if request.method == "GET":
        return _password_form(admin, tenant, purpose)
    password = request.form.get("password", "")
    try:
        check_same(password)
        admins.choose_password(
            control_session=control(), purpose=purpose, token=token, password=password, now=now
        )
    except accounts.PasswordTooWeak as error:
        control().rollback()
        return _password_form(admin, tenant, purpose, error), error.status
    share_with_workspace(admin)
    end_everywhere(user_id=admin.id)
    note_access("password_set", audience="portal", user_id=admin.id, tenant_id=tenant.id)
    answer = let_in(admin, tenant, to=url_for("portal.overview"))
    flash(gettext("Your password is set."), "good")
    return answer


def check_same(password: str) -> None:
    """This function will compare a new password with its repetition.

    Raises: PasswordTooWeak, field `again`.
    """
    if password != request.form.get("again", ""):
        raise accounts.PasswordTooWeak("The two passwords differ.", field="again")


def _password_form(
    admin: TenantAdmin,
    tenant: Tenant,
    purpose: str,
    error: accounts.PasswordTooWeak | None = None,
) -> str:
    return render_template(
        "portal/password.html",
        invited=admin,
        company=tenant.name,
        first=purpose == admins.INVITATION,
        error=gettext(error.message) if error else "",
        field=error.field if error else "",
    )


def share_with_workspace(admin: TenantAdmin) -> None:
    """This function will give the same person's membership in the workspace the same password.

    It comes before control's commit: when the tenant's database is away, nothing has changed and
    the link still works.

    Raises: TenantDatabaseUnavailable.
    """
    try:
        place = placement(control(), admin.tenant_id)
    except NoDatabase:
        return
    with suppress(NoSuchMember), tenant_session(place) as session_there:
        member = members.set_password(
            tenant_session=session_there,
            email=admin.email,
            password_hash=admin.password_hash or "",
            now=clock.now(),
        )
        accounts.erase_unused_tokens(control_session=control(), subject_id=member.id)
