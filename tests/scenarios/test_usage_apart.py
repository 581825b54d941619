"""Pushed usage on a PostgreSQL of its own: another server than control's, set up by `flask setup`.

Events come over HTTP through a real gunicorn that knows both addresses. What they come to is billed
from there; the bills themselves need that server no more.
"""

from __future__ import annotations

import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from unittest import mock
from uuid import UUID

import psycopg
import pytest
from alembic import command
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from app.base import clock, installation
from app.base.config import settings
from app.base.db import close_connections, control_session, usage_session
from app.base.invariants import offences
from app.cli.bench_ingest import web_server
from app.embedded import accounts, ports
from app.embedded.postgres import EmbeddedPostgres
from invoices.models import Invoice, UsageTotal
from jobs import invoicing as step
from tenants import events
from tenants.checks import INVARIANTS
from tenants.models import Tenant
from tests.conftest import Scenario, administrator
from tests.factories import make_subscription, make_tenant
from tests.invoices.metered import offer_calls, seoul
from tests.web.api.calling import event, make_customer, make_key

DATABASE = "elsewhere"
NOWHERE = "postgresql://postgres@127.0.0.1:1/none"


@pytest.fixture(scope="module")
def other_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A second cluster; it holds nothing but what set-up makes."""
    directory = tmp_path_factory.mktemp("usage-server")
    home = accounts.home(directory, scratch=True)
    postgres = EmbeddedPostgres(
        home / "postgres",
        directory / "postgres.password",
        ports.first_free(ports.scratch_start()),
        scratch=True,
    )
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.destroy()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def reading(environment: dict[str, str]) -> Iterator[None]:
    """This process reads other settings for the length of the block."""
    with mock.patch.dict(os.environ, environment):
        settings.cache_clear()
        close_connections()
        try:
            yield
        finally:
            close_connections()
    settings.cache_clear()


@pytest.fixture
def apart(scenario: Scenario, other_server: EmbeddedPostgres) -> Iterator[Scenario]:
    """Control as ever, and a fresh usage database on the other server."""
    environment = {"USAGE_DATABASE_URL": other_server.url(DATABASE)}
    done = scenario.flask("setup", **environment)
    assert done.returncode == 0, done.stderr
    assert "usage schema: newest, on its own" in done.stdout
    with reading(environment):
        yield Scenario(scenario.database, scenario.environment | environment)
    with psycopg.connect(other_server.url(), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def rows(connection: psycopg.Connection[Any], table: str, tenant_id: UUID) -> int:
    query = f"SELECT count(*) FROM {table} WHERE tenant_id = %s"
    found = connection.execute(query, (tenant_id,)).fetchone()
    return int(found[0]) if found else 0


def there(server: EmbeddedPostgres, tenant_id: UUID) -> tuple[int, int]:
    """This function will count a tenant's events and keys on the other server."""
    with psycopg.connect(server.url(DATABASE)) as connection:
        return rows(connection, "event", tenant_id), rows(connection, "event_key", tenant_id)


def here(scenario: Scenario, tenant_id: UUID) -> tuple[int, int]:
    """This function will count them in the control database."""
    with administrator(scenario.database) as connection:
        return rows(connection, "event", tenant_id), rows(connection, "event_key", tenant_id)


def post(port: int, key: str, batch: list[dict[str, Any]]) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/events",
        data=json.dumps({"events": batch}).encode(),
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=180) as answer:  # noqa: S310 - our own server
        return dict(json.loads(answer.read()))


def counted(answer: dict[str, Any]) -> tuple[int, int, int]:
    return answer["accepted"], answer["duplicate"], answer["refused"]


def destroy(tenant_id: UUID, now: datetime) -> None:
    """This function will take the steps of a destruction that concern pushed usage."""
    with control_session() as session:
        session.get_one(Tenant, tenant_id).state = "destroying"
    with control_session() as control, usage_session() as usage:
        events.end(usage_session=usage, control_session=control, tenant_id=tenant_id, now=now)
    erased = 1
    while erased:
        with usage_session() as usage:
            erased = events.erase(usage_session=usage, tenant_id=tenant_id)


class TestUsageOnAServerOfItsOwn:
    def test_is_pushed_there_known_there_and_erased_there(
        self, apart: Scenario, other_server: EmbeddedPostgres
    ) -> None:
        doomed, neighbour, key = make_customer(), make_customer("dureh"), make_key()
        batch = [event(id=f"e{n}", tenant=name) for n in range(5) for name in ("hanbit", "dureh")]
        with web_server() as port:
            assert counted(post(port, key, batch)) == (10, 0, 0)
            assert counted(post(port, key, batch)) == (0, 10, 0)
            assert (there(other_server, doomed), here(apart, doomed)) == ((5, 5), (0, 0))
            destroy(doomed, clock.now())
            assert counted(post(port, key, batch)) == (0, 5, 5)
            assert there(other_server, doomed) == (0, 0)
            assert there(other_server, neighbour) == (5, 5)

    def test_may_be_set_up_again_and_is_found_well(self, apart: Scenario) -> None:
        assert apart.flask("setup").returncode == 0
        told = apart.flask("doctor").stdout
        assert "ok   pushed usage" in told
        command.check(installation.usage_alembic_config())

    def test_is_made_ahead_and_dropped_by_retention_there(
        self, apart: Scenario, other_server: EmbeddedPostgres, now: datetime
    ) -> None:
        customer = make_customer()
        with control_session() as control, usage_session() as usage:
            events.accept(
                usage_session=usage, control_session=control, events=[event(now)], now=now
            )
        far = now + timedelta(days=31 * (settings().event_retention_months + 2))
        with usage_session() as usage:
            assert events.make_months_ahead(usage_session=usage, now=far) == 3
        with usage_session() as usage:
            assert events.erase_old(usage_session=usage, now=far) >= 1
        assert there(other_server, customer) == (0, 1)

    def test_lets_in_only_the_two_roles_that_are_needed(
        self, apart: Scenario, other_server: EmbeddedPostgres
    ) -> None:
        with psycopg.connect(other_server.url(), autocommit=True) as connection:
            connection.execute("DROP ROLE IF EXISTS stranger")
            connection.execute("CREATE ROLE stranger")
            asked = (
                "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' AND NOT rolsuper"
                f" AND has_database_privilege(rolname, '{DATABASE}', 'CONNECT')"
            )
            assert {name for (name,) in connection.execute(asked)} == {
                *("tenantry_owner", "tenantry_app")
            }

    def test_is_compared_with_control_by_flask_check(self, apart: Scenario, now: datetime) -> None:
        customer = make_customer()
        with control_session() as control, usage_session() as usage:
            events.accept(
                usage_session=usage, control_session=control, events=[event(now)], now=now
            )
        with control_session() as control:
            control.get_one(Tenant, customer).state = "destroyed"
        rule = next(each for each in INVARIANTS if each.name.endswith("pushed usage"))
        with control_session() as control:
            found = offences(control_session=control, invariant=rule, now=now)
        assert [one.id for one in found] == [str(customer)]

    def test_takes_the_api_along_when_it_is_away_and_no_page(self, apart: Scenario) -> None:
        make_customer()
        key = make_key()
        with reading({"USAGE_DATABASE_URL": NOWHERE}), web_server() as port:
            with pytest.raises(urllib.error.HTTPError) as refused:
                post(port, key, [event()])
            with refused.value as answer:
                assert answer.code == 503
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=30) as page:
                assert page.status == 200


class TestABillFromUsageOnAServerOfItsOwn:
    @pytest.fixture
    def copied(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is written by COPY, and into which database, from now on."""
        seen: list[str] = []
        copy = psycopg.Cursor.copy

        def noted(cursor: Any, statement: Any, *more: Any, **options: Any) -> Any:
            seen.append(f"{cursor.connection.info.dbname}: {statement.as_string(cursor)}")
            return copy(cursor, statement, *more, **options)

        monkeypatch.setattr(psycopg.Cursor, "copy", noted)
        return seen

    @pytest.fixture
    def customer(self, apart: Scenario) -> UUID:
        """A customer of February on, billed by calls in arrears: ₩100 each, from the 101st ₩10."""
        with control_session() as session:
            offer_calls(session)
            tenant = make_tenant(session, state="active", slug="hanbit")
            make_subscription(
                session,
                tenant=tenant,
                starts_on=date(2026, 2, 1),
                plan_code="calls",
                now=seoul(date(2026, 2, 1)),
            )
            return tenant.id

    def push(self, on: date, count: int) -> None:
        """This function will store so many calls of a day, as the API does."""
        batch = [event(seoul(on), id=f"{on} {n}") for n in range(count)]
        with control_session() as control, usage_session() as usage:
            events.accept(
                usage_session=usage, control_session=control, events=batch, now=seoul(on, 10)
            )

    def test_closes_totals_into_control_and_is_verified_without_that_server(
        self,
        apart: Scenario,
        other_server: EmbeddedPostgres,
        customer: UUID,
        copied: list[str],
        set_clock: Callable[[datetime], None],
    ) -> None:
        self.push(date(2026, 2, 10), 120)
        assert (there(other_server, customer), here(apart, customer)) == ((120, 120), (0, 0))
        set_clock(seoul(date(2026, 3, 1)))
        assert step.work() == 1
        with control_session() as session:
            invoice = session.scalars(select(Invoice)).one()
            (line,) = invoice.lines
            closed = session.scalars(select(UsageTotal)).one()
        assert (invoice.state, line.amount_minor) == ("issued", 100 * 100 + 20 * 10)
        assert (closed.line_id, closed.quantity, closed.transactions) == (line.id, 120, 120)
        assert closed.sha256 == line.readings_sha256
        assert len(closed.sha256) == 64
        into_control = [each for each in copied if 'COPY "usage_total"' in each]
        assert [each.partition(":")[0] for each in into_control] == [apart.database]

        away = apart.flask("verify", "--all", USAGE_DATABASE_URL=NOWHERE)
        assert (away.returncode, away.stdout) == (0, "1 invoices verified, 0 differ\n"), away.stderr
        with administrator(apart.database) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute("UPDATE usage_total SET quantity = quantity - 1")
        named = apart.flask("verify", "--all", USAGE_DATABASE_URL=NOWHERE)
        assert named.returncode == 1
        assert f"{invoice.number_text} DIFFERS" in named.stdout

    def test_is_corrected_by_what_came_there_late(
        self,
        apart: Scenario,
        customer: UUID,
        set_clock: Callable[[datetime], None],
    ) -> None:
        self.push(date(2026, 2, 10), 90)
        set_clock(seoul(date(2026, 3, 1)))
        assert step.work() == 1
        self.push(date(2026, 2, 20), 20)
        set_clock(seoul(date(2026, 4, 1)))
        assert step.work() == 1
        with control_session() as session:
            _, later = session.scalars(select(Invoice).order_by(Invoice.number)).all()
            found = [(line.kind, line.amount_minor) for line in later.lines]
            revisions = session.scalars(
                select(UsageTotal.quantity).order_by(UsageTotal.starts_at, UsageTotal.revision)
            ).all()
        assert found == [("charge", 0), ("adjustment", 10 * 100 + 10 * 10)]
        assert revisions == [90, 110, 0]
        assert apart.flask("verify", "--all", USAGE_DATABASE_URL=NOWHERE).returncode == 0

    def test_waits_while_that_server_is_away_and_is_made_when_it_is_back(
        self,
        apart: Scenario,
        customer: UUID,
        set_clock: Callable[[datetime], None],
    ) -> None:
        self.push(date(2026, 2, 10), 3)
        set_clock(seoul(date(2026, 3, 1)))
        with reading({"USAGE_DATABASE_URL": NOWHERE}), pytest.raises(OperationalError):
            step.work()
        with control_session() as session:
            assert session.scalars(select(Invoice)).all() == []
            session.execute(text("UPDATE subscription SET lease_until = NULL, retry_at = NULL"))
        assert step.work() == 1
        with control_session() as session:
            assert session.scalars(select(Invoice.total_minor)).all() == [330]
