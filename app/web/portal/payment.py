"""How the tenant pays: methods registered at a gateway of their choice, and where to transfer."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from flask import flash, g, redirect, render_template, request, url_for

from app.base import clock
from app.base.config import settings
from app.base.errors import Unavailable
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import gettext, language
from app.web.portal.door import portal, portal_required
from app.web.portal.overview import open_invoices
from app.web.portal.plan import may_convert
from app.web.security import limiter, origin
from invoices import gateway_accounts, method_choices, parties, payment_methods
from invoices.gateways.port import RegistrationRefused

log = structlog.get_logger()


@portal.get("/payment")
@portal_required
def payment() -> str:
    """This function will show the cards that work, what is unpaid, and where to transfer."""
    unpaid = open_invoices()
    seller = parties.seller_snapshot()
    methods = payment_methods.methods(control_session=control(), tenant_id=g.tenant.id)
    return render_template(
        "portal/payment.html",
        methods=methods,
        first=payment_methods.default_method(control_session=control(), tenant_id=g.tenant.id),
        usable={
            each.id
            for each in methods
            if payment_methods.is_in_use(control_session=control(), method=each)
        },
        choices=gateway_accounts.choices(
            control_session=control(),
            currency=g.tenant.currency,
            instead_of=request.args.get("instead_of", ""),
        ),
        titles=gateway_accounts.titles(control_session=control()),
        unpaid=unpaid,
        bank=parties.bank_account(
            seller, reference=(unpaid[0].number_text or "") if unpaid else g.tenant.name
        ),
        contact=settings().mail_reply_to,
    )


@portal.post("/payment/cards")
@portal_required
@limiter.limit("10/minute")
def begin_card() -> Any:
    """This function will send the browser to where the chosen gateway registers the method."""
    account = gateway_accounts.chosen(
        control_session=control(),
        currency=g.tenant.currency,
        code=request.form.get("account", ""),
    )
    registration = payment_methods.begin_registration(
        control_session=control(), tenant_id=g.tenant.id, now=clock.now(), account=account
    )
    # The gateway is asked in no transaction; what it sends back finds the row by its id.
    control().commit()
    try:
        started = payment_methods.start_registration(registration=registration, language=language())
    except Unavailable:
        log.warning("registration_page_unavailable", account=account, tenant_id=str(g.tenant.id))
        return gateway_away(account)
    if started.redirect_url:
        return lead_to(started.redirect_url)
    return see_other(url_for("portal.registration", registration_id=registration.id))


def lead_to(page: str) -> Any:
    """This function will lead the browser to a gateway's own page.

    Browsers hold where a form leads to against our policy, which names no gateway but our own:
    to any other one a link leads.
    """
    if origin(page) == origin(settings().sandbox_gateway_url):
        return see_other(page)
    return render_template(
        "portal/registration_elsewhere.html", page=page, host=urlsplit(page).hostname
    )


def gateway_away(account: str = "") -> Any:
    """This function will lead back to the payment page and say that nothing was changed.

    `account`: the one that did not answer; the fallback is offered in its stead.
    """
    flash(
        gettext(
            "The payment service does not answer just now. Nothing was changed; "
            "please try again in a few minutes, or pay by bank transfer."
        ),
        "bad",
    )
    return see_other(url_for("portal.payment", instead_of=account or None))


@portal.get("/payment/registered/<uuid:registration_id>")
@portal_required
def registered(registration_id: UUID) -> Any:
    """This function will take what the gateway gave the browser and store the method for good."""
    registration = payment_methods.begun(
        control_session=control(), tenant_id=g.tenant.id, registration_id=registration_id
    )
    if registration.completed_at is None:
        control().commit()
        try:
            found = payment_methods.exchange(registration=registration, params=request.args)
        except Unavailable:
            return gateway_away(registration.gateway)
        except RegistrationRefused as error:
            flash(gettext(error.message), "bad")
            return see_other(url_for("portal.payment"))
        payment_methods.complete_registration(
            control_session=control(),
            registration_id=registration_id,
            registered=found,
            actor=g.actor,
            now=clock.now(),
        )
        control().commit()
        flash(_registered_words(), "good")
    # A redirect, so that the gateway's parameters leave the address bar. Whoever has not
    # subscribed yet registered the card to do so: the next step is the consent.
    return redirect(url_for("portal.convert" if may_convert() else "portal.payment"))


def _registered_words() -> str:
    if may_convert():
        return gettext("The card is registered. Subscribe below whenever you like.")
    return gettext("The card is registered. Open invoices are charged to it now.")


@portal.post("/payment/cards/<uuid:method_id>/first")
@portal_required
@limiter.limit("10/minute")
def charge_first(method_id: UUID) -> Any:
    """This function will charge a card before the others from now on, and what is open at once."""
    method_choices.make_default(
        control_session=control(),
        tenant_id=g.tenant.id,
        method_id=method_id,
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("This card is charged first from now on, and for open invoices now."), "good")
    return see_other(url_for("portal.payment"))


@portal.post("/payment/cards/<uuid:method_id>/stand-in")
@portal_required
@limiter.limit("10/minute")
def let_stand_in(method_id: UUID) -> Any:
    """This function will note that a card may be charged where the first is declined, or may not.

    The customer's own word: nothing but the first card is ever charged without it.
    """
    allowed = request.form.get("allow") == "yes"
    act = method_choices.allow_fallback if allowed else method_choices.end_fallback
    act(
        control_session=control(),
        tenant_id=g.tenant.id,
        method_id=method_id,
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(
        gettext("This card is charged where the first one is declined.")
        if allowed
        else gettext("This card is not charged where the first one is declined any more."),
        "good",
    )
    return see_other(url_for("portal.payment"))


@portal.post("/payment/cards/<uuid:method_id>/remove")
@portal_required
def remove_card(method_id: UUID) -> Any:
    """This function will stop using a card, here at once and at the gateway as soon as it hears."""
    payment_methods.revoke(
        control_session=control(),
        tenant_id=g.tenant.id,
        method_id=method_id,
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("The card is removed and will not be charged any more."), "good")
    return see_other(url_for("portal.payment"))
