"""Asking the sandbox gateway over HTTP, and telling its refusals from answers that never came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invoices.gateways import port, reading
from invoices.gateways.connections import Connections, says_nothing


class Refused(Exception):
    """The gateway's refusal, by its code. It never leaves the adapter."""

    def __init__(self, answer: Mapping[str, Any], *, payment_id: str | None = None) -> None:
        error = answer.get("error")
        stated = error if isinstance(error, dict) else {}
        self.code = str(stated.get("code", ""))
        self.message = str(stated.get("message", ""))
        super().__init__(self.code)
        payment = answer.get("payment")
        self.payment_id = payment.get("id") if isinstance(payment, dict) else payment_id


class Client(Connections):
    """One secret key at one sandbox gateway. Safe to share between threads."""

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """This function will return the gateway's answer.

        Raises: Refused (it said no), GatewayUnavailable (it may have said yes).
        """
        response = self.send(method, path, body=body, query=query, idempotency_key=idempotency_key)
        if says_nothing(response):
            raise port.GatewayUnavailable(f"The gateway answered {response.status_code}.")
        answer = reading.mapping(reading.body(response))
        if response.is_success:
            return answer
        refusal = Refused(answer)
        if not refusal.code:
            raise port.GatewayUnavailable(f"The gateway answered {response.status_code} unclearly.")
        if refusal.code == "idempotency_key_reused":
            # Says nothing about what the first request with the key has done.
            raise port.GatewayUnavailable("The gateway knows the key with another request.")
        raise refusal


def unexpected(refusal: Refused) -> port.GatewayUnavailable:
    """This function will tell of a refusal that nobody reckoned with."""
    return port.GatewayUnavailable(f"The gateway refused: {refusal.code}. {refusal.message}")


def is_id(text: str) -> bool:
    """This function will tell whether a text may become part of an address."""
    return text.isascii() and text.replace("_", "").isalnum()


def checked_id(text: str) -> str:
    """This function will return an id of this gateway. Raises: ValueError."""
    if not is_id(text):
        raise ValueError(f"{text!r} is not an id of this gateway.")
    return text
