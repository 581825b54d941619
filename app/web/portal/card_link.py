"""Where the link in a mail about a declined card leads: to the card page, after signing in."""

from __future__ import annotations

from typing import Any

from flask import flash, g, url_for

from app.base import clock
from app.base.errors import Invalid
from app.web.auth import see_other
from app.web.i18n import gettext
from app.web.portal.door import portal, portal_required
from invoices import card_links


@portal.get("/card/<token>")
@portal_required
def card_link(token: str) -> Any:
    """This function will lead an administrator to the card page that a mail was about.

    The link opens nothing by itself. One that expired, or is another company's, leads nowhere
    else: whoever is signed in may change their own card all the same.
    """
    try:
        meant_for = card_links.tenant_of(token=token, now=clock.now())
    except Invalid as error:
        flash(gettext(error.message), "warn")
        return see_other(url_for("portal.payment"))
    if meant_for != g.tenant.id:
        flash(
            gettext("This link is for another company. Sign in as its administrator to use it."),
            "warn",
        )
        return see_other(url_for("portal.overview"))
    return see_other(url_for("portal.payment"))
