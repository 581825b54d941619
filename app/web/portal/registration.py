"""The page on which a gateway's own script registers a payment method.

It is the only page that loads a script of somebody else, and its policy names that gateway alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog
from flask import current_app, g, make_response, render_template, url_for

from app.base.errors import Unavailable
from app.web.auth import see_other
from app.web.db import control
from app.web.i18n import language
from app.web.portal.door import portal, portal_required
from app.web.portal.payment import gateway_away, lead_to
from app.web.security import limiter, loosened_for, origin
from invoices import payment_methods
from invoices.gateways.port import BrowserScript

log = structlog.get_logger()


@portal.get("/payment/registrations/<uuid:registration_id>")
@portal_required
@limiter.limit("30/minute")
def registration(registration_id: UUID) -> Any:
    """This function will show the gateway's form, or lead to it where it is not ours to show."""
    begun = payment_methods.begun(
        control_session=control(), tenant_id=g.tenant.id, registration_id=registration_id
    )
    if begun.completed_at is not None:
        return see_other(url_for("portal.payment"))
    control().commit()
    try:
        started = payment_methods.start_registration(registration=begun, language=language())
    except Unavailable:
        log.warning("registration_page_unavailable", tenant_id=str(g.tenant.id))
        return gateway_away(begun.gateway)
    if started.redirect_url:
        return lead_to(started.redirect_url)
    script = started.script
    if script is None or not _is_spoken(script.name):
        log.error("registration_script_unknown", gateway=begun.gateway)
        return gateway_away()
    page = render_template(
        "portal/registration.html",
        script=script,
        parameters=json.dumps(dict(started.browser_parameters), ensure_ascii=False),
    )
    return loosened_for(make_response(page), origins=_origins(script))


def _is_spoken(name: str) -> bool:
    folder = Path(str(current_app.static_folder)) / "registration"
    return name.isidentifier() and (folder / f"{name}.js").is_file()


def _origins(script: BrowserScript) -> list[str]:
    return sorted({origin(url) for url in (script.url, *script.origins)})
