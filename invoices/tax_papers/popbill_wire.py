"""Popbill over HTTP: the token with its signature, requests, and answers sorted by what they are.

Source: the published SDKs of popbill and linkhub (hosts, headers, string that is signed).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from app.base import authorities, clock
from app.base.errors import Unavailable

_AUTH_VERSION = "2.0"
_SCOPES = ("member", "110", "140")  # tax invoices, cash receipts
# A token is renewed this long before it would be refused.
_TOKEN_MARGIN = timedelta(minutes=2)


class IssuerUnavailable(Unavailable):
    """The issuer could not be asked at all: nothing was made."""


class PopbillError(Exception):
    """Popbill answered no; `code` is negative and its own."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class PopbillSilent(Exception):
    """No answer came, or none that says anything: what was asked may have happened."""


class PopbillWire:
    """One member's connection: safe to share between threads."""

    def __init__(
        self,
        *,
        url: str,
        auth_url: str,
        link_id: str,
        secret_key: str,
        registration_number: str,
        user_id: str,
        test: bool,
        timeout_seconds: float,
    ) -> None:
        self._auth_url, self._link_id, self._secret_key = auth_url, link_id, secret_key
        self._registration_number, self._user_id = registration_number, user_id
        self._service = "POPBILL_TEST" if test else "POPBILL"
        self._token, self._token_until = "", datetime(1970, 1, 2, tzinfo=UTC)
        self._renewing = threading.Lock()
        self._client = httpx.Client(
            base_url=url,
            timeout=timeout_seconds,
            verify=authorities.trusted(at=url),
            # A proxy named in the environment has no business with papers of this company's.
            trust_env=False,
        )

    @property
    def registration_number(self) -> str:
        """The member's business registration number, in digits."""
        return self._registration_number

    def get(self, path: str) -> Any:
        """This function will ask for something.

        Raises: PopbillError, PopbillSilent, IssuerUnavailable.
        """
        return self._ask("GET", path, None, {})

    def post(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        *,
        override: str,
        submit_id: str = "",
    ) -> Any:
        """This function will have something done; `override` names what.

        `submit_id`: ours, of a batch. Raises: as `get`.
        """
        content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        headers = {"X-HTTP-Method-Override": override}
        if submit_id:
            digest = hashlib.sha1(content, usedforsecurity=False).digest()  # the vendor's choice
            headers["x-pb-message-digest"] = base64.b64encode(digest).decode()
            headers["x-pb-submit-id"] = submit_id
        return self._ask("POST", path, content, headers)

    def _ask(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str]
    ) -> Any:
        more = {"x-pb-userid": self._user_id} if self._user_id else {}
        try:
            answer = self._client.request(
                method,
                path,
                content=content,
                headers={
                    "Authorization": f"Bearer {self._session_token()}",
                    "Content-Type": "application/json; charset=utf8",
                    **more,
                    **headers,
                },
            )
        except httpx.HTTPError as error:
            raise PopbillSilent(f"{type(error).__name__} at {method} {path}") from error
        return _read(answer)

    def _session_token(self) -> str:
        with self._renewing:
            if self._token_until - _TOKEN_MARGIN <= clock.real_now():
                self._renew()
            return self._token

    def _renew(self) -> None:
        body = json.dumps({"access_id": self._registration_number, "scope": list(_SCOPES)}).encode()
        date = clock.real_now().strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"/{self._service}/Token"
        try:
            answer = httpx.post(
                self._auth_url + path,
                content=body,
                headers={
                    "x-lh-date": date,
                    "x-lh-version": _AUTH_VERSION,
                    "Authorization": f"LINKHUB {self._link_id} "
                    + signature(secret_key=self._secret_key, body=body, date=date, path=path),
                    "Content-Type": "application/json",
                },
                timeout=self._client.timeout,
                verify=authorities.trusted(at=self._auth_url),
                trust_env=False,
            )
            token = _read(answer)
            self._token_until = datetime.fromisoformat(str(token["expiration"]))
            self._token = str(token["session_token"])
        except (httpx.HTTPError, PopbillSilent, PopbillError, KeyError, ValueError) as error:
            raise IssuerUnavailable(
                f"Popbill gave no token ({type(error).__name__}: {error}). Nothing was issued."
            ) from error


def signature(*, secret_key: str, body: bytes, date: str, path: str) -> str:
    """This function will sign a request for a token."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    signed = f"POST\n{digest}\n{date}\n{_AUTH_VERSION}\n{path}"
    key = base64.b64decode(secret_key)
    return base64.b64encode(hmac.digest(key, signed.encode(), hashlib.sha256)).decode()


def _read(answer: httpx.Response) -> Any:
    try:
        found = answer.json()
    except ValueError as error:
        raise PopbillSilent(f"HTTP {answer.status_code} without JSON") from error
    if answer.status_code == httpx.codes.OK:
        return found
    if answer.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or not isinstance(found, dict):
        raise PopbillSilent(f"HTTP {answer.status_code}")
    try:
        raise PopbillError(int(found["code"]), str(found.get("message", "")))
    except (KeyError, TypeError, ValueError) as error:
        raise PopbillSilent(f"HTTP {answer.status_code} without a code") from error
