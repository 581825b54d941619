"""Usage events pushed over HTTP through the web server we deploy, beside one bare connection.

The floor is what PostgreSQL alone takes: a psycopg connection that writes the same rows into the
same two tables, ready made, in transactions of the same size, round for round in turn with ours.
"""

from __future__ import annotations

import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from app.base import accounts, clock, ids, installation
from app.base.audit import SYSTEM
from app.base.config import CHECKOUT
from app.base.db import control_session, usage_admin_url
from app.embedded import ports
from tenants import api_keys
from tenants.event_bodies import Body, read_all
from tenants.models import Tenant

LATENCY_LIMIT_MS = 50.0
EVENTS_A_CALL = 100
CONNECTIONS = 4
WEB_WORKERS = 2
WEB_THREADS = 4
START_SECONDS_MAX = 60.0
# gunicorn, whose workers are forked from it: what it has imported, none of them imports again.
_SHARING = (
    "-c",
    "import app.factory; from gunicorn.app.wsgiapp import run; run(prog='gunicorn')",
)
TENANTS = 200
TYPES = ("api.call", "render.seconds", "storage.read", "page.printed", "mail.sent")
REGIONS = ("seoul", "busan", "tokyo", "frankfurt")
STORED_AT_ONCE = 250_000
DAYS_STORED = 30


@dataclass
class Traffic:
    """Calls as a gateway of ours makes them: of many tenants, drawn at random; `seed` repeats."""

    tenants: list[tuple[UUID, str]]
    now: datetime
    seed: int = 20_260_310
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - traffic, not a secret

    def call(self) -> list[dict[str, Any]]:
        """This function will make the events of one call."""
        draw = self._random
        return [
            {
                "id": str(ids.uuid7()),
                "tenant": draw.choice(self.tenants)[1],
                "type": draw.choice(TYPES),
                "time": (self.now - timedelta(seconds=draw.random() * 3600)).isoformat(),
                "quantity": draw.randrange(1, 100_000) / 8,
                "properties": {"region": draw.choice(REGIONS), "job": f"j-{draw.getrandbits(32)}"},
            }
            for _ in range(EVENTS_A_CALL)
        ]


@dataclass
class Round:
    """What a round of calls took: seconds in all, and milliseconds of each."""

    seconds: float
    latencies_ms: list[float]

    @property
    def events_per_second(self) -> float:
        return len(self.latencies_ms) * EVENTS_A_CALL / self.seconds


@dataclass
class Opened:
    """A scratch database with its web server: where calls go, and where the floor writes."""

    port: int
    secret: str
    traffic: Traffic
    bare: psycopg.Connection[Any]

    def push(self, calls: int) -> Round:
        """This function will push that many calls over HTTP."""
        return push(self.port, self.secret, [self.traffic.call() for _ in range(calls)])

    def write_bare(self, calls: int) -> Round:
        """This function will write the rows of that many calls without us."""
        return write_bare(self.bare, self.traffic, [self.traffic.call() for _ in range(calls)])


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of all rounds in events a second, and the slowest of a hundred calls."""

    ours: float
    floor: float
    filled: float
    p99_ms: float


def in_turn(*, empty: Opened, filled: Opened, rounds: int, calls: int) -> Measured:
    """This function will let the three take turns and put their medians side by side."""
    for warming in (empty.push, empty.write_bare, filled.push):
        warming(calls // 2)
    ours, floor, full = [], [], []
    for _ in range(rounds):
        ours.append(empty.push(calls))
        floor.append(empty.write_bare(calls))
        full.append(filled.push(calls))
    latencies = [took for each in ours for took in each.latencies_ms]
    return Measured(
        ours=_median(ours),
        floor=_median(floor),
        filled=_median(full),
        p99_ms=statistics.quantiles(latencies, n=100)[98],
    )


def _median(rounds: Sequence[Round]) -> float:
    return statistics.median(each.events_per_second for each in rounds)


@contextmanager
def opened() -> Iterator[Opened]:
    """Live tenants, an API key and a web server on the scratch database of this moment."""
    secret, traffic = prepare()
    with (
        web_server() as port,
        _administrator() as bare,
    ):
        bare.execute("SET session_replication_role = replica")  # the two tables and nothing else
        bare.execute(_STAGING)
        yield Opened(port, secret, traffic, bare)


def _administrator() -> psycopg.Connection[Any]:
    return installation.usage_administrator(database=str(usage_admin_url().database))


def fill(stored: int) -> None:
    """This function will store events of a month past, set by set, as years of calls left them."""
    with _administrator() as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("SET synchronous_commit = off")
        for begun in range(0, stored, STORED_AT_ONCE):
            amount = min(STORED_AT_ONCE, stored - begun)
            connection.execute(_FILL, {"amount": amount, "tenants": TENANTS, "days": DAYS_STORED})
        connection.execute("VACUUM (ANALYZE) event_key, event")
        connection.execute("CHECKPOINT")


_FILL = """
    WITH months AS MATERIALIZED (
        SELECT ensure_event_months(ARRAY[
            (now() - make_interval(days => %(days)s))::date, now()::date])
    ), made AS MATERIALIZED (
        SELECT CAST(md5('tenant ' || (random() * %(tenants)s)::int) AS uuid) AS tenant_id,
            uuidv7()::text AS id, gen_random_uuid() AS id_hash, gen_random_uuid() AS body_hash,
            (ARRAY['api.call', 'render.seconds', 'storage.read'])[1 + (n %% 3)] AS type,
            now() - random() * make_interval(days => %(days)s) AS at,
            (random() * 10000)::numeric(20, 3) AS quantity, n
        FROM generate_series(1, %(amount)s) AS n, months
    ), keys AS (
        INSERT INTO event_key (tenant_id, id_hash, body_hash)
        SELECT tenant_id, id_hash, body_hash FROM made
    )
    INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
    SELECT tenant_id, id, type, at, quantity,
        jsonb_build_object('region', 'seoul', 'job', 'j-' || n), at
    FROM made ORDER BY at
"""


def prepare() -> tuple[str, Traffic]:
    """This function will make live tenants and an API key in the scratch database."""
    now = clock.now()
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
            scopes=["events:write"],
            staff_id=staff.id,
            now=now,
        )
        tenants = [
            Tenant(
                state="active",
                slug=f"bench-{number}",
                name=f"Bench {number}",
                country="KR",
                language="ko",
                timezone="Asia/Seoul",
                currency="KRW",
                plan_code="team",
                trial_days=14,
                created_at=now,
            )
            for number in range(TENANTS)
        ]
        session.add_all(tenants)
        session.flush()
        known = [(tenant.id, tenant.slug) for tenant in tenants]
    return secret, Traffic(known, now)


@contextmanager
def web_server(start: Sequence[str] = _SHARING) -> Iterator[int]:
    """The web server as it is deployed, on a port of its own and on the database of this moment.

    `start` is what Python is told, if it is not to share between workers what they import.
    """
    port = ports.first_free(ports.scratch_start())
    with tempfile.TemporaryDirectory(prefix="tenantry-web-") as folder:
        log = Path(folder) / "web.log"
        command = [
            *(sys.executable, *start, "wsgi:app", "--no-control-socket"),
            *("--worker-class", "gthread", "--workers", str(WEB_WORKERS)),
            *("--threads", str(WEB_THREADS), "--bind", f"{ports.LOOPBACK}:{port}", "--reuse-port"),
            *("--chdir", str(CHECKOUT), "--worker-tmp-dir", folder, "--log-level", "warning"),
        ]
        with log.open("wb") as output:
            server = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                cwd=CHECKOUT,
                env=os.environ | {"MALLOC_ARENA_MAX": "2"},
            )
        try:
            _wait_for(port, server, log)
            yield port
        finally:
            server.terminate()
            server.wait(30)


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS_MAX
    while not ports.answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the web server does not start:\n{log.read_text()[-4_000:]}")
        time.sleep(0.05)


def push(port: int, secret: str, calls: Sequence[list[dict[str, Any]]]) -> Round:
    """This function will send the calls over a few kept-alive connections, each as fast as it goes.

    Every event must be accepted: a call that is answered otherwise ends the bench.
    """
    requests = [_request(port, secret, call) for call in calls]
    waiting = iter(requests)
    latencies: list[float] = []
    selector = selectors.DefaultSelector()
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((ports.LOOPBACK, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, _Call(connection))
    begun = time.perf_counter()
    for key in list(selector.get_map().values()):
        key.data.begin(next(waiting))
    while len(latencies) < len(requests):
        for key, _ in selector.select(30):
            took = key.data.read()
            if took is None:
                continue
            latencies.append(took * 1000)
            following = next(waiting, None)
            if following is not None:
                key.data.begin(following)
    seconds = time.perf_counter() - begun
    for key in list(selector.get_map().values()):
        key.data.connection.close()
    selector.close()
    return Round(seconds, latencies)


def _request(port: int, secret: str, call: list[dict[str, Any]]) -> bytes:
    body = json.dumps({"events": call}).encode()
    head = (
        f"POST /api/v1/events HTTP/1.1\r\nHost: {ports.LOOPBACK}:{port}\r\n"
        f"Authorization: Bearer {secret}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Call:
    """One call at a time on one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.begun_at = 0.0
        self.answer = b""

    def begin(self, request: bytes) -> None:
        self.begun_at = time.perf_counter()
        self.answer = b""
        self.connection.sendall(request)

    def read(self) -> float | None:
        """How long the call took once its answer is whole."""
        self.answer += self.connection.recv(262_144)
        head, ended, body = self.answer.partition(b"\r\n\r\n")
        if not ended:
            return None
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return None
        took = time.perf_counter() - self.begun_at
        if b'"accepted": %d,' % EVENTS_A_CALL not in body[:100]:
            raise RuntimeError(f"the server answers {head.splitlines()[0]!r}: {body[:500]!r}")
        return took


_STAGING = """
    CREATE TEMPORARY TABLE staging (tenant_id uuid, id text, id_hash uuid, body_hash uuid,
        type text, at timestamptz, quantity numeric, properties jsonb) ON COMMIT DELETE ROWS
"""
_KEYS_AND_EVENTS = """
    WITH taken AS (
        INSERT INTO event_key (tenant_id, id_hash, body_hash)
        SELECT tenant_id, id_hash, body_hash FROM staging
        ON CONFLICT DO NOTHING RETURNING tenant_id, id_hash
    )
    INSERT INTO event (tenant_id, id, type, at, quantity, properties, received_at)
    SELECT tenant_id, id, type, at, quantity, properties, now()
    FROM staging JOIN taken USING (tenant_id, id_hash)
"""


def write_bare(
    connection: psycopg.Connection[Any], traffic: Traffic, calls: Sequence[list[dict[str, Any]]]
) -> Round:
    """This function will write the rows of the same calls, made ready before the clock starts."""
    known = {slug: tenant_id for tenant_id, slug in traffic.tenants}
    ready = [[_row(known, event, traffic.now) for event in call] for call in calls]
    took = []
    begun = time.perf_counter()
    for rows in ready:
        at = time.perf_counter()
        with connection.transaction(), connection.cursor() as cursor:
            with cursor.copy("COPY staging FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            cursor.execute(_KEYS_AND_EVENTS)
            if cursor.rowcount != len(rows):
                raise RuntimeError(f"the floor stored {cursor.rowcount} of {len(rows)} rows")
        took.append((time.perf_counter() - at) * 1000)
    return Round(time.perf_counter() - begun, took)


def _row(known: dict[str, UUID], event: dict[str, Any], now: datetime) -> tuple[Any, ...]:
    body = read_all([json.loads(json.dumps(event), parse_float=str)], now=now)[0]
    assert isinstance(body, Body), body
    return (
        known[body.tenant],
        body.id,
        body.id_hash,
        body.body_hash,
        body.type,
        body.at,
        body.quantity,
        body.properties,
    )
