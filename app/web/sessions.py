"""Browser sessions: PostgreSQL holds them, Valkey caches them, the cookie carries only a secret.

Staff, portal and workspace each have a cookie of their own, chosen by the path, so one browser
may be signed in to all three and none can be mistaken for another. Before sign-in a session is a
signed cookie (for the CSRF token and notices) and costs the server nothing.
"""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from flask import Flask, Request, Response, request, session
from flask.sessions import SessionInterface, SessionMixin
from itsdangerous import BadData, URLSafeTimedSerializer
from sqlalchemy import update
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted
from werkzeug.datastructures import CallbackDict

from app.base import clock, secrets
from app.base import sessions as stored
from app.base.config import settings
from app.base.sessions import WebSession
from app.web.db import control, db
from app.web.valkey import ValkeyAway, breaker

log = structlog.get_logger(__name__)
DATABASE_AWAY = (OperationalError, PoolExhausted)
AUDIENCES = {"/console": "staff", "/portal": "portal", "/workspace": "workspace"}
CACHE_SECONDS = 60
# Stands in the cache where an ended session stood; what is kept there never replaces it.
_ENDED = "ended"
_KEEP = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
return 1
"""
# How stale the epoch may be: the longest that a session ended during an outage could be seen.
EPOCH_SECONDS = 5.0
# A session's idle end moves on at most this often, so that reading pages writes no rows.
TOUCH_EVERY = timedelta(minutes=5)


class BrowserSession(CallbackDict[str, Any], SessionMixin):
    """The session of one request; `user_id` and `tenant_id` are set once somebody signed in."""

    def __init__(self, initial: dict[str, Any], *, audience: str, token: str | None = None) -> None:
        def changed(_: Any) -> None:
            self.modified = True

        super().__init__(initial, changed)
        self.modified = False
        self.accessed = True
        self.audience = audience
        self.token = token
        self.user_id: UUID | None = None
        self.tenant_id: UUID | None = None
        self.seen_at: datetime | None = None
        # Why the stored session could not be read; nothing may be decided without it.
        self.fault: Exception | None = None

    @property
    def id_hash(self) -> str | None:
        """The key of the stored session, or nothing before sign-in."""
        return secrets.hash_token(self.token) if self.token else None


class StoredSessions(SessionInterface):
    """Opens and saves sessions; the choice of the cache (redis or db only) is configuration."""

    def __init__(self) -> None:
        self._signer = URLSafeTimedSerializer(secrets.derive("anonymous sessions"))
        self._epoch: tuple[float, int] = (0.0, 0)

    def open_session(self, app: Flask, request: Request) -> BrowserSession:
        """This function will find the session behind the cookie, or begin an anonymous one."""
        audience = audience_of(request.path)
        cookie = request.cookies.get(cookie_name(audience), "")
        if cookie.startswith("s."):
            try:
                found = self._load(cookie[2:], audience)
            except DATABASE_AWAY as error:
                # Flask opens sessions before its error handlers stand: `refuse_unread` raises it.
                unread = BrowserSession({}, audience=audience)
                unread.fault = error
                return unread
            if found is not None:
                return found
        elif cookie.startswith("a."):
            return BrowserSession(self._unsigned(cookie[2:]), audience=audience)
        return BrowserSession({}, audience=audience)

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """This function will write back what changed and set the cookie."""
        if session.fault is not None:
            return  # the cookie is good; an outage must sign nobody out
        name = cookie_name(session.audience)
        if session.user_id is None:
            if session.modified:
                _set_cookie(response, name, "a." + self._signer.dumps(dict(session)))
            return
        if session.modified:
            try:
                self._save(session)
            except DATABASE_AWAY as error:
                # The answer stands; only a notice or the idle clock's last minutes are lost.
                log.warning("session.not_saved", error=type(error).__name__)
        if session.get("_fresh"):
            _set_cookie(response, name, f"s.{session.token}")

    def _unsigned(self, value: str) -> dict[str, Any]:
        try:
            found = self._signer.loads(value, max_age=24 * 3600)
        except BadData:
            return {}
        return dict(found) if isinstance(found, dict) else {}

    def _load(self, token: str, audience: str) -> BrowserSession | None:
        id_hash = secrets.hash_token(token)
        record = self._cached(id_hash)
        if record is None:
            row = stored.load(
                control_session=control(),
                token=token,
                audience=audience,
                real_now=clock.real_now(),
            )
            if row is None:
                return None
            record = _record(row)
            self._cache(id_hash, record)
        ends = datetime.fromisoformat(record["ends_at"])
        if record["audience"] != audience or ends <= clock.real_now():
            return None
        found = BrowserSession(record["data"], audience=audience, token=token)
        found.pop("_fresh", None)
        found.modified = False
        found.user_id = UUID(record["user_id"])
        found.tenant_id = UUID(record["tenant_id"]) if record["tenant_id"] else None
        if clock.real_now() - datetime.fromisoformat(record["seen_at"]) > TOUCH_EVERY:
            found.modified = True
        return found

    def _save(self, session: BrowserSession) -> None:
        seen = clock.real_now()
        data = {key: value for key, value in session.items() if key != "_fresh"}
        # A transaction of its own: the request may have rolled back, its notices still stand.
        with db.engine.begin() as connection:
            row = connection.execute(
                update(WebSession)
                .where(WebSession.id_hash == session.id_hash)
                .values(
                    data=data,
                    seen_at=seen,
                    expires_at=seen + timedelta(minutes=settings().session_idle_minutes),
                )
                .returning(*WebSession.__table__.columns)
            ).first()
        if row is not None and session.id_hash:
            self._cache(session.id_hash, _record(row))

    def _cached(self, id_hash: str) -> dict[str, Any] | None:
        if settings().session_store == "db":
            return None
        try:
            text = breaker().call(lambda valkey: valkey.get(f"session:{id_hash}"))
        except ValkeyAway:
            return None
        record = json.loads(text) if text and text != _ENDED else None
        return record if record and record["epoch"] == self._current_epoch() else None

    def _cache(self, id_hash: str, record: dict[str, Any]) -> None:
        if settings().session_store == "db":
            return
        text = json.dumps({**record, "epoch": self._current_epoch()})
        try:
            breaker().call(
                lambda valkey: valkey.eval(
                    _KEEP, 1, f"session:{id_hash}", _ENDED, text, CACHE_SECONDS
                )
            )
        except ValkeyAway:
            return

    def _current_epoch(self) -> int:
        read_at, epoch = self._epoch
        if time.monotonic() - read_at > EPOCH_SECONDS or not read_at:
            epoch = stored.cache_epoch(control_session=control())
            self._epoch = (time.monotonic(), epoch)
        return epoch


def _record(row: Any) -> dict[str, Any]:
    return {
        "audience": row.audience,
        "user_id": str(row.user_id),
        "tenant_id": str(row.tenant_id) if row.tenant_id else None,
        "data": row.data,
        "seen_at": row.seen_at.isoformat(),
        "ends_at": min(row.expires_at, row.absolute_expires_at).isoformat(),
    }


def refuse_unread() -> None:
    """This function will stop a request whose stored session could not be read.

    Raises: the fault itself, so that it is answered as an outage anywhere else is.
    """
    fault = browser_session().fault
    if fault is not None:
        raise fault


def audience_of(path: str) -> str:
    """This function will tell whose session a path uses: staff, portal, workspace or site."""
    first = "/" + path.lstrip("/").partition("/")[0]
    return AUDIENCES.get(first, "site")


def cookie_name(audience: str) -> str:
    """This function will name an audience's cookie; over TLS it is bound to this very host."""
    return f"__Host-{audience}" if settings().secure_cookies else f"tenantry_{audience}"


def _set_cookie(response: Response, name: str, value: str) -> None:
    response.set_cookie(
        name, value, secure=settings().secure_cookies, httponly=True, samesite="Lax", path="/"
    )


def sign_in(*, user_id: UUID, tenant_id: UUID | None = None) -> None:
    """This function will end the session the request came with and begin a new one.

    The id is always new, so one planted before sign-in is worth nothing. It commits: the cookie
    must never name a session that was not kept.
    """
    browser = browser_session()
    if browser.id_hash:
        end_sessions([browser.id_hash])
    token, _row = stored.open_session(
        control_session=control(),
        audience=browser.audience,
        user_id=user_id,
        tenant_id=tenant_id,
        real_now=clock.real_now(),
    )
    browser.clear()
    browser.token, browser.user_id, browser.tenant_id = token, user_id, tenant_id
    browser["_fresh"] = True
    db.session.commit()


def admit(
    response: Response, *, audience: str, user_id: UUID, tenant_id: UUID | None = None
) -> None:
    """This function will sign somebody in to another audience too: from the portal to the product.

    The new session is that audience's own; the one the request came with goes on. The caller
    commits.
    """
    held = request.cookies.get(cookie_name(audience), "")
    if held.startswith("s."):
        end_sessions([secrets.hash_token(held[2:])])
    token, _row = stored.open_session(
        control_session=control(),
        audience=audience,
        user_id=user_id,
        tenant_id=tenant_id,
        real_now=clock.real_now(),
    )
    _set_cookie(response, cookie_name(audience), f"s.{token}")


def sign_out() -> None:
    """This function will end the request's session everywhere, whatever Valkey is doing."""
    browser = browser_session()
    if browser.id_hash:
        end_sessions([browser.id_hash])
        db.session.commit()
    browser.clear()
    browser.token = browser.user_id = browser.tenant_id = None
    browser.modified = True


def end_everywhere(*, user_id: UUID | None = None, tenant_id: UUID | None = None) -> None:
    """This function will sign a user, or everybody of a tenant, out on every device."""
    end_sessions(stored.end_all(control_session=control(), user_id=user_id, tenant_id=tenant_id))


def end_sessions(id_hashes: list[str]) -> None:
    """This function will end sessions in PostgreSQL and in the cache.

    The cache keeps a mark in their place, for as long as it could have kept them: a request that
    read a session just before must not put it back. When Valkey can't be told, the epoch moves
    on and everything cached so far is worthless.
    """
    stored.end(control_session=control(), id_hashes=id_hashes)
    if not id_hashes or settings().session_store == "db":
        return
    try:
        breaker().call(lambda valkey: _mark_ended(valkey, id_hashes))
    except ValkeyAway:
        stored.distrust_cache(control_session=control())


def _mark_ended(valkey: Any, id_hashes: list[str]) -> None:
    with valkey.pipeline(transaction=False) as told:
        for key in id_hashes:
            told.set(f"session:{key}", _ENDED, ex=CACHE_SECONDS)
        told.execute()


def browser_session() -> BrowserSession:
    """This function will return this request's session as what it is, behind Flask's proxy."""
    return session._get_current_object()  # type: ignore[attr-defined, no-any-return]  # werkzeug's
