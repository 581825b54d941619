"""For those who run it: /healthz, /readyz, /metrics, and an id on all that a request logs."""

from __future__ import annotations

import re
import time
from functools import lru_cache
from ipaddress import ip_address
from typing import Any

import structlog
from flask import (
    Blueprint,
    Flask,
    Response,
    abort,
    g,
    jsonify,
    request,
    request_finished,
    request_started,
)
from flask.blueprints import BlueprintSetupState
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.base import ids, logs, metrics
from app.base.config import settings
from app.base.db import control_session, usage_is_apart
from app.web.figures import Backlog
from app.web.valkey import ValkeyAway, breaker

log = structlog.get_logger(__name__)
ops = Blueprint("ops", __name__)

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,64}")
# Asked every few seconds by machines; a line each would bury the others.
_QUIET = frozenset({"ops.healthz", "ops.readyz", "ops.exposition", "static"})


@ops.get("/healthz")
def healthz() -> Response:
    """This function will say that this process answers; it asks nobody else."""
    return jsonify(status="ok")


@ops.get("/readyz")
def readyz() -> tuple[Response, int]:
    """This function will say whether to send people here: control, Valkey, schema, draining.

    Tenant databases are never asked: one that is away must not take the others' pages along.
    """
    checks = {
        "control_database": _control_answers(),
        "schema": _schema_is_current(),
        "valkey": _valkey_answers(),
        "not_draining": not (settings().var_dir / "draining").exists(),
    }
    ready = all(checks.values())
    return jsonify(ready=ready, checks=checks), 200 if ready else 503


def _control_answers() -> bool:
    try:
        with control_session() as session:
            session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        log.warning("control.away", error=type(error).__name__)
        return False
    return True


def _schema_is_current() -> bool:
    try:
        with control_session() as session:
            found = [session.scalar(text("SELECT version_num FROM alembic_version"))]
            if not usage_is_apart():  # where it is, pages work without it
                found.append(session.scalar(text("SELECT version_num FROM usage_version")))
    except SQLAlchemyError:
        return False
    return found == _heads()[: len(found)]


@lru_cache(maxsize=1)
def _heads() -> list[str | None]:
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - asked once, by one page

    from app.base import installation  # noqa: PLC0415

    histories = (installation.alembic_config(), installation.usage_alembic_config())
    return [ScriptDirectory.from_config(each).get_current_head() for each in histories]


def _valkey_answers() -> bool:
    try:
        breaker().call(lambda client: client.ping())
    except ValkeyAway:
        return False
    return True


@ops.get("/metrics")
def exposition() -> Response:
    """This function will answer Prometheus; to an address of the open internet it is not there."""
    if not _is_near():
        abort(404)
    return Response(
        metrics.exposition(Backlog()), mimetype="text/plain", headers={"Cache-Control": "no-store"}
    )


def _is_near() -> bool:
    """Whether the asker is on this machine or its network, and not somebody behind a proxy there.

    A proxy that the settings don't know hides who asks, so what it forwards is nobody's.
    """
    if "X-Forwarded-For" in request.headers and not settings().proxies_trusted:
        return False
    try:
        address = ip_address(request.remote_addr or "")
    except ValueError:  # a unix socket has none
        return False
    return address.is_loopback or address.is_private


def _begin(_app: Flask, **_: Any) -> None:
    logs.clear()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else ids.opaque(16)
    g.begun_at = time.perf_counter()
    logs.bind(request_id=g.request_id)


def _finish(_app: Flask, response: Response, **_: Any) -> None:
    if "begun_at" not in g:
        return
    elapsed = time.perf_counter() - g.begun_at
    response.headers["X-Request-ID"] = g.request_id
    endpoint = request.endpoint or "none"
    method = request.method if request.method in ("GET", "HEAD", "POST", "PUT", "DELETE") else "?"
    metrics.REQUEST_SECONDS.labels(
        endpoint=endpoint, method=method, status=str(response.status_code)
    ).observe(elapsed)
    if endpoint not in _QUIET:
        log.info(
            "request",
            endpoint=endpoint,
            method=method,
            status=response.status_code,
            elapsed_ms=round(elapsed * 1000, 1),
        )


@ops.record_once
def _listen(state: BlueprintSetupState) -> None:
    # Signals come before every guard and after every header, whatever a view or a guard does.
    request_started.connect(_begin, state.app)
    request_finished.connect(_finish, state.app)
