"""How Stripe is spoken to: one SDK client over our own HTTP connections, and its refusals.

The SDK encodes, signs on and reads; it neither retries (the charge protocol decides that) nor
measures us for Stripe, and none of its objects or errors leaves this module: answers are plain
dicts, refusals `Refused`, everything unclear `GatewayUnavailable`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import stripe

from invoices.gateways.connections import Connections
from invoices.gateways.port import GatewayUnavailable

# The words on the wire belong to this version (it renamed payment_method_types, for one), so it is
# ours to change and not the SDK's.
API_VERSION = "2026-10-28.endive"
PUBLIC_ADDRESS = "https://api.stripe.com"

# Else the SDK keeps a file in the home directory and tells Stripe about this machine.
stripe.enable_telemetry = False


class Refused(Exception):
    """Stripe's refusal, by its code. It never leaves the adapter."""

    def __init__(self, stated: Mapping[str, Any], *, status: int) -> None:
        self.status = status
        self.code = str(stated.get("code") or "")
        self.decline_code = str(stated.get("decline_code") or "")
        self.advice_code = str(stated.get("advice_code") or "")
        self.message = str(stated.get("message") or "")
        self.param = str(stated.get("param") or "")
        intent = stated.get("payment_intent")
        self.payment_id = intent.get("id") if isinstance(intent, dict) else None
        super().__init__(self.code or self.message)


class Transport(stripe.HTTPClient):
    """The SDK's way out, over the same HTTP library as our other adapters."""

    name = "httpx"

    def __init__(self, connections: Connections) -> None:
        super().__init__()
        self._connections = connections

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        **_usage: Any,
    ) -> tuple[Any, int, Mapping[str, str]]:
        """This function will send one request; the SDK calls it. Raises: GatewayUnavailable."""
        response = self._connections.send_as_is(method, url, headers=headers, content=post_data)
        return response.content, response.status_code, response.headers

    def close(self) -> None:
        """This function will close the connections."""
        self._connections.close()


def open_client(*, secret_key: str, base_url: str, transport: Transport) -> stripe.StripeClient:
    """This function will open a client that asks `base_url` and never asks twice by itself."""
    return stripe.StripeClient(
        secret_key,
        base_addresses={"api": base_url.rstrip("/")},
        stripe_version=API_VERSION,
        max_network_retries=0,
        http_client=transport,
    )


def plain(answer: stripe.StripeObject) -> dict[str, Any]:
    """This function will turn an object of the SDK into the plain dict that came over the wire."""
    found: dict[str, Any] = answer.to_dict()
    return found


def each(rows: Iterable[stripe.StripeObject]) -> Iterator[dict[str, Any]]:
    """This function will yield rows of a list as plain dicts, page after page.

    Raises: Refused, GatewayUnavailable.
    """
    with answered():
        for row in rows:
            yield plain(row)


@contextmanager
def answered() -> Iterator[None]:
    """This function will translate what the SDK raises inside it.

    Raises: Refused (Stripe said no and did nothing), GatewayUnavailable (it may have said yes).
    """
    try:
        yield
    except (
        stripe.CardError,
        stripe.InvalidRequestError,
        stripe.AuthenticationError,
        stripe.PermissionError,
    ) as error:
        raise Refused(_stated(error), status=error.http_status or 0) from error
    except stripe.IdempotencyError as error:
        # Says nothing about what the first request with the key has done.
        raise GatewayUnavailable("The gateway knows the key with another request.") from error
    except stripe.StripeError as error:
        # Time-outs, 409 and 429 while another request holds the key or the customer, and 5xx,
        # which the key may replay for a day although the money moved.
        said = f"answered {error.http_status}" if error.http_status else "gave no answer"
        raise GatewayUnavailable(f"The gateway {said} ({_summary(error)}).") from error


def _stated(error: stripe.StripeError) -> dict[str, Any]:
    body = error.json_body
    stated = body.get("error") if isinstance(body, dict) else None
    if isinstance(stated, dict):
        return stated
    return {"code": "no_reason_given", "message": error.user_message}


def _summary(error: stripe.StripeError) -> str:
    stated = _stated(error)
    return str(stated.get("code") or stated.get("type") or type(error).__name__)[:200]
