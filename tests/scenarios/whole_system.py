"""The whole system on a PostgreSQL and a Valkey of its own, so that a test can take either away.

Web, workers and scheduler are the real processes under the real supervisor; pages are used over
HTTP. `inside` lets a test call rooms on that system's database.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg

from app.base import clock, secrets
from app.base.config import settings
from app.base.db import close_connections, control_session
from app.base.invariants import offences
from app.cli.check import all_invariants
from app.cli.demo.browser import Browser
from app.cli.demo.mailbox import Mailbox
from app.cli.staff import add_person
from app.embedded import accounts, identity, ports
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.system import System, start_system
from app.embedded.valkey import EmbeddedValkey
from invoices.gateways import registry
from jobs.registry import all_steps
from tests.factories import NOW, PASSWORD
from tests.patience import eventually
from tests.sandbox.running import SECRET_KEY, WEBHOOK_SECRET, RunningSandbox

DATABASE = "tenantry"
SETTINGS = {
    "TENANTRY_SWEEP_SECONDS": "0.3",
    "TENANTRY_LEASE_SECONDS": "5",
    "TENANTRY_GATEWAY_READ_TIMEOUT_SECONDS": "2",
    "TENANTRY_SANDBOX_GATEWAY_SECRET": SECRET_KEY,
    "TENANTRY_SANDBOX_WEBHOOK_SECRET": WEBHOOK_SECRET,
}
# What a lost worker held comes back when its lease ends. These are the longest of them.
_LEASES_RUN_OUT = """
DO $$ DECLARE leased text; BEGIN
    FOR leased IN SELECT table_name FROM information_schema.columns
        WHERE table_schema = 'public' AND column_name = 'lease_until'
    LOOP
        EXECUTE format('UPDATE %I SET lease_until = NULL, retry_at = NULL'
            ' WHERE lease_until IS NOT NULL OR retry_at IS NOT NULL', leased);
    END LOOP;
END $$
"""


@dataclass
class WholeSystem:
    """A running system; `postgres`, `valkey` and `gateway` are this process's own children."""

    system: System
    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    gateway: RunningSandbox
    mailbox: Mailbox
    browsers: list[Browser] = field(default_factory=list)

    def browser(self, language: str = "ko") -> Browser:
        """This function will open somebody's browser; it is closed with the system."""
        opened = Browser(self.system.addresses["site"], language=language)
        self.browsers.append(opened)
        return opened

    def pid_of(self, name: str) -> int | None:
        """This function will return the process that the supervisor runs under a name."""
        found = identity.read(self.system.directory / "run" / "system" / f"{name}.json")
        return None if found is None else found.pid

    def failures(self, name: str) -> list[str]:
        """This function will return the lines of a process's log that tell of a fault of ours."""
        said = (self.system.directory / "log" / f"{name}.log").read_text(errors="replace")
        return [line for line in said.splitlines() if "_error" in line or "Traceback" in line]

    def ask(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """This function will ask the control database, as its superuser."""
        with psycopg.connect(self.postgres.url(DATABASE), autocommit=True) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def let_leases_run_out(self) -> None:
        """This function will give back at once what dead workers held."""
        self.ask(_LEASES_RUN_OUT)

    def stop_postgres_at_once(self) -> None:
        """This function will stop PostgreSQL the immediate way: no goodbye, recovery at start."""
        self.postgres.stop(ladder=((signal.SIGQUIT, 10.0),))

    def settle(self) -> None:
        """This function will wait until no step has anything due."""
        with self.inside():
            eventually(lambda: not due_steps(), "some step still has work due")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This process reads the system's settings, clock and rows for the length of the block."""
        with _reading(self.system.environment):
            yield

    def check(self) -> list[str]:
        """This function will return what breaks an invariant of `flask check`."""
        with self.inside(), control_session() as session:
            return [
                str(offence)
                for invariant in all_invariants()
                for offence in offences(
                    control_session=session, invariant=invariant, now=clock.now()
                )
            ]

    def staff(self, role: str) -> Browser:
        """This function will sign a member of staff in, hired at the first asking."""
        email = f"{role}@tenantry.example"
        if not self.ask("SELECT 1 FROM staff WHERE email = %s", email):
            with self.inside():
                add_person(email=email, name=role.title(), role=role, password=PASSWORD)
        browser = self.browser()
        page = browser.open("/console/sign-in")
        browser.send(page, {"email": email, "password": PASSWORD}, having="password")
        return browser


def due_steps() -> list[str]:
    """This function will name the steps that have something due; call it inside."""
    with control_session() as session:
        now = clock.now()
        return [name for name, step in all_steps().items() if step.due(session, now)]


@contextmanager
def _reading(environment: dict[str, str]) -> Iterator[None]:
    """This process reads other settings for the length of the block."""
    _forget_settings()
    with mock.patch.dict(os.environ, environment):
        try:
            yield
        finally:
            _forget_settings()


def _forget_settings() -> None:
    close_connections()
    settings.cache_clear()
    secrets.forget()
    registry.forget()


@contextmanager
def whole_system(directory: Path) -> Iterator[WholeSystem]:
    """Runs one for the length of the block."""
    home = accounts.home(directory, scratch=True)  # where the servers' account may enter
    postgres = EmbeddedPostgres(
        home / "postgres", directory / "postgres.password", _free_port(), scratch=True
    )
    valkey = EmbeddedValkey(home / "valkey", directory / "valkey.password", _free_port())
    gateway = RunningSandbox(directory=directory / "gateway")
    started = None
    try:
        postgres.start()
        with psycopg.connect(postgres.url(), autocommit=True) as connection:
            # What was committed is there after a crash, whatever the cluster's other short cuts.
            connection.execute("ALTER SYSTEM SET synchronous_commit = on")
            connection.execute("SELECT pg_reload_conf()")
        here = {"TENANTRY_VAR_DIR": str(directory / "system")}
        with _reading(here):
            clock.set_now(NOW)  # before anything looks: the timetable begins with its first look
        servers = {"DATABASE_URL": postgres.url(DATABASE), "REDIS_URL": valkey.start()}
        started = start_system(
            directory / "system",
            environment="test",
            settings_of_its_own=SETTINGS | servers | {"TENANTRY_SANDBOX_GATEWAY_URL": gateway.url},
        )
        mailbox = Mailbox(started.addresses["mailbox"])
        running = WholeSystem(started, postgres, valkey, gateway, mailbox)
        yield running
        for opened in (mailbox, *running.browsers):
            opened._client.close()
    finally:
        if started is not None:
            started.destroy()
        if gateway.process.poll() is None:
            gateway.end(signal.SIGTERM)
        valkey.destroy()
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)


def _free_port() -> int:
    return ports.first_free(ports.scratch_start())
