"""Asking Toss Payments over HTTP, and telling its refusals from answers that never came."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from invoices.gateways import reading, toss_declines
from invoices.gateways.connections import Connections, says_nothing
from invoices.gateways.port import Declined, GatewayUnavailable


class Refused(Exception):
    """Toss Payments' refusal, by its code. It never leaves the adapter."""

    def __init__(self, *, code: str, message: str) -> None:
        super().__init__(code)
        self.code, self.message = code, message

    @property
    def declined(self) -> Declined:
        """What it asks of us."""
        return toss_declines.declined(code=self.code, message=self.message)

    @property
    def unexpected(self) -> GatewayUnavailable:
        """The same where a refusal is nothing that the caller could act on."""
        return GatewayUnavailable(f"Toss Payments refused: {self.code}. {self.message}")


class Client(Connections):
    """The connections of one merchant account."""

    called = "Toss Payments"

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """This function will return the answer's JSON; None if it is empty.

        Raises: Refused (Toss said no), GatewayUnavailable (it may have said yes).
        """
        response = self.send(method, path, body=body, query=query, idempotency_key=idempotency_key)
        if says_nothing(response):
            code = _stated(response)[0]
            raise GatewayUnavailable(f"Toss Payments answered {response.status_code} {code}.")
        if response.is_success:
            return _json(response)
        code, message = _stated(response)
        if not code or code in toss_declines.UNCERTAIN:
            raise GatewayUnavailable(f"Toss Payments answered {response.status_code} {code}.")
        raise Refused(code=code, message=message)


def in_path(identifier: str) -> str:
    """This function will write an id so that in an address it can be nothing but an id."""
    # Dots are not quoted by anybody, and two of them are a way up.
    return quote(identifier, safe="").replace(".", "%2E")


def _json(response: httpx.Response) -> Any:
    if not response.content:
        return None
    return reading.body(response)


def _stated(response: httpx.Response) -> tuple[str, str]:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(answer, dict):
        return "", ""
    return str(answer.get("code") or ""), str(answer.get("message") or "")
