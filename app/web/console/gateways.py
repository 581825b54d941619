"""Our accounts at payment gateways: which are used when, and their keys, which only go in."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, flash, g, render_template, request, url_for
from werkzeug.datastructures import MultiDict

from app.base import clock
from app.base.config import settings
from app.base.errors import Conflict, Invalid, TenantryError
from app.web.auth import see_other, staff_required
from app.web.db import control
from app.web.i18n import gettext, lazy
from app.web.security import limiter
from invoices import gateway_accounts
from invoices.gateway_accounts import NewAccount
from invoices.gateways import registry
from tenants.texts import one_line

console_gateways = Blueprint("console_gateways", __name__, url_prefix="/console/gateways")

# Whoever can change where payments go could take them.
ADMIN = ("admin",)
PLACES = {
    "default": lazy("Default: used unless a customer chooses another"),
    "offered": lazy("Offered: customers may choose it"),
    "fallback": lazy("Fallback: offered while another does not answer"),
    "none": lazy("Not offered: earlier methods are still charged there"),
}
CREDENTIAL_NAMES = {
    "account": lazy("Bank account, as payers read it"),
    "api_secret": lazy("API secret"),
    "base_url": lazy("Address of the gateway's interface"),
    "channel": lazy("Channel: kakaopay, naverpay, tosspay, paypal or card"),
    "channel_key": lazy("Channel key"),
    "client_key": lazy("Client key, which browsers see"),
    "notice_url": lazy("Address that payments of this account report to"),
    "script_url": lazy("Address of the gateway's script for browsers"),
    "secret_key": lazy("Secret key"),
    "security_key": lazy("Security key, which signs webhooks"),
    "store_id": lazy("Store ID"),
    "webhook_secret": lazy("Webhook secret"),
}


@console_gateways.get("")
@staff_required(*ADMIN)
def index() -> str:
    """This function will list the accounts and how each is used."""
    rows = gateway_accounts.listed(control_session=control())
    return render_template(
        "console/gateways/list.html",
        rows=rows,
        place_of=place_of,
        built_in=settings().gateway if not any(row.is_default for row in rows) else "",
        kinds=sorted(registry.names()),
    )


def place_of(account: Any) -> str:
    """This function will say how an account is used: default, fallback, offered or none."""
    for place in ("default", "fallback", "offered"):
        if getattr(account, f"is_{place}"):
            return place
    return "none"


@console_gateways.get("/new/<gateway>")
@staff_required(*ADMIN)
def new(gateway: str) -> str:
    """This function will ask for what an account at that gateway needs."""
    return _new_page(gateway)


def _new_page(
    gateway: str,
    *,
    form: MultiDict[str, str] | None = None,
    error: TenantryError | None = None,
) -> str:
    return render_template(
        "console/gateways/new.html",
        gateway=gateway,
        fields=registry.kind(gateway).credentials,
        names=CREDENTIAL_NAMES,
        typed=form or MultiDict(),
        error=error,
        told=gettext(error.message) if error else "",
    )


@console_gateways.post("/new/<gateway>")
@staff_required(*ADMIN)
def add(gateway: str) -> Any:
    """This function will store a new account."""
    form = request.form
    account = NewAccount(
        code=form.get("code", "").strip().lower(),
        gateway=gateway,
        title_ko=one_line(form.get("title_ko", "")),
        title_en=one_line(form.get("title_en", "")),
        credentials=_credentials(gateway),
        currencies=tuple(form.get("currencies", "").upper().replace(",", " ").split())[:20],
    )
    try:
        stored = gateway_accounts.add(
            control_session=control(), account=account, actor=g.actor, now=clock.now()
        )
    except (Invalid, Conflict) as error:
        control().rollback()
        # What was typed comes back, but no secret does.
        return _new_page(gateway, form=form, error=error), error.status
    control().commit()
    flash(gettext("The account is stored. Test it, then say when it is used."), "good")
    return see_other(url_for(".details", code=stored.code))


def _credentials(gateway: str) -> dict[str, str]:
    """What was typed; a package's gateway that names nothing gets `name=value` lines."""
    wanted = registry.kind(gateway).credentials
    if wanted:
        return {each.name: request.form.get(f"credential-{each.name}", "") for each in wanted}
    lines = request.form.get("credentials", "").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    return {name.strip(): value.strip() for name, _, value in pairs}


@console_gateways.get("/<code>")
@staff_required(*ADMIN)
def details(code: str) -> str:
    """This function will show one account, and none of its secrets."""
    return _details_page(code)


def _details_page(code: str, *, error: TenantryError | None = None) -> str:
    account = gateway_accounts.found(control_session=control(), code=code)
    return render_template(
        "console/gateways/details.html",
        row=account,  # `account` is who is signed in, to the page's frame
        place=place_of(account),
        uses=PLACES,
        fields=registry.kind(account.gateway).credentials,
        shown=gateway_accounts.shown(account),
        names=CREDENTIAL_NAMES,
        hook=f"{settings().public_url}/hooks/{account.code}",
        error=error,
        told=gettext(error.message) if error else "",
    )


@console_gateways.post("/<code>/credentials")
@staff_required(*ADMIN)
def rotate(code: str) -> Any:
    """This function will put new credentials in the place of the old ones."""
    account = gateway_accounts.found(control_session=control(), code=code)
    try:
        gateway_accounts.rotate(
            control_session=control(),
            code=code,
            credentials=_credentials(account.gateway),
            actor=g.actor,
            now=clock.now(),
        )
    except Invalid as error:
        control().rollback()
        return _details_page(code, error=error), error.status
    control().commit()
    flash(gettext("The new credentials are used within seconds. Test them now."), "good")
    return see_other(url_for(".details", code=code))


@console_gateways.post("/<code>/use")
@staff_required(*ADMIN)
def use(code: str) -> Any:
    """This function will say when the account is used."""
    gateway_accounts.use(
        control_session=control(),
        code=code,
        place=request.form.get("place", ""),
        actor=g.actor,
        now=clock.now(),
    )
    control().commit()
    flash(gettext("Saved. Methods that are registered already stay where they are."), "good")
    return see_other(url_for(".details", code=code))


@console_gateways.post("/<code>/test")
@staff_required(*ADMIN)
@limiter.limit("20/minute")
def test(code: str) -> Any:
    """This function will ask the gateway something harmless and tell what it said."""
    gateway_accounts.found(control_session=control(), code=code)
    control().commit()  # the gateway is asked in no transaction
    answer = gateway_accounts.ask(code=code)
    if answer.well:
        flash(gettext(answer.said), "good")
    else:
        flash(gettext("The test failed: %(said)s", said=gettext(answer.said)), "bad")
    return see_other(url_for(".details", code=code))


@console_gateways.post("/<code>/disable")
@staff_required(*ADMIN)
def disable(code: str) -> Any:
    """This function will take an account out of use, for a reason."""
    try:
        gateway_accounts.disable(
            control_session=control(),
            code=code,
            reason=one_line(request.form.get("reason", "")),
            actor=g.actor,
            now=clock.now(),
        )
    except Invalid as error:
        control().rollback()
        return _details_page(code, error=error), error.status
    control().commit()
    flash(gettext("Nothing new goes to this account. What was paid there stays there."), "good")
    return see_other(url_for(".details", code=code))


@console_gateways.post("/<code>/enable")
@staff_required(*ADMIN)
def enable(code: str) -> Any:
    """This function will put a disabled account back."""
    gateway_accounts.enable(control_session=control(), code=code, actor=g.actor, now=clock.now())
    control().commit()
    flash(gettext("The account is back. Say when it is used."), "good")
    return see_other(url_for(".details", code=code))
