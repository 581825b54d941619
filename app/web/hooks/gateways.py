"""Webhooks of payment gateways: verified on the raw body, stored, and answered within moments.

Nothing is applied here: a job asks the gateway itself what is true. No cookie is read, so no
cookie can be abused; what proves the sender is the signature over the body. Some gateways sign
little: what comes without a proof is counted by address, and kept only where it is about
something of ours that nobody was told to look at already.
"""

from __future__ import annotations

import structlog
from flask import Blueprint, request
from werkzeug.exceptions import (
    BadRequest,
    LengthRequired,
    RequestEntityTooLarge,
    TooManyRequests,
)

from app.base import clock
from app.base.errors import Invalid, NotFound
from app.web.db import control
from app.web.hooks import strangers
from app.web.security import csrf, limiter
from invoices import gateway_events
from invoices.gateways import registry
from invoices.gateways.port import Capability, Gateway, GatewayEvent, WebhookRefused

log = structlog.get_logger(__name__)

hooks = Blueprint("hooks", __name__, url_prefix="/hooks")
# A gateway may redeliver thousands of events in a burst, all from one address; only those without
# a proof are counted, by `strangers`.
limiter.exempt(hooks)
csrf.exempt(hooks)

# Events name a payment; the payment itself is fetched. Anything longer is not from a gateway.
BODY_BYTES_MAX = 256 * 1024


class NoSuchHook(NotFound):
    """No gateway of that name calls in here."""


@hooks.post("/<gateway_name>")
def receive(gateway_name: str) -> tuple[str, int]:
    """This function will store a genuine event once, and say so as often as it is delivered."""
    request.max_content_length = BODY_BYTES_MAX
    raw_body = _raw_body()
    try:
        at = registry.gateway(gateway_name)
    except registry.NoSuchGateway as error:
        raise NoSuchHook("No gateway of that name calls in here.") from error
    if Capability.WEBHOOKS not in at.capabilities:
        raise NoSuchHook("No gateway of that name calls in here.")
    event = _checked(at, raw_body)
    proven = gateway_events.proven(control_session=control(), gateway=gateway_name, event=event)
    if not proven:
        _count(strangers.UNSIGNED_PER_MINUTE_MAX)
    fresh = gateway_events.store(
        control_session=control(), gateway=gateway_name, event=event, now=clock.now()
    )
    control().commit()
    log.info("webhook.taken", gateway=gateway_name, kind=event.kind.value, stored=fresh)
    return "", 200


def _checked(at: Gateway, raw_body: bytes) -> GatewayEvent:
    try:
        return at.parse_webhook(
            headers=dict(request.headers), raw_body=raw_body, now=clock.real_now()
        )
    except Invalid as error:
        raise BadRequest from error
    except WebhookRefused:
        _count(strangers.FORGED_PER_MINUTE_MAX)
        raise


def _count(most: int) -> None:
    if not strangers.admits(request.remote_addr or "", most=most):
        log.warning("webhook.too_many")
        raise TooManyRequests


def _raw_body() -> bytes:
    if request.content_length is None:
        # Without a length the body would be read as empty, and its signature called wrong.
        raise LengthRequired
    try:
        return request.get_data(cache=False)
    except RequestEntityTooLarge:
        log.warning("webhook.too_large", bytes=request.content_length)
        raise
