"""`flask bench entitlements`: programs that ask what tenants may use, through the web server.

Calls leave at a steady rate, whether earlier ones are answered or not, and each is timed from the
moment it was due: a server that falls behind is seen to.
"""

from __future__ import annotations

import random
import selectors
import socket
import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import insert, text

from app.base import accounts, clock, ids, installation
from app.base.audit import SYSTEM
from app.base.db import control_session, usage_admin_url, usage_session
from app.cli.bench_ingest import web_server
from app.embedded import ports
from jobs import quotas as counting
from jobs import rollups as rolling
from tenants import api_keys, meters
from tenants.entitlement_models import EntitlementOverride, TenantQuota
from tenants.grants import Grants, Quota, facts
from tenants.meter_definitions import read
from tenants.models import Reading, Tenant

LIMIT_MS = 10.0
CALLS_A_SECOND = 300
WARM_UP_SECONDS = 3  # or as long as it asks, for a quick look
CONNECTIONS = 16
FEATURES: dict[str, bool | str] = {
    "sso": True,
    "audit": False,
    "support": "weekdays",
    "regions": "seoul, busan",
}
METERS = {"api_calls": "api.call", "render_seconds": "render.seconds"}
_EVENTS = text("""
    INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
    SELECT tenant_id, 'bench-' || n, (ARRAY['api.call', 'render.seconds'])[n % 2 + 1],
        CAST(:now AS timestamptz) - make_interval(mins => n), n, '{}', :now
    FROM unnest(CAST(:tenants AS uuid[])) AS tenant_id, generate_series(1, 20) AS n
""")


def ask_steadily(*, seconds: int, tenants: int) -> list[float]:
    """This function will return what each call took, in milliseconds, asked at the steady rate."""
    secret, slugs = prepare(tenants)
    while rolling.STEP.work():
        continue
    with installation.usage_administrator(database=str(usage_admin_url().database)) as connection:
        connection.execute("ANALYZE event, usage_rollup, usage_mark")
    for _ in range(tenants * len(METERS) // counting.QUOTAS_AT_ONCE + 1):
        counting.STEP.work()
    draw = random.Random(20_260_310)  # noqa: S311 - traffic, not a secret
    warm_up = min(WARM_UP_SECONDS, seconds)
    with web_server() as port:
        requests = [
            _request(port, secret, draw.choice(slugs))
            for _ in range((warm_up + seconds) * CALLS_A_SECOND)
        ]
        return call_steadily(port, requests, warm_up=warm_up * CALLS_A_SECOND)


def prepare(tenants: int) -> tuple[str, list[str]]:
    """This function will make tenants with features, limits, quotas, overrides and use."""
    now = clock.now()
    quotas = {code: Quota(soft=Decimal(50), hard=Decimal(100)) for code in METERS}
    grants = Grants(limits={"seats": 50, "storage_bytes": 10**12}, features=FEATURES, quotas=quotas)
    known: list[tuple[UUID, str]] = [(ids.uuid7(), f"bench-{n}") for n in range(tenants)]
    with control_session() as session:
        staff = accounts.add_staff(
            control_session=session,
            email="bench@tenantry.example",
            name="Bench",
            role="admin",
            actor=SYSTEM,
            now=now,
        )
        _key, secret = api_keys.make(
            control_session=session,
            name="bench",
            scopes=["entitlements:read"],
            staff_id=staff.id,
            now=now,
        )
        names = {"ko": "사용량", "en": "Usage"}
        declared = [
            read({"code": code, "aggregation": "sum", "event_type": kind, "unit": "unit",
                  "names": names})
            for code, kind in METERS.items()
        ]  # fmt: skip
        meters.declare(control_session=session, definitions=declared, actor=SYSTEM, now=now)
        session.execute(insert(Tenant), [_tenant(*each, facts(grants), now) for each in known])
        day = (now - timedelta(days=1)).date()
        session.execute(
            insert(Reading),
            [
                {"tenant_id": tenant, "meter": meter, "day": day - timedelta(days=back),
                 "quantity": 3, "evidence_sha256": "", "taken_at": now}
                for tenant, _ in known
                for meter in ("seats", "storage_gb_days")
                for back in range(7)
            ],
        )  # fmt: skip
        session.execute(
            insert(EntitlementOverride),
            [
                {"id": ids.uuid7(), "tenant_id": tenant, "kind": "feature", "code": code,
                 "value": {"is": True}, "reason": "bench", "created_by": "system",
                 "created_at": now}
                for tenant, _ in known
                for code in ("sso", "audit")
            ],
        )  # fmt: skip
        session.execute(
            insert(TenantQuota),
            [
                {"tenant_id": tenant, "meter": meter, "soft": quota.soft, "hard": quota.hard,
                 "alerts": [], "used": 0}
                for tenant, _ in known
                for meter, quota in quotas.items()
            ],
        )  # fmt: skip
    with usage_session() as session:
        session.execute(
            text("SELECT ensure_event_months(ARRAY[CAST(:a AS date), CAST(:b AS date)])"),
            {"a": (now - timedelta(days=1)).date(), "b": now.date()},
        )
        session.execute(_EVENTS, {"now": now, "tenants": [tenant for tenant, _ in known]})
    return secret, [slug for _, slug in known]


def _tenant(tenant_id: UUID, slug: str, granted: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "id": tenant_id,
        "state": "active",
        "slug": slug,
        "name": slug,
        "country": "KR",
        "language": "ko",
        "timezone": "Asia/Seoul",
        "currency": "KRW",
        "plan_code": "team",
        "plan_grants": granted,
        "limits": granted["limits"],
        "trial_days": 14,
        "created_at": now,
    }


def _request(port: int, secret: str, slug: str) -> bytes:
    return (
        f"GET /api/v1/entitlements/{slug} HTTP/1.1\r\nHost: {ports.LOOPBACK}:{port}\r\n"
        f"Authorization: Bearer {secret}\r\n\r\n"
    ).encode()


def call_steadily(
    port: int,
    requests: Sequence[bytes],
    *,
    warm_up: int,
    rate: int = CALLS_A_SECOND,
    answers: Sequence[int] | None = None,
) -> list[float]:
    """This function will send the calls when they are due, and time each from then.

    The connections take turns, as those of many programs would. A call that finds no idle one waits
    for it, and its waiting counts. The first `warm_up` calls are sent before and left out: what
    piles up before a cold server must not follow it, nor what connected while but one of its
    workers had started. Every call must be answered with 200, or with
    the status that `answers` has for it.
    """
    expected = answers or [200] * len(requests)
    _anew(port, requests[:warm_up], rate, expected[:warm_up])
    return _anew(port, requests[warm_up:], rate, expected[warm_up:])


def _anew(port: int, requests: Sequence[bytes], rate: int, answers: Sequence[int]) -> list[float]:
    idle = deque(_connected(port) for _ in range(CONNECTIONS))
    took = _at_rate(port, idle, requests, rate, answers)
    for connection in idle:
        connection.close()
    return took


def _at_rate(
    port: int,
    idle: deque[socket.socket],
    requests: Sequence[bytes],
    rate: int,
    answers: Sequence[int],
) -> list[float]:
    selector = selectors.DefaultSelector()
    took = [0.0] * len(requests)
    begun, sent, answered = time.perf_counter(), 0, 0
    while answered < len(requests):
        now = time.perf_counter() - begun
        while idle and sent < len(requests) and sent / rate <= now:
            connection = _sent(idle.popleft(), requests[sent], port)
            selector.register(connection, selectors.EVENT_READ, [sent, b""])
            sent += 1
        wait = sent / rate - (time.perf_counter() - begun) if idle else 30
        for key, _ in selector.select(max(wait, 0)):
            number = key.data[0]
            part = _received(key.fileobj)  # type: ignore[arg-type]
            if not part:
                # The server lets connections go that were idle for a while: the call goes anew.
                selector.unregister(key.fileobj)
                connection = _sent(_connected(port), requests[number], port)
                selector.register(connection, selectors.EVENT_READ, [number, b""])
                continue
            key.data[1] += part
            if not _whole(key.data[1], answers[number]):
                continue
            took[number] = (time.perf_counter() - begun - number / rate) * 1000
            selector.unregister(key.fileobj)
            idle.append(key.fileobj)  # type: ignore[arg-type]
            answered += 1
    selector.close()
    return took


def _connected(port: int) -> socket.socket:
    connection = socket.create_connection((ports.LOOPBACK, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _sent(connection: socket.socket, request: bytes, port: int) -> socket.socket:
    try:
        connection.sendall(request)
    except (BrokenPipeError, ConnectionResetError):
        connection = _connected(port)
        connection.sendall(request)
    return connection


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:
        return b""


def _whole(answer: bytes, status: int) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended or len(body) < int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]):
        return False
    if f" {status} ".encode() not in head[:20]:
        raise RuntimeError(f"the server answers {head.splitlines()[0]!r}: {body[:500]!r}")
    return True
