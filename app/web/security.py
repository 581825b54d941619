"""What every answer and every form carries: headers, CSRF, rate limits, body sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, request
from flask_limiter import Limiter, RouteLimit
from flask_limiter.util import get_remote_address
from flask_wtf import CSRFProtect
from limits.storage import RedisStorage

from app.base.config import settings
from app.web.sessions import audience_of, browser_session

View = TypeVar("View", bound=Callable[..., Any])


class _OnViews(Limiter):
    """Counts at the views that have a limit; no limit holds for all, so others look for none."""

    def _check_request_limit(
        self, callable_name: str | None = None, in_middleware: bool = True
    ) -> None:
        if not in_middleware:
            super()._check_request_limit(callable_name, in_middleware)


csrf = CSRFProtect()
# Public pages stay open when Valkey is away (each process counts for itself meanwhile); sign-in
# has a second count in PostgreSQL that does not.
limiter = _OnViews(get_remote_address, in_memory_fallback_enabled=True, in_memory_fallback=[])


def mail_limit(per_hour: int) -> RouteLimit:
    """This function will bound how many mails an hour a form can have sent to one address."""

    def recipient() -> str:
        return f"mail-to:{request.form.get('email', '').strip().lower()}"

    return limiter.limit(f"{per_hour}/hour", key_func=recipient, methods=["POST"])


def init_security(app: Flask) -> None:
    """This function will put the guards in front of every view, body sizes before all others."""
    app.config.update(
        MAX_CONTENT_LENGTH=settings().request_bytes_max,
        MAX_FORM_MEMORY_SIZE=settings().request_bytes_max,
        MAX_FORM_PARTS=200,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session
        WTF_CSRF_SSL_STRICT=False,
        RATELIMIT_STORAGE_URI=settings().redis_url,
        RATELIMIT_STORAGE_OPTIONS={"socket_timeout": 0.25, "socket_connect_timeout": 0.25},
        RATELIMIT_ENABLED=settings().environment in ("dev", "production"),
        RATELIMIT_HEADERS_ENABLED=True,
    )
    if settings().trusted_hosts:
        app.config["TRUSTED_HOSTS"] = [h.strip() for h in settings().trusted_hosts.split(",")]
    app.before_request(_allow_uploads)
    csrf.init_app(app)
    # It would load a second client beside ours, 3 MB, wherever the embedded server brings one.
    RedisStorage.DEPENDENCIES = {"redis": RedisStorage.DEPENDENCIES["redis"]}
    limiter.init_app(app)
    app.after_request(_headers)


def accepts_upload(view: View) -> View:
    """This function will let a view take bodies up to the upload limit."""
    view.accepts_upload = True  # type: ignore[attr-defined]  # a mark on a function
    return view


def _allow_uploads() -> None:
    view = current_app.view_functions.get(request.endpoint or "")
    # The CSRF guard reads the whole body: a stranger's is not worth that much of our time.
    signed_in = browser_session().user_id is not None
    if signed_in and getattr(view, "accepts_upload", False):
        # The form's other fields and the boundaries of its parts take room too.
        request.max_content_length = settings().upload_bytes_max + 64 * 1024


def frameable(response: Response) -> Response:
    """This function will let our own pages show this answer in a frame: previews of papers."""
    response.headers["X-Tenantry-Frameable"] = "1"
    return response


def loosened_for(response: Response, *, origins: Sequence[str]) -> Response:
    """This function will let this answer alone load a gateway's script and what that reaches."""
    response.headers["X-Tenantry-Origins"] = " ".join(origins)
    return response


def _headers(response: Response) -> Response:
    framed = response.headers.pop("X-Tenantry-Frameable", None) is not None
    audience = audience_of(request.path)
    script = response.headers.pop("X-Tenantry-Origins", None) or ""
    # A card is registered on the gateway's own page, reached by a redirect from our form.
    gateway = origin(settings().sandbox_gateway_url) if audience == "portal" else ""
    response.headers.setdefault(
        "Content-Security-Policy", _policy(script=script, gateway=gateway, framed=framed)
    )
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    # A gateway may show the bank's page in a window of its own, and hears from it there.
    opener = "same-origin-allow-popups" if script else "same-origin"
    response.headers.setdefault("Cross-Origin-Opener-Policy", opener)
    response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
    if settings().secure_cookies:
        response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    if audience != "site":
        response.headers["Cache-Control"] = "no-store"
    return response


@lru_cache(maxsize=64)
def _policy(*, script: str, gateway: str, framed: bool) -> str:
    """What a page may load and where it may lead; few ever differ, so each is put together once."""
    rules = (
        "default-src 'none'",
        f"script-src 'self' {script}",
        "style-src 'self'",
        f"img-src 'self' data: {script}",
        "font-src 'self'",
        f"connect-src 'self' {script}",
        f"frame-src 'self' {script}",
        "object-src 'none'",
        "manifest-src 'self'",
        f"form-action 'self' {gateway} {script}",
        "frame-ancestors 'self'" if framed else "frame-ancestors 'none'",
        "base-uri 'none'",
    )
    return "; ".join(" ".join(rule.split()) for rule in rules)


def origin(url: str) -> str:
    """This function will return scheme, host and port of an address, as policies name them."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
