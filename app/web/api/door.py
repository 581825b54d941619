"""What every call of the API goes through: its key, its rate, and how it is told what is wrong.

No session and no cookie is read, so none can be abused: what proves the caller is the key alone.
What is said here is for programs and their authors, and always in English.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from uuid import UUID

from flask import Blueprint, Response, g, jsonify, request
from flask_limiter.util import get_remote_address
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from app.base import clock
from app.base.config import settings
from app.base.errors import TenantryError
from app.base.remembered import Remembered
from app.web.db import control, take_back
from app.web.security import csrf, limiter
from tenants import api_keys
from tenants.api_keys import Caller

View = TypeVar("View", bound=Callable[..., Any])

api = Blueprint("api", __name__, url_prefix="/api/v1")
csrf.exempt(api)

SHEAVES_A_MINUTE = 1_000
_callers: Remembered[str, Caller] = Remembered()
_left: dict[UUID, int] = {}

_WHAT_TO_DO = {
    411: "Send the length of the body.",
    413: "The body is larger than the limit. Send fewer events in a call.",
    429: "Too many calls. Wait as long as Retry-After says and send the same again.",
}


class Problem(HTTPException):
    """An answer that says what is wrong, in the form of RFC 9457."""

    def __init__(self, status: int, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.code = status
        self.headers = headers


@api.errorhandler(Problem)
def _problem(problem: Problem) -> Response:
    answer = _answer(problem.code or 500, problem.description or "")
    answer.headers.update(problem.headers)
    return answer


@api.errorhandler(HTTPException)
def _http(error: HTTPException) -> Response:
    status = error.code or 500
    return _answer(status, _WHAT_TO_DO.get(status, "The call was not understood."))


@api.errorhandler(TenantryError)
def _ours(error: TenantryError) -> Response:
    take_back()
    return _answer(error.status, error.message, error.field)


def _answer(status: int, detail: str, field: str | None = None) -> Response:
    body = {
        "type": "about:blank",
        "title": HTTP_STATUS_CODES[status],
        "status": status,
        "detail": detail,
    }
    answer = jsonify(body | ({"field": field} if field else {}))
    answer.status_code = status
    answer.mimetype = "application/problem+json"
    return answer


@api.after_request
def _never_kept(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def key_required(scope: str) -> Callable[[View], View]:
    """This function will let only calls through that bring a good API key with this scope.

    The view finds `g.api_key`, a Caller. Calls are counted by key, refused keys by address.

    Raises: Problem.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            g.api_key = _key(scope)
            _count_call()
            return view(*args, **kwargs)

        return guarded  # type: ignore[return-value]  # the same view, guarded

    return decorate


def _key(scope: str) -> Caller:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Problem(
            401,
            "Send an API key: Authorization: Bearer tk_…",
            **{"WWW-Authenticate": 'Bearer realm="tenantry"'},
        )
    try:
        caller = _caller(secret.strip())
        api_keys.allow(caller=caller, scope=scope, now=clock.now())
        return caller
    except api_keys.KeyRefused as error:
        _count_refusal()
        challenge = 'Bearer realm="tenantry", error="invalid_token"'
        raise Problem(401, error.message, **{"WWW-Authenticate": challenge}) from error
    except api_keys.ScopeMissing as error:
        challenge = f'Bearer realm="tenantry", error="insufficient_scope", scope="{scope}"'
        raise Problem(403, error.message, **{"WWW-Authenticate": challenge}) from error


def _caller(secret: str) -> Caller:
    known = _callers.get(secret)
    if known is None:
        known = api_keys.recognise(control_session=control(), secret=secret, now=clock.now())
        control().commit()
        _callers.learn({secret: known})
    return known


def _count_call() -> None:
    """Count this call, in sheaves where the limit is large: a trip to Valkey costs as much as SQL.

    A process may so let through a thousandth more than the limit says.
    """
    key_id = g.api_key.id
    left = _left.get(key_id, 0)
    if left <= 0:
        _count_sheaf()
        left = _sheaf()
    _left[key_id] = left - 1


def _sheaf() -> int:
    return max(1, settings().event_calls_per_minute_max // SHEAVES_A_MINUTE)


@limiter.limit(
    lambda: f"{settings().event_calls_per_minute_max}/minute",
    key_func=lambda: f"api-key:{g.api_key.id}",
    cost=_sheaf,
)
def _count_sheaf() -> None:
    """Counting is what the decorator does."""


@limiter.limit("60/minute", key_func=get_remote_address)
def _count_refusal() -> None:
    """Counting is what the decorator does."""
