"""Consent to a dearer price: the terms in full, and a yes or a no."""

from __future__ import annotations

from typing import Any

from flask import flash, g, render_template, request, url_for

from app.base import clock
from app.base.errors import Conflict, Invalid, TenantryError
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.portal.door import portal, portal_required
from app.web.portal.plan import sections
from app.web.refusals import words_of
from invoices import price_consents
from invoices.models import PriceConsent
from invoices.price_consents import Answer


@portal.get("/plan/consent")
@portal_required
def price_consent() -> Any:
    """This function will show the terms of a dearer price that the tenant is asked to agree to."""
    asked = price_asked()
    if asked is None:
        flash(gettext("No new price waits for your consent."), "info")
        return see_other(url_for("portal.plan"))
    return _page(asked)


def price_asked() -> PriceConsent | None:
    """This function will return what the tenant is asked to agree to, for the plan page too."""
    return price_consents.waiting(control_session=control(), tenant_id=g.tenant.id)


@portal.post("/plan/consent")
@portal_required
def answer_price() -> Any:
    """This function will record a yes or a no; without a yes the price does not come."""
    if request.form.get("answer") == "no":
        price_consents.refuse(
            control_session=control(), tenant_id=g.tenant.id, actor=g.actor, now=clock.now()
        )
        control().commit()
        flash(gettext("Noted. You can still agree until the day before the new price."), "good")
        return see_other(url_for("portal.plan"))
    try:
        price_consents.give(
            control_session=control(),
            tenant_id=g.tenant.id,
            answer=Answer(
                accepted=request.form.get("accept") == "y",
                text_sha256=request.form.get("text_sha256", ""),
                language=request.form.get("language", ""),
            ),
            actor=g.actor,
            now=clock.now(),
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        asked = price_asked()
        if asked is None:
            raise
        return _page(asked, error), error.status
    control().commit()
    flash(gettext("Thank you. The new price applies from its day, and not before."), "good")
    return see_other(url_for("portal.plan"))


def _page(asked: PriceConsent, error: TenantryError | None = None) -> str:
    notice = price_consents.terms(control_session=control(), asked=asked, language=language())
    return render_template(
        "portal/price_consent.html",
        asked=asked,
        notice=notice,
        terms=sections(notice),
        open_now=clock.today(clock.now(), g.tenant.timezone) >= asked.opens_on,
        error=error,
        told=words_of(error) if error else "",
    )


portal.add_app_template_global(price_asked, "price_asked")
