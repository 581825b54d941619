"""Server time of the pages people open all day, with years of rows behind them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.routing import BuildError, Rule

from app.base import accounts, clock, installation, sessions
from app.base.audit import SYSTEM
from app.base.db import control_session
from invoices import catalogue

PAGE_LIMIT_MS = 15.0
WARM_UP = 5
STATEMENTS = Path(__file__).with_name("bench_rows.sql")
AREAS = ("/console", "/portal", "/workspace", "/hooks", "/api")
# What a page's address may name, and a row in the middle of the table to put there.
SAMPLES = {
    "application_id": "SELECT id FROM application WHERE state = 'confirmed' ORDER BY id LIMIT 1",
    "tenant_id": "SELECT id FROM tenant ORDER BY id OFFSET 500 LIMIT 1",
    "invoice_id": "SELECT id FROM invoice ORDER BY id OFFSET 50000 LIMIT 1",
    "subscription_id": "SELECT id FROM subscription ORDER BY id OFFSET 500 LIMIT 1",
    "staff_id": "SELECT id FROM staff LIMIT 1",
}


def measure(*, database: str, times: int) -> Iterator[tuple[str, float]]:
    """This function will yield each console and public page with its median time in ms.

    Pages come from the application's own map, so that a new one is measured without being asked.
    Redirects, downloads and pages that need another address than SAMPLES knows are left out.
    """
    fill(database)
    from app.factory import create_app  # noqa: PLC0415 - after the process turned to the database

    app = create_app()
    client = app.test_client(use_cookies=True)
    _sign_in(client)
    samples = _samples()
    for path in _paths(app, samples):
        answer = client.get(path)
        if answer.status_code != 200 or answer.mimetype != "text/html":
            continue
        yield _label(path, samples), _median_ms(client, path, times)


def fill(database: str) -> None:
    """This function will write 10,000 applications, 1,000 tenants and 100,000 invoices.

    The superuser does it with triggers off: rows like those that years of work would leave.
    """
    now = clock.now()
    with control_session() as session:
        catalogue.publish_default(control_session=session, actor=SYSTEM, now=now)
        staff = accounts.add_staff(
            control_session=session,
            email="bench@tenantry.example",
            name="Bench",
            role="admin",
            actor=SYSTEM,
            now=now,
        )
        staff_id = staff.id
    with installation.administrator(database=database) as connection:
        connection.execute("SET session_replication_role = replica")
        _run(connection, now=now, staff=staff_id)
        connection.execute("RESET session_replication_role")
        connection.execute("VACUUM (ANALYZE)")


def _run(connection: psycopg.Connection[Any], **values: Any) -> None:
    with psycopg.ClientCursor(connection) as cursor:
        for statement in STATEMENTS.read_text().split(";\n"):
            if statement.strip():
                cursor.execute(statement.encode(), values)


def _sign_in(client: FlaskClient) -> None:
    from app.web.sessions import cookie_name  # noqa: PLC0415

    with control_session() as session:
        staff_id = session.scalars(text("SELECT id FROM staff")).one()
        token, _row = sessions.open_session(
            control_session=session,
            audience="staff",
            user_id=staff_id,
            tenant_id=None,
            real_now=clock.real_now(),
        )
    client.set_cookie(cookie_name("staff"), f"s.{token}")


def _samples() -> dict[str, str]:
    with control_session() as session:
        return {name: str(session.scalar(text(query))) for name, query in SAMPLES.items()}


def _paths(app: Flask, samples: dict[str, str]) -> Iterator[str]:
    with app.test_request_context():
        adapter = app.create_url_adapter(None) or app.url_map.bind("localhost")
        for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
            if not _is_page(rule) or not rule.arguments <= samples.keys():
                continue
            try:
                yield adapter.build(rule.endpoint, {n: samples[n] for n in rule.arguments})
            except BuildError:
                continue


def _is_page(rule: Rule) -> bool:
    if rule.endpoint == "static" or "GET" not in (rule.methods or ()):
        return False
    if rule.rule.startswith("/console"):
        return "sign-out" not in rule.rule
    return not rule.rule.startswith((*AREAS, "/look", "/healthz", "/readyz", "/metrics"))


def _label(path: str, samples: dict[str, str]) -> str:
    for name, value in samples.items():
        path = path.replace(value, f"<{name}>")
    return path


def _median_ms(client: FlaskClient, path: str, times: int) -> float:
    took = []
    gc.collect()
    for _ in range(times + WARM_UP):
        begun_at = time.perf_counter()
        client.get(path).get_data()
        took.append((time.perf_counter() - begun_at) * 1000)
    return statistics.median(took[WARM_UP:])
