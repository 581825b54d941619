"""Staff sign in, choose passwords, and admins say who may do what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from flask import Blueprint, flash, g, redirect, render_template, request, url_for
from sqlalchemy import func, select

from app.base import accounts, audit, clock
from app.base.accounts import Staff
from app.base.audit import Actor
from app.base.config import settings
from app.base.errors import Forbidden, Invalid, NotFound, TenantryError
from app.base.messages import queue_mail
from app.web.auth import (
    attempt_keys,
    current_staff,
    note_access,
    safe_next,
    see_other,
    staff_required,
)
from app.web.db import control
from app.web.i18n import gettext, language, lazy
from app.web.security import limiter, mail_limit
from app.web.sessions import end_everywhere, sign_in, sign_out

INVITATION_HOURS = 72
RESET_HOURS = 2
ROLE_NAMES = {
    "admin": lazy("Admin: everything, and who may do what"),
    "sales": lazy("Sales: reviews applications and looks after trials"),
    "finance": lazy("Finance: invoices, payments and tax papers"),
    "viewer": lazy("Viewer: sees everything, changes nothing"),
}

console_accounts = Blueprint("console_accounts", __name__, url_prefix="/console")


@console_accounts.app_context_processor
def who() -> dict[str, Any]:
    """This function will tell the console's frame who is signed in."""
    if not request.path.startswith("/console") or not hasattr(g, "staff"):
        return {}
    return {
        "staff": g.staff,
        "account": {
            "name": g.staff.name,
            "detail": g.staff.email,
            "sign_out_url": url_for("console_accounts.leave"),
        },
    }


@console_accounts.get("/")
@staff_required()
def home() -> Any:
    """This function will open the page that this role works on."""
    return redirect("/console/invoices" if g.staff.role == "finance" else "/console/review")


@console_accounts.route("/sign-in", endpoint="sign_in", methods=["GET", "POST"])
@limiter.limit("30/minute", methods=["POST"])
def sign_in_page() -> Any:
    """This function will show the sign-in form, and sign in whoever fills it in rightly."""
    if request.method == "GET":
        return see_other(safe_next("/console/")) if current_staff() else _sign_in_form()
    email = request.form.get("email", "")
    keys = attempt_keys("staff", email)
    try:
        accounts.check_attempts(control_session=control(), keys=keys)
        staff = accounts.authenticate_staff(
            control_session=control(), email=email, password=request.form.get("password", "")
        )
    except Forbidden as error:
        if not isinstance(error, accounts.TooManyAttempts):
            accounts.count_failure(control_session=control(), keys=keys)
        note_access("sign_in_refused", audience="staff")
        control().commit()
        return _sign_in_form(email=email, error=gettext(error.message)), error.status
    accounts.forget_failures(control_session=control(), keys=keys)
    note_access("signed_in", audience="staff", user_id=staff.id)
    sign_in(user_id=staff.id)
    return see_other(safe_next("/console/"))


def _sign_in_form(*, email: str = "", error: str = "") -> str:
    return render_template(
        "console/accounts/sign_in.html", email=email, error=error, next=safe_next("")
    )


@console_accounts.post("/sign-out")
def leave() -> Any:
    """This function will sign out, on this device."""
    staff = current_staff()
    if staff:
        note_access("signed_out", audience="staff", user_id=staff.id)
    sign_out()
    return see_other(url_for("console_accounts.sign_in"))


@console_accounts.route("/forgot", methods=["GET", "POST"])
@limiter.limit("5/minute", methods=["POST"])
@mail_limit(5)
def forgot() -> Any:
    """This function will mail a link for a new password, and say the same whoever asked."""
    if request.method == "GET":
        return render_template("console/accounts/forgot.html", sent=False)
    email = request.form.get("email", "").strip().lower()
    staff = control().scalar(
        select(Staff).where(func.lower(Staff.email) == email, Staff.disabled_at.is_(None))
    )
    if staff is not None:
        _mail_link(staff, kind="staff_reset", hours=RESET_HOURS, path="reset")
        control().commit()
    return render_template("console/accounts/forgot.html", sent=True)


def _mail_link(staff: Staff, *, kind: str, hours: int, path: str) -> None:
    now = clock.now()
    token = accounts.issue_token(
        control_session=control(),
        purpose=kind,
        subject_id=staff.id,
        valid_for=timedelta(hours=hours),
        now=now,
    )
    queue_mail(
        control_session=control(),
        room="app.base",
        name=kind,
        to=staff.email,
        language=language(),
        context={
            "name": staff.name,
            "hours": hours,
            "url": f"{settings().public_url}/console/{path}/{token}",
        },
        regarding_id=staff.id,
        now=now,
    )


@console_accounts.route("/welcome/<token>", methods=["GET", "POST"])
def welcome(token: str) -> Any:
    """This function will let somebody invited choose their first password."""
    return _choose_password(token, purpose="staff_invited")


@console_accounts.route("/reset/<token>", methods=["GET", "POST"])
def reset(token: str) -> Any:
    """This function will let somebody who asked for it choose a new password."""
    return _choose_password(token, purpose="staff_reset")


def _choose_password(token: str, *, purpose: str) -> Any:
    now = clock.now()
    # GET only looks: mail scanners open links before people do.
    staff_id = accounts.peek_token(control_session=control(), purpose=purpose, token=token, now=now)
    if request.method == "GET":
        return render_template("console/accounts/password.html", error="", purpose=purpose)
    password = request.form.get("password", "")
    try:
        if password != request.form.get("again", ""):
            raise accounts.PasswordTooWeak("The two passwords differ.", field="again")
        accounts.use_token(control_session=control(), purpose=purpose, token=token, now=now)
        accounts.set_staff_password(
            control_session=control(), staff_id=staff_id, password=password, now=now
        )
    except accounts.PasswordTooWeak as error:
        control().rollback()
        page = render_template(
            "console/accounts/password.html",
            error=gettext(error.message),
            field=error.field,
            purpose=purpose,
        )
        return page, error.status
    end_everywhere(user_id=staff_id)
    note_access("password_set", audience="staff", user_id=staff_id)
    sign_in(user_id=staff_id)
    flash(gettext("Your password is set."), "good")
    return see_other(url_for("console_accounts.home"))


@console_accounts.get("/staff")
@staff_required()
def people() -> Any:
    """This function will list who of us may do what."""
    rows = control().scalars(select(Staff).order_by(Staff.disabled_at.nulls_first(), Staff.name))
    return _people(list(rows))


def _people(rows: list[Staff], *, form: Any = None, error: TenantryError | None = None) -> str:
    return render_template(
        "console/accounts/staff.html",
        rows=rows,
        role_names=ROLE_NAMES,
        form=form or {},
        error=error,
        may_change=g.staff.role == "admin",
    )


@console_accounts.post("/staff")
@staff_required("admin")
def invite() -> Any:
    """This function will add a member of staff and mail them a link."""
    try:
        staff = accounts.add_staff(
            control_session=control(),
            email=_mail_address(request.form.get("email", "")),
            name=_name(request.form.get("name", "")),
            role=request.form.get("role", ""),
            actor=g.actor,
            now=clock.now(),
        )
    except TenantryError as error:
        control().rollback()
        rows = list(control().scalars(select(Staff).order_by(Staff.name)))
        return _people(rows, form=request.form, error=error), error.status
    _mail_link(staff, kind="staff_invited", hours=INVITATION_HOURS, path="welcome")
    control().commit()
    flash(gettext("The invitation is on its way."), "good")
    return see_other(url_for("console_accounts.people"))


def _mail_address(text: str) -> str:
    try:
        return validate_email(text, check_deliverability=False).normalized
    except EmailNotValidError as error:
        raise Invalid("Enter an e-mail address.", field="email") from error


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not 1 <= len(name) <= 60:
        raise Invalid("Enter a name of at most 60 characters.", field="name")
    return name


@console_accounts.post("/staff/<uuid:staff_id>/access")
@staff_required("admin")
def change_access(staff_id: UUID) -> Any:
    """This function will change a role, disable somebody or let them in again."""
    wish = request.form.get("wish", "")
    accounts.set_staff_access(
        control_session=control(),
        staff_id=staff_id,
        role=request.form.get("role") if wish == "role" else None,
        disabled={"disable": True, "enable": False}.get(wish),
        actor=Actor.staff(g.staff.id),
        now=clock.now(),
    )
    if wish == "disable":
        end_everywhere(user_id=staff_id)
    control().commit()
    flash(gettext("Saved."), "good")
    return see_other(url_for("console_accounts.people"))


@console_accounts.post("/staff/<uuid:staff_id>/invite-again")
@staff_required("admin")
def invite_again(staff_id: UUID) -> Any:
    """This function will mail a fresh link to somebody who has no password yet or forgot it."""
    staff = control().get(Staff, staff_id)
    if staff is None or staff.disabled_at is not None:
        raise NotFound("There is no such account.")
    _mail_link(staff, kind="staff_invited", hours=INVITATION_HOURS, path="welcome")
    audit.append(
        control_session=control(),
        actor=g.actor,
        action="staff.invited_again",
        subject_kind="staff",
        subject_id=staff.id,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("The invitation is on its way."), "good")
    return see_other(url_for("console_accounts.people"))
