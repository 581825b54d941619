"""Asking the sandbox gateway over HTTP, and telling its refusals from answers that never came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from invoices.gateways import port, reading

# Of a request with one of these statuses nothing is known, whatever its body says.
_UNCERTAIN_STATUSES = frozenset({408, 409, 425, 429})


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


class Client:
    """One secret key at one sandbox gateway. Safe to share between threads."""

    def __init__(
        self,
        *,
        base_url: str,
        secret_key: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self._client = httpx.Client(
            base_url=base_url,
            auth=(secret_key, ""),
            timeout=httpx.Timeout(read_timeout_seconds, connect=connect_timeout_seconds),
            # A proxy named in the environment has no business between us and this machine.
            trust_env=False,
        )

    def close(self) -> None:
        """This function will close the connections."""
        self._client.close()

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
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        try:
            response = self._client.request(method, path, json=body, params=query, headers=headers)
        except httpx.HTTPError as error:
            raise port.GatewayUnavailable(
                f"The gateway gave no answer ({type(error).__name__})."
            ) from error
        if response.status_code >= 500 or response.status_code in _UNCERTAIN_STATUSES:
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
