"""Connections to gateways over HTTP: whom they trust, how long they wait, and how they fail."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any

import httpx

from app.base import authorities
from invoices.gateways.port import GatewayUnavailable

# Of a request with one of these statuses nothing is known, whatever its body says.
_UNCERTAIN_STATUSES = frozenset({408, 409, 425, 429})


class Connections:
    """The connections of one merchant account. Safe to share between threads."""

    called = "The gateway"

    def __init__(
        self,
        *,
        base_url: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        auth: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self._base_url = base_url
        self._auth = auth
        self._headers = headers
        self._timeout = httpx.Timeout(read_timeout_seconds, connect=connect_timeout_seconds)
        self._opening = Lock()
        self._opened: httpx.Client | None = None

    def close(self) -> None:
        """This function will close the connections."""
        if self._opened is not None:
            self._opened.close()

    def _client(self) -> httpx.Client:
        """Opened by the first request: most pages ask no more than what a gateway is able to."""
        with self._opening:
            if self._opened is None:
                self._opened = httpx.Client(
                    base_url=self._base_url,
                    auth=self._auth,
                    headers=self._headers,
                    timeout=self._timeout,
                    verify=authorities.trusted(at=self._base_url),
                    # A proxy named in the environment has no business between us and the gateway.
                    trust_env=False,
                )
            return self._opened

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> httpx.Response:
        """This function will send one request, never twice, and return whatever is answered.

        Raises: GatewayUnavailable (no answer came; what was asked may have happened).
        """
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        return self.send_as_is(method, path, headers=headers, json=body, params=query)

    def send_as_is(self, method: str, address: str, **written: Any) -> httpx.Response:
        """This function will send what somebody else wrote, by httpx's own names. Raises: `send`'s.

        Only the failure's class is told: its words may hold the address and what was asked.
        """
        try:
            return self._client().request(method, address, **written)
        except httpx.HTTPError as error:
            raise GatewayUnavailable(
                f"{self.called} gave no answer ({type(error).__name__})."
            ) from error


def says_nothing(response: httpx.Response) -> bool:
    """This function will tell whether a status leaves open if what was asked has happened."""
    return response.status_code >= 500 or response.status_code in _UNCERTAIN_STATUSES
