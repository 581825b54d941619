"""Server time of the pages people open all day, with years of rows behind them."""

from __future__ import annotations

import gc
import runpy
import statistics
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.routing import BuildError, Rule

from app.base import accounts, clock, installation, sessions
from app.base.audit import SYSTEM
from app.base.config import CHECKOUT
from app.base.db import control_session
from app.cli.bench_memory import web_process_mb
from app.web.compiled import compile_templates
from invoices import catalogue

PAGE_LIMIT_MS = 15.0
# A statement is prepared at its sixth use, and its plan kept from the sixth use after that.
WARM_UP = 15  # a quick look warms no longer than it looks
MONTHS = 100  # of a thousand subscriptions: 100,000 invoices
ROWS = Path(__file__).with_name("bench_rows.sql")
AREAS = ("/console", "/portal", "/workspace", "/hooks", "/api")
# What a page's address may name, and a row in the middle of the table to put there.
SAMPLES = {
    "application_id": "SELECT id FROM application WHERE state = 'confirmed' ORDER BY id LIMIT 1",
    "tenant_id": "SELECT id FROM tenant ORDER BY id OFFSET 500 LIMIT 1",
    "invoice_id": "SELECT id FROM invoice ORDER BY id LIMIT 1"
    " OFFSET (SELECT count(*) / 2 FROM invoice)",
    "subscription_id": "SELECT id FROM subscription ORDER BY id OFFSET 500 LIMIT 1",
    "staff_id": "SELECT id FROM staff LIMIT 1",
}


def measure(*, database: str, times: int, months: int = MONTHS) -> Iterator[tuple[str, float]]:
    """This function will yield each console and public page with its median time in ms.

    Pages come from the application's own map, so that a new one is measured without being asked.
    Redirects, downloads and pages that need another address than SAMPLES knows are left out.
    """
    fill(database, months=months)
    # What gunicorn loads, built anew now that this process has turned to another database.
    app: Flask = runpy.run_path(str(CHECKOUT / "wsgi.py"))["app"]
    client = app.test_client(use_cookies=True)
    sign_in(client)
    samples = _samples()
    # All addresses first: a request must find no context of ours to share a transaction with.
    for path in list(_paths(app, samples)):
        answer = client.get(path)
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RuntimeError(f"{path} fails over the bench's rows")
        if answer.status_code != 200 or answer.mimetype != "text/html":
            continue
        yield _label(path, samples), _median_ms(client, path, times)


def measure_memory() -> float:
    """This function will return the megabytes that a web process holds having served all of them.

    Call it where `measure` has filled the database.
    """
    app: Flask = runpy.run_path(str(CHECKOUT / "wsgi.py"))["app"]
    compile_templates(app)  # as set-up does
    cookie = sign_in(app.test_client(use_cookies=True))
    return web_process_mb(addresses=list(_paths(app, _samples())), cookie=cookie)


def fill(database: str, *, months: int) -> None:
    """This function will write 10,000 applications, 1,000 tenants and an invoice a month of each.

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
        connection.execute(
            "SELECT set_config('bench.now', %s, false), set_config('bench.staff', %s, false),"
            " set_config('bench.months', %s, false),"
            " set_config('session_replication_role', 'replica', false),"
            " set_config('TimeZone', 'Asia/Seoul', false)",
            (now.isoformat(), str(staff_id), str(months)),
        )
        connection.execute(ROWS.read_bytes())
        connection.execute("VACUUM (ANALYZE)")


def sign_in(client: FlaskClient) -> str:
    """This function will sign the bench's member of staff in, and return the cookie of it."""
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
    return f"{cookie_name('staff')}=s.{token}"


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
    return not rule.rule.startswith((*AREAS, "/_/", "/healthz", "/readyz", "/metrics"))


def _label(path: str, samples: dict[str, str]) -> str:
    for name, value in samples.items():
        path = path.replace(value, f"<{name}>")
    return path


def _median_ms(client: FlaskClient, path: str, times: int) -> float:
    took = []
    warm_up = min(WARM_UP, times)
    gc.collect()
    for _ in range(times + warm_up):
        begun_at = time.perf_counter()
        client.get(path).get_data()
        took.append((time.perf_counter() - begun_at) * 1000)
    return statistics.median(took[warm_up:])
