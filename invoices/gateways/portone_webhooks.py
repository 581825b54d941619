"""PortOne's webhooks: signed in the Standard Webhooks form, about one store of ours.

Source: PortOne's V2 API reference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime

from app.base.errors import Invalid
from invoices.gateways import port, standard_webhooks
from invoices.gateways.port import EventKind
from invoices.gateways.reading import moment

_EVENTS = {
    "Transaction.Paid": EventKind.PAYMENT_SUCCEEDED,
    "Transaction.Failed": EventKind.PAYMENT_DECLINED,
    "Transaction.Cancelled": EventKind.PAYMENT_REFUNDED,
    "Transaction.PartialCancelled": EventKind.PAYMENT_REFUNDED,
    "Transaction.DisputeCreated": EventKind.PAYMENT_DISPUTED,
    "BillingKey.Issued": EventKind.METHOD_REGISTERED,
    "BillingKey.Deleted": EventKind.METHOD_REVOKED,
}


def parse(
    *, secret: str, store_id: str, headers: Mapping[str, str], raw_body: bytes, now: datetime
) -> port.GatewayEvent:
    """This function will check the signature, the time and the store of a message.

    Raises: WebhookRefused (forged, stale, from the future, another store's), Invalid.
    """
    event_id, _sent_at = standard_webhooks.verify(
        secret=secret, headers=headers, raw_body=raw_body, now=now
    )
    try:
        told = json.loads(raw_body)
        data = told["data"]
        payment_id = data.get("paymentId")
        event = port.GatewayEvent(
            event_id=event_id,
            kind=_EVENTS.get(told["type"], EventKind.OTHER),
            trust=port.Trust.SIGNED,
            occurred_at=moment(told, "timestamp"),
            gateway_payment_id=payment_id,
            order_id=payment_id,
            method=data.get("billingKey"),
        )
        elsewhere = data.get("storeId", store_id) != store_id
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecursionError,
        port.GatewayUnavailable,
    ) as error:
        raise Invalid("The webhook's body is not readable.") from error
    if elsewhere:
        raise port.WebhookRefused("The webhook is about another store.")
    return event
