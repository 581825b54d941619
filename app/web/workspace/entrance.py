"""How members come in and go: sign-in by workspace, e-mail and password; the invitation's link."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from flask import flash, redirect, render_template, request, url_for
from sqlalchemy import select

from app.base import accounts, clock, secrets
from app.base import sessions as stored
from app.base.errors import Forbidden
from app.web.auth import attempt_keys, note_access, safe_next, see_other
from app.web.db import control
from app.web.i18n import gettext
from app.web.security import limiter
from app.web.sessions import browser_session, end_sessions, sign_in, sign_out
from app.web.workspace.blueprint import workspace
from app.web.workspace.guard import closed, workspace_required
from tenants import databases, members
from tenants.models import LIVE_STATES, OPEN_STATES, Tenant
from tenants.personal_data import invitation_purpose
from tenants.schema import Member

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


@workspace.get("/")
@workspace_required()
def home() -> Any:
    """This function will open the first page of the workspace."""
    return redirect(url_for("workspace.drawings_page"))


@workspace.route("/sign-in", endpoint="sign_in", methods=["GET", "POST"])
@limiter.limit("30/minute", methods=["POST"])
def sign_in_page() -> Any:
    """This function will show the sign-in form, and sign in whoever fills it in rightly."""
    if request.method == "GET":
        if browser_session().user_id is not None and "workspace" not in request.args:
            return see_other(safe_next(url_for("workspace.drawings_page")))
        return _form(slug=_slug(request.args.get("workspace", "")))
    slug, email = _slug(request.form.get("workspace", "")), request.form.get("email", "")
    keys = attempt_keys("workspace", f"{slug} {email}")
    tenant = _tenant(slug)
    try:
        accounts.check_attempts(control_session=control(), keys=keys)
        member = _authenticate(tenant, email, request.form.get("password", ""))
    except Forbidden as error:
        if not isinstance(error, accounts.TooManyAttempts):
            accounts.count_failure(control_session=control(), keys=keys)
        note_access(
            "sign_in_refused", audience="workspace", tenant_id=tenant.id if tenant else None
        )
        control().commit()
        return _form(slug=slug, email=email, error=gettext(error.message)), error.status
    assert tenant is not None, "nobody is a member of no tenant"
    accounts.forget_failures(control_session=control(), keys=keys)
    if tenant.state not in OPEN_STATES:
        control().commit()
        return closed(tenant)
    note_access("signed_in", audience="workspace", user_id=member.id, tenant_id=tenant.id)
    sign_in(user_id=member.id, tenant_id=tenant.id)
    return see_other(safe_next(url_for("workspace.drawings_page")))


def _form(*, slug: str, email: str = "", error: str = "") -> str:
    return render_template(
        "workspace/sign_in.html", slug=slug, email=email, error=error, next=safe_next("")
    )


def _slug(text: str) -> str:
    """A workspace's name as people type it; anything that can't be one is nobody's."""
    name = text.strip().lower()
    return name if _SLUG.fullmatch(name) else ""


def _tenant(slug: str) -> Tenant | None:
    return control().scalar(select(Tenant).where(Tenant.slug == slug)) if slug else None


def _authenticate(tenant: Tenant | None, email: str, password: str) -> Member:
    """The same answer after the same time, whether the workspace or the member is unknown."""
    if tenant is None or tenant.state not in LIVE_STATES:
        secrets.password_matches(None, password)
        raise accounts.WrongCredentials(
            "The workspace, the e-mail address or the password is wrong."
        )
    try:
        with databases.tenant_session(databases.placement(control(), tenant.id)) as tenant_session:
            member = members.authenticate(
                tenant_session=tenant_session, email=email, password=password
            )
            members.note_act(tenant_session=tenant_session, member_id=member.id, now=clock.now())
            return member
    except accounts.WrongCredentials as error:
        raise accounts.WrongCredentials(
            "The workspace, the e-mail address or the password is wrong."
        ) from error


@workspace.post("/sign-out")
def leave() -> Any:
    """This function will sign out, on this device."""
    browser = browser_session()
    if browser.user_id is not None:
        note_access(
            "signed_out",
            audience="workspace",
            user_id=browser.user_id,
            tenant_id=browser.tenant_id,
        )
    sign_out()
    return see_other(url_for("workspace.sign_in"))


@workspace.route("/welcome/<slug>/<token>", methods=["GET", "POST"])
@limiter.limit("30/minute", methods=["POST"])
def welcome(slug: str, token: str) -> Any:
    """This function will let somebody invited choose their password, and sign them in."""
    tenant = _tenant(_slug(slug))
    if tenant is None:
        raise accounts.LinkExpired("This link has expired. Please ask for a new one.")
    now = clock.now()
    purpose = invitation_purpose(tenant.id)
    # GET only looks: mail scanners open links before people do.
    member_id = accounts.peek_token(
        control_session=control(), purpose=purpose, token=token, now=now
    )
    if tenant.state not in OPEN_STATES:
        return closed(tenant)
    if request.method == "GET":
        return _password_form(tenant)
    password = request.form.get("password", "")
    try:
        if password != request.form.get("again", ""):
            raise accounts.PasswordTooWeak("The two passwords differ.", field="again")
        accounts.use_token(control_session=control(), purpose=purpose, token=token, now=now)
        _activate(tenant, member_id, password)
    except accounts.PasswordTooWeak as error:
        # The link stays good.
        control().rollback()
        return _password_form(tenant, error), error.status
    # Who asked for a fresh link may have lost the old password to somebody who is in with it.
    _sign_out_everywhere(tenant, member_id)
    note_access("password_set", audience="workspace", user_id=member_id, tenant_id=tenant.id)
    # Control, the used link included, commits after the tenant's own database: a link used for
    # nothing would shut the person out.
    sign_in(user_id=member_id, tenant_id=tenant.id)
    flash(gettext("Your password is set."), "good")
    return see_other(url_for("workspace.drawings_page"))


def _sign_out_everywhere(tenant: Tenant, member_id: UUID) -> None:
    end_sessions(
        stored.end_all(
            control_session=control(),
            user_id=member_id,
            tenant_id=tenant.id,
            audience="workspace",
        )
    )


def _password_form(tenant: Tenant, error: accounts.PasswordTooWeak | None = None) -> str:
    return render_template("workspace/password.html", tenant=tenant, error=error)


def _activate(tenant: Tenant, member_id: UUID, password: str) -> None:
    place = databases.open_workspace(control(), tenant.id)
    with databases.tenant_session(place) as tenant_session:
        member = members.find(tenant_session=tenant_session, member_id=member_id)
        accounts.check_password_strength(password, email=member.email)
        members.activate(
            tenant_session=tenant_session,
            member_id=member_id,
            password_hash=secrets.hash_password(password),
            now=clock.now(),
        )
