"""Visits: a page view or an action becomes a record in a buffer, and never slows a page down."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID, uuid4

from flask import Blueprint, Response, request

from app.base import clock, ids
from app.base.config import settings
from app.base.errors import Invalid
from app.base.metrics import VISITS_DROPPED
from app.web.i18n import language
from app.web.security import csrf, limiter
from app.web.valkey import ValkeyAway, breaker
from tenants.visits import (
    BUFFER,
    BUFFER_LENGTH_MAX,
    VisitRecord,
    clean_action,
    clean_page,
    clean_referrer,
    clean_utm,
)

BEACON_BYTES_MAX = 1024

visits = Blueprint("visits", __name__)


def cookie_name() -> str:
    """This function will name the visitor's cookie; over TLS it is bound to this very host."""
    return "__Host-visitor" if settings().secure_cookies else "tenantry_visitor"


def refuses_tracking() -> bool:
    """This function will tell whether the browser asks not to be followed."""
    return request.headers.get("DNT") == "1" or request.headers.get("Sec-GPC") == "1"


def visitor_id() -> UUID | None:
    """This function will return the visitor behind the cookie, unless they refuse to be one."""
    if refuses_tracking():
        return None
    try:
        return UUID(request.cookies.get(cookie_name(), ""))
    except ValueError:
        return None


def note_page(response: Response) -> Response:
    """This function will note a page view after the page was made."""
    if refuses_tracking():
        if cookie_name() in request.cookies:
            response.delete_cookie(cookie_name())
        return response
    if not _is_view(response):
        return response
    visitor = visitor_id()
    if visitor is None:
        visitor = uuid4()
        # Set once and never prolonged: it ends 13 months after the first visit at the latest.
        response.set_cookie(
            cookie_name(),
            str(visitor),
            max_age=settings().visitor_cookie_days * 24 * 3600,
            secure=settings().secure_cookies,
            httponly=True,
            samesite="Lax",
            path="/",
        )
    _buffer(
        _record(
            visitor,
            kind="page",
            page=clean_page(request.path),
            referrer=clean_referrer(request.referrer, own_host=request.host),
            utm=clean_utm(request.args.items()),
        )
    )
    return response


def _is_view(response: Response) -> bool:
    prefetched = "prefetch" in request.headers.get("Sec-Purpose", "")
    return (
        request.method == "GET"
        and response.status_code == 200
        and response.mimetype == "text/html"
        and not prefetched
    )


def _record(visitor: UUID, **fields: Any) -> VisitRecord:
    return VisitRecord(
        id=ids.uuid7(), at=clock.now(), visitor_id=visitor, language=language(), **fields
    )


def _buffer(record: VisitRecord) -> None:
    """Without Valkey, or with a full buffer, the visit is dropped and counted as dropped."""
    line = json.dumps(record.as_json(), ensure_ascii=False, separators=(",", ":"))
    try:
        length = breaker().call(lambda valkey: valkey.rpush(BUFFER, line))
        if length > BUFFER_LENGTH_MAX:
            breaker().call(lambda valkey: valkey.ltrim(BUFFER, 0, BUFFER_LENGTH_MAX - 1))
            VISITS_DROPPED.inc()
    except ValkeyAway:
        VISITS_DROPPED.inc()


@visits.post("/_/visit")
@csrf.exempt  # type: ignore[untyped-decorator]
@limiter.limit("240 per minute")
def note_action() -> tuple[str, int]:
    """This function will note that a button was pressed; without scripts it is not counted.

    It changes nothing but a count of the sender's own visit, so it needs no token; calls from
    other sites are ignored all the same.
    """
    visitor = visitor_id()
    if visitor is None or not _from_here():
        return "", 204
    request.max_content_length = BEACON_BYTES_MAX
    said = _said()
    if not isinstance(said, dict) or not isinstance(said.get("action"), str):
        raise Invalid("An action is named in lower-case letters, digits, dots and dashes.")
    page, action = clean_page(str(said.get("page", "/"))), clean_action(said["action"])
    _buffer(_record(visitor, kind="action", page=page, action=action))
    return "", 204


def _said() -> Any:
    try:
        return request.get_json(force=True, silent=True)
    except RecursionError:  # a thousand brackets, one in the other
        return None


def _from_here() -> bool:
    origin = request.headers.get("Origin")
    same = origin is None or origin.partition("://")[2] == request.host
    return same and request.headers.get("Sec-Fetch-Site", "same-origin") == "same-origin"
