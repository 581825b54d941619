"""The doors of popbill: tokens, tax invoices, cash receipts; and ours, to tell it what goes wrong.

`POST /_simulator/faults {"path", "fault", "times"}` plans a fault for requests whose path begins
so: `drop_before` and `drop_after` cut the connection before or after it is done, `hang` waits,
`500` says so after it is done, `refuse` answers a code. `POST /_simulator/transmit {"key",
"error"}` plays the tax service.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from werkzeug.wrappers import Request, Response

from tests.fakes.popbill.desk import Desk, Refusal

TOKEN_SECONDS = 1800
_SCOPES = {"member", "110", "140"}


class Popbill:
    """The WSGI application; `asked` lists what was asked, for tests to read."""

    def __init__(
        self, *, desk: Desk, link_id: str, secret_key: str, hang_seconds: float = 60
    ) -> None:
        self.desk, self._link_id, self._secret_key = desk, link_id, secret_key
        self._hang = threading.Event()
        self._hang_seconds = hang_seconds
        self._tokens: set[str] = set()
        self.asked: list[tuple[str, str, str]] = []
        self._faults: list[dict[str, Any]] = []

    def fault(self, path: str, fault: str, times: int = 1, **more: Any) -> None:
        """This function will plan a fault for the next requests whose path begins so."""
        self._faults.append({"path": path, "fault": fault, "times": times, **more})

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        request = Request(environ)
        override = request.headers.get("X-HTTP-Method-Override", "")
        if request.path.startswith("/_simulator/"):
            return self._told(request)(environ, start_response)
        self.asked.append((request.method, request.path, override))
        planned = self._planned(request.path)
        fault = planned.get("fault", "")
        if fault == "drop_before":
            return _cut(environ)
        if fault == "hang":
            self._hang.wait(self._hang_seconds)
            return _cut(environ)
        if fault == "refuse":
            body = {"code": planned["code"], "message": planned.get("message", "")}
            return _json(body, 400)(environ, start_response)
        answer = self._answer(request, override)
        if fault == "drop_after":
            return _cut(environ)
        if fault == "500":
            answer = Response("Internal Server Error", 500)
        return answer(environ, start_response)

    def _planned(self, path: str) -> dict[str, Any]:
        for planned in self._faults:
            if planned["times"] > 0 and path.startswith(planned["path"]):
                planned["times"] -= 1
                return planned
        return {}

    def _told(self, request: Request) -> Response:
        words = request.get_json()
        if request.path == "/_simulator/faults":
            self._faults.append({"times": 1, **words})
        elif request.path == "/_simulator/transmit":
            self.desk.transmit(words["key"], words.get("error", ""))
        else:
            return _json({"code": -1, "message": "no such door"}, 404)
        return _json({"code": 1})

    def _answer(self, request: Request, override: str) -> Response:
        try:
            if request.path.endswith("/Token"):
                return _json(self._token(request))
            if request.headers.get("Authorization", "").removeprefix("Bearer ") not in self._tokens:
                raise Refusal(-99010003, "토큰이 올바르지 않습니다.")
            return _json(self._done(request, override))
        except Refusal as refusal:
            return _json({"code": refusal.code, "message": refusal.message}, 400)

    def _token(self, request: Request) -> dict[str, Any]:
        body, date = request.get_data(), request.headers.get("x-lh-date", "")
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        signed = f"POST\n{digest}\n{date}\n2.0\n{request.path}"
        key = base64.b64decode(self._secret_key)
        expected = base64.b64encode(hmac.digest(key, signed.encode(), "sha256")).decode()
        if request.headers.get("Authorization") != f"LINKHUB {self._link_id} {expected}":
            raise Refusal(-99010001, "인증정보가 올바르지 않습니다.")
        if not set(json.loads(body)["scope"]) <= _SCOPES:
            raise Refusal(-99010002, "스코프가 올바르지 않습니다.")
        token = f"token-{len(self._tokens)}"
        self._tokens.add(token)
        until = datetime.now(UTC) + timedelta(seconds=TOKEN_SECONDS)
        return {
            "session_token": token,
            "serviceID": request.path.split("/")[1],
            "linkID": self._link_id,
            "usercode": json.loads(body)["access_id"],
            "ipaddress": "127.0.0.1",
            "expiration": until.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "scope": json.loads(body)["scope"],
        }

    def _done(self, request: Request, override: str) -> dict[str, Any]:
        parts = request.path.strip("/").split("/")
        desk, words = self.desk, json.loads(request.get_data() or b"null")
        match [request.method, *parts, override]:
            case ["POST", "Taxinvoice", "ISSUE"]:
                answer = desk.issue(words)
            case ["POST", "Taxinvoice", "BULKISSUE"]:
                digest = hashlib.sha1(request.get_data(), usedforsecurity=False).digest()
                sent = request.headers.get("x-pb-message-digest")
                if sent != base64.b64encode(digest).decode():
                    raise Refusal(-99003008, "메시지 다이제스트가 올바르지 않습니다.")
                answer = desk.hand_in(request.headers.get("x-pb-submit-id", ""), words["invoices"])
            case ["GET", "Taxinvoice", "BULK", submit_id, "State", ""]:
                answer = desk.batch(submit_id)
            case ["GET", "Taxinvoice", "SELL", key, ""]:
                answer = desk.info(key)
            case ["POST", "Taxinvoice", "SELL", key, "CANCELISSUE"]:
                answer = desk.cancel(key)
            case ["POST", "Taxinvoice", "SELL", key, "NTS"]:
                answer = desk.send(key)
            case ["POST", "Cashbill", "ISSUE"]:
                answer = desk.issue_cashbill(words)
            case ["POST", "Cashbill", "REVOKEISSUE"]:
                answer = desk.revoke_cashbill(words)
            case ["GET", "Cashbill", key, ""]:
                answer = desk.cashbill(key)
            case _:
                raise Refusal(-99999999, "지원하지 않는 요청입니다.")
        return answer


def _json(body: Any, status: int = 200) -> Response:
    return Response(
        json.dumps(body, ensure_ascii=False), status, content_type="application/json; charset=utf8"
    )


def _cut(environ: dict[str, Any]) -> Iterable[bytes]:
    """Nothing is answered: what the client sees of a connection that broke."""
    raise ConnectionAbortedError(environ["PATH_INFO"])
