"""Stripe's rule for repeated keys: the first status and body are told again, 500s included.

Kept for a day. Other words under a key are an error; a second request beside a running one hears
409; what failed before anything ran is not kept.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from flask import Response, request

from tests.fakes.stripe.box import Box
from tests.fakes.stripe.wire import Refusal, Row

KEY_LENGTH_MAX = 255
DROP_CONNECTION = "tenantry.stripe.drop"
_SERVER_ERROR = {
    "error": {"message": "An unknown error occurred.", "type": "api_error"},
}


@dataclass
class Outcome:
    """What a request did, and what befalls its answer on the way."""

    body: Row
    status: int = 200
    rows: list[tuple[str, Row]] = field(default_factory=list)
    fault: str | None = None


def once(box: Box, words: Row, perform: Callable[[], Outcome]) -> Response:
    """This function will run a POST once for its key, and answer it as it is told to."""
    key = request.headers.get("Idempotency-Key") or f"none-{secrets.token_hex(8)}"
    if len(key) > KEY_LENGTH_MAX:
        raise Refusal(400, "Idempotency keys are at most 255 letters.", kind="idempotency_error")
    told = box.take_fault(request.path)
    if told == "locked":
        raise Refusal(429, "This object cannot be accessed right now.", code="lock_timeout")
    if told == "forbidden":
        raise Refusal(403, "The provided key lacks the permissions that this endpoint requires.")
    if told == "busy" or not box.take_key(key):
        raise _in_progress()
    try:
        with box.book.lock:
            print_ = _fingerprint(words)
            earlier = box.reply_of(key)
            if earlier is not None:
                return _replayed(earlier, print_)
            outcome = _ran(perform, told)
            if outcome.fault == "busy":
                box.book.write(outcome.rows)
                raise _in_progress()
            fault = told or outcome.fault
            if fault in ("keep_failing", "fail_before"):
                outcome = Outcome(_SERVER_ERROR, 500, outcome.rows)
            reply = {
                "id": key,
                "fingerprint": print_,
                "at": time.time(),
                "status": outcome.status,
                "body": outcome.body,
                "forgotten": False,
            }
            box.book.write([*outcome.rows, ("replies", reply)])
    finally:
        box.release_key(key)
    return _delivered(box, outcome, fault)


def _ran(perform: Callable[[], Outcome], told: str | None) -> Outcome:
    if told == "fail_before":
        return Outcome(_SERVER_ERROR, 500)
    try:
        return perform()
    except Refusal as refusal:
        if not refusal.saved:
            raise
        return Outcome(refusal.body, refusal.status)


def _delivered(box: Box, outcome: Outcome, fault: str | None) -> Response:
    if fault == "hang":
        box.hang()
    if fault == "drop":
        request.environ[DROP_CONNECTION] = True
    if fault == "fail_once":
        # From the edge, which knows no keys: what is behind it has done its work.
        return Response("<html>502 Bad Gateway</html>", 502, mimetype="text/html")
    return answer(outcome.body, outcome.status)


def _replayed(earlier: Row, print_: str) -> Response:
    if earlier["fingerprint"] != print_:
        raise Refusal(
            400,
            "Keys for idempotent requests can only be used with the same parameters they were"
            " first used with.",
            kind="idempotency_error",
        )
    response = answer(earlier["body"], earlier["status"])
    response.headers["Idempotent-Replayed"] = "true"
    return response


def _in_progress() -> Refusal:
    return Refusal(
        409,
        "There is currently another in-progress request using this Idempotency Key.",
        kind="idempotency_error",
        code="idempotency_key_in_use",
    )


def _fingerprint(words: Row) -> str:
    said = f"{request.path} {json.dumps(words, sort_keys=True, ensure_ascii=False)}"
    return hashlib.sha256(said.encode()).hexdigest()


def answer(body: Row, status: int = 200) -> Response:
    """This function will write an answer as Stripe does."""
    response = Response(json.dumps(body, indent=2), status, mimetype="application/json")
    response.headers["Request-Id"] = f"req_{secrets.token_hex(7)}"
    response.headers["Stripe-Version"] = request.headers.get("Stripe-Version", "")
    return response
