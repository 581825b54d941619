"""Commands as an operator runs them: processes of their own, on a system of their own."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from app.base import clock
from app.base.accounts import Staff
from app.base.db import control_session
from app.base.secrets import password_matches
from app.cli import COMMANDS
from invoices.models import Invoice, VatEvidence
from tenants.models import Application, Tenant
from tests.conftest import Scenario, administrator
from tests.sandbox.running import SECRET_KEY, WEBHOOK_SECRET, running


class TestSetup:
    def test_makes_the_first_admin_and_may_be_repeated(self, scenario: Scenario) -> None:
        first = scenario.flask(
            "setup", "--admin-email", "first@tenantry.example", "--admin-name", "First"
        )
        assert first.returncode == 0, first.stderr
        password = first.stdout.split("password:")[1].strip()
        again = scenario.flask("setup")
        assert (again.returncode, "there already" in again.stdout) == (0, True), again.stderr
        with control_session() as session:
            staff = session.scalars(select(Staff)).one()
        assert (staff.email, staff.role) == ("first@tenantry.example", "admin")
        assert password_matches(staff.password_hash, password)

    def test_says_which_address_it_needs(self, scenario: Scenario) -> None:
        failed = scenario.flask("setup", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
        assert failed.returncode == 1
        assert "DATABASE_URL" in failed.stderr
        assert "Traceback" not in failed.stderr


class TestDoctor:
    def test_finds_nothing_amiss_in_what_setup_made(self, scenario: Scenario) -> None:
        assert scenario.flask("setup").returncode == 0
        found = scenario.flask("doctor")
        assert found.returncode == 0, found.stdout
        assert "all well" in found.stdout

    def test_names_an_open_door_and_what_shuts_it(self, scenario: Scenario) -> None:
        with administrator() as connection:
            connection.execute(f"GRANT CONNECT ON DATABASE {scenario.database} TO PUBLIC")
            found = scenario.flask("doctor")
            # Rights belong to the database, which outlives the test.
            connection.execute(f"REVOKE CONNECT ON DATABASE {scenario.database} FROM PUBLIC")
        assert found.returncode == 1
        assert "open_to_public" in found.stdout
        assert "-> Run flask setup" in found.stdout

    def test_refuses_secrets_that_everybody_knows_in_production(self, scenario: Scenario) -> None:
        found = scenario.flask("doctor", TENANTRY_ENVIRONMENT="production")
        assert found.returncode == 1
        assert "TENANTRY_SANDBOX_WEBHOOK_SECRET is the published default" in found.stdout
        assert "A key of TENANTRY_SECRET_KEYS can be guessed" in found.stdout

    def test_names_a_server_that_is_away(self, scenario: Scenario) -> None:
        found = scenario.flask("doctor", REDIS_URL="redis://127.0.0.1:1/0")
        assert found.returncode == 1
        assert "Valkey does not answer" in found.stdout

    def test_tells_of_a_log_that_holds_people_and_works_all_the_same(
        self, scenario: Scenario
    ) -> None:
        name = scenario.database
        with administrator() as connection:
            connection.execute(f"ALTER DATABASE {name} SET log_error_verbosity = 'default'")
        found = scenario.flask("doctor")
        assert "PostgreSQL's log holds personal data" in found.stdout
        assert found.returncode == 0

    def test_names_a_schema_left_behind(self, scenario: Scenario) -> None:
        with administrator(scenario.database) as connection:
            connection.execute("UPDATE alembic_version SET version_num = '0000'")
        found = scenario.flask("doctor")
        assert found.returncode == 1
        assert "control schema is 0000" in found.stdout


class TestSeed:
    def test_gives_one_login_a_role_and_applications_in_each_state(
        self, scenario: Scenario, tmp_path: Path
    ) -> None:
        nowhere = "http://127.0.0.1:1"
        first = scenario.flask(
            "seed", TENANTRY_VAR_DIR=str(tmp_path), TENANTRY_SANDBOX_GATEWAY_URL=nowhere
        )
        assert first.returncode == 0, first.stderr
        assert "customers who pay by card are left out" in first.stdout
        assert first.stderr == ""
        logins = json.loads((tmp_path / "demo_logins.json").read_text())
        assert all(set(login) == {"who", "url", "email", "password"} for login in logins)
        with control_session() as session:
            staff = {row.email: row for row in session.scalars(select(Staff))}
            states = set(session.scalars(select(Application.state)))
            tenants = session.scalars(select(Tenant.state)).all()
        assert {row.role for row in staff.values()} == {"admin", "sales", "finance", "viewer"}
        for login in logins[:4]:
            assert password_matches(staff[login["email"]].password_hash, login["password"])
        assert states == {"submitted", "confirmed", "rejected", "approved"}
        assert sorted(tenants) == ["active", "approved", "suspended", "trialing"]
        again = scenario.flask("seed", TENANTRY_VAR_DIR=str(tmp_path))
        assert again.returncode == 0, again.stderr
        assert json.loads((tmp_path / "demo_logins.json").read_text()) == logins
        moved = scenario.flask(
            "seed", TENANTRY_VAR_DIR=str(tmp_path), TENANTRY_PUBLIC_URL="http://127.0.0.1:8001"
        )
        assert moved.returncode == 0, moved.stderr
        addresses = [
            login["url"] for login in json.loads((tmp_path / "demo_logins.json").read_text())
        ]
        assert all(address.startswith("http://127.0.0.1:8001/") for address in addresses)

    def test_leaves_books_that_hold_and_a_customer_in_each_state(
        self, scenario: Scenario, tmp_path: Path
    ) -> None:
        with running(directory=tmp_path / "sandbox") as gateway:
            seeded = scenario.flask(
                "seed",
                TENANTRY_SANDBOX_GATEWAY_URL=gateway.url,
                TENANTRY_SANDBOX_GATEWAY_SECRET=SECRET_KEY,
                TENANTRY_SANDBOX_WEBHOOK_SECRET=WEBHOOK_SECRET,
            )
        assert seeded.returncode == 0, seeded.stderr
        assert seeded.stderr == ""
        with control_session() as session:
            tenants = set(session.scalars(select(Tenant.state)))
            invoices = session.execute(
                select(Invoice.number, Invoice.issued_at, Invoice.state).order_by(Invoice.issued_at)
            ).all()
            evidence = set(session.scalars(select(VatEvidence.kind)))
        assert tenants == {"approved", "trialing", "active", "past_due", "suspended"}
        assert {invoice.state for invoice in invoices} == {"issued", "paid"}
        assert [invoice.number for invoice in invoices] == sorted(i.number for i in invoices)
        assert evidence >= {"card_slip", "tax_invoice"}
        checked = scenario.flask("check")
        assert checked.returncode == 0, checked.stdout

    def test_is_refused_in_production(self, scenario: Scenario) -> None:
        assert scenario.flask("seed", TENANTRY_ENVIRONMENT="production").returncode == 1


class TestClock:
    def test_is_set_and_moved_on(self, scenario: Scenario) -> None:
        assert scenario.flask("clock", "set", "2026-03-01T09:00").returncode == 0
        assert abs((clock.now() - datetime(2026, 3, 1, tzinfo=UTC)).total_seconds()) < 60
        moved = scenario.flask("clock", "advance", "2d 12h")
        assert moved.stdout.startswith("2026-03-03T21:0")

    def test_is_real_elsewhere(self, scenario: Scenario) -> None:
        refused = scenario.flask("clock", "advance", "1d", TENANTRY_ENVIRONMENT="dev")
        assert refused.returncode == 1
        assert "demo or test" in refused.stderr

    @pytest.mark.parametrize("words", [("advance", "soon"), ("set", "tomorrow")])
    def test_says_how_to_write_a_time(self, scenario: Scenario, words: tuple[str, str]) -> None:
        refused = scenario.flask("clock", *words)
        assert refused.returncode == 2
        assert "write it as" in refused.stderr


class TestStaff:
    def test_is_added_with_a_password_and_given_another(self, scenario: Scenario) -> None:
        added = scenario.flask(
            "staff", "add", "x@tenantry.example", "--name", "X", "--role", "sales"
        )
        assert added.returncode == 0, added.stderr
        reset = scenario.flask("staff", "reset", "X@tenantry.example")
        assert reset.returncode == 0, reset.stderr
        old, new = (out.split("password:")[1].strip() for out in (added.stdout, reset.stdout))
        with control_session() as session:
            stored = session.scalars(select(Staff.password_hash)).one()
        assert password_matches(stored, new)
        assert not password_matches(stored, old)

    def test_needs_an_address_that_mail_can_reach(self, scenario: Scenario) -> None:
        refused = scenario.flask("staff", "add", "nobody", "--name", "X")
        assert refused.returncode == 1
        assert "no e-mail address" in refused.stderr
        with control_session() as session:
            assert session.scalars(select(Staff)).all() == []

    def test_is_refused_twice(self, scenario: Scenario) -> None:
        words = ("staff", "add", "x@tenantry.example", "--name", "X")
        scenario.flask(*words)
        refused = scenario.flask(*words)
        assert refused.returncode == 1
        assert "already" in refused.stderr


class TestWhatIsWrongOnTheCommandLine:
    """Each is a line that says what to do, and no trace of our code."""

    @pytest.mark.parametrize(
        ("changed", "told"),
        [
            ({"TENANTRY_SECRET_KEYS": ""}, "TENANTRY_SECRET_KEYS is not set"),
            (
                {"TENANTRY_REVIEW_SLA_HOURS": "a day"},
                "TENANTRY_REVIEW_SLA_HOURS: Input should be a valid integer",
            ),
        ],
    )
    def test_names_the_setting_at_fault(
        self, scenario: Scenario, changed: dict[str, str], told: str
    ) -> None:
        refused = scenario.flask("check", "--list", **changed)
        assert refused.returncode == 1
        assert told in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1, refused.stderr

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (("whatif", "--plan", "nobody-has-it"), "nobody-has-it"),
            (("ledger", "journal", "--output", "/nowhere/at/all.csv"), "/nowhere/at/all.csv"),
            (("catalogue", "export", "/nowhere/at/all.yaml"), "/nowhere/at/all.yaml"),
            (("catalogue", "plan", "/nowhere.yaml"), "/nowhere.yaml can't be read: No such file"),
            (("catalogue", "plan", "/"), "/ can't be read: Is a directory."),
            (
                (
                    "meters",
                    "try",
                    "seats",
                    "--tenant",
                    "x",
                    "--from",
                    "2026-03-02",
                    "--to",
                    "2026-03-01",
                ),
                "--from lies after --to.",
            ),
            (("clock", "advance", "99999999999d"), "write it as"),
            (("clock", "set", "0001-01-01"), "write it as"),
        ],
    )
    def test_names_the_argument_at_fault(
        self, scenario: Scenario, words: tuple[str, ...], told: str
    ) -> None:
        refused = scenario.flask(*words)
        assert refused.returncode in {1, 2}
        assert told in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_names_a_server_that_is_away(self, scenario: Scenario) -> None:
        refused = scenario.flask("check", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
        assert refused.returncode == 1
        assert "PostgreSQL does not answer" in refused.stderr
        assert "Traceback" not in refused.stderr


def test_every_command_says_what_it_does(scenario: Scenario) -> None:
    listed = scenario.flask("--help")
    assert listed.returncode == 0, listed.stderr
    assert {name for name in COMMANDS if f"  {name} " in listed.stdout} == set(COMMANDS)
