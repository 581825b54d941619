"""What follows the form: the mailed link that shows first and confirms after, and the status."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, flash, make_response, render_template, url_for

from app.base import clock
from app.base.accounts import LinkExpired, LinkUsed
from app.base.config import settings
from app.web.auth import see_other
from app.web.db import control, db
from app.web.i18n import _
from app.web.security import limiter
from tenants import signup
from tenants.models import Application, Tenant

confirmation = Blueprint("confirmation", __name__)

EXPIRED_STATUS = 410


@confirmation.after_request
def _private(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    # The address of these pages is a secret: no other page is to learn it.
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Robots-Tag"] = "noindex"
    return response


@confirmation.get("/trial/confirm/<token>")
def show(token: str) -> Any:
    """This function will show what the link confirms; scanners of mail may open it freely."""
    try:
        application = signup.show_confirmation(
            control_session=control(), token=token, now=clock.now()
        )
    except LinkUsed:
        return _used()
    except LinkExpired:
        return _expired(token)
    return render_template("site/confirm.html", application=application)


@confirmation.post("/trial/confirm/<token>")
@limiter.limit("30 per minute")
def confirm(token: str) -> Any:
    """This function will use the link up and go on to the status page."""
    try:
        application = signup.confirm(control_session=control(), token=token, now=clock.now())
    except LinkUsed:
        return _used()
    except LinkExpired:
        return _expired(token)
    db.session.commit()
    flash(_("Your e-mail is confirmed."), "good")
    return see_other(signup.status_link(application).removeprefix(settings().public_url))


def _used() -> Response:
    db.session.rollback()
    page = render_template("site/link_used.html", reply_to=settings().mail_reply_to)
    return make_response(page, 409)


def _expired(token: str) -> Response:
    db.session.rollback()
    page = render_template("site/link_expired.html", token=token)
    return make_response(page, EXPIRED_STATUS)


@confirmation.post("/trial/renew/<token>")
@limiter.limit("10 per hour")
def renew(token: str) -> Any:
    """This function will mail a fresh link to the owner of an expired one."""
    try:
        signup.renew(control_session=control(), token=token, now=clock.now())
    except LinkUsed:
        return _used()
    except LinkExpired:
        # The same answer as for a link that can be renewed: it tells nothing about the mailbox.
        db.session.rollback()
    db.session.commit()
    return see_other(url_for("site.confirmation.renewed"))


@confirmation.get("/trial/renewed")
def renewed() -> str:
    """This function will send the reader to their mailbox."""
    return render_template("site/renewed.html", reply_to=settings().mail_reply_to)


@confirmation.get("/status/<signed>")
def status(signed: str) -> str:
    """This function will show an applicant how far the application has come."""
    found = signup.status(control_session=control(), signed=signed)
    return render_template(
        "site/status.html",
        application=found.application,
        tenant=found.tenant,
        steps=steps(found.application, found.tenant),
        s=settings(),
        now=clock.now(),
    )


def steps(application: Application, tenant: Tenant | None) -> list[dict[str, str]]:
    """This function will list the four steps an applicant waits for, each with its state."""
    state = application.state
    ready = tenant is not None and tenant.state != "approved"
    reached = {"submitted": 1, "confirmed": 2, "rejected": 2, "approved": 4 if ready else 3}[state]
    labels = (_("Received"), _("E-mail confirmed"), _("Reviewed"), _("Workspace ready"))
    found = [
        {"label": label, "state": "done" if place < reached else "todo"}
        for place, label in enumerate(labels)
    ]
    if state == "rejected":
        found[2]["state"] = "failed"
    elif reached < len(found):
        found[reached]["state"] = "current"
    return found
