"""`flask catalogue` as an operator runs it: codes, faults by line, and two at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from app.base.audit import AuditEvent
from app.base.db import control_session
from app.base.messages import Message
from app.cli.catalogue import catalogue_commands
from invoices import catalogue_file
from invoices.models import PlanVersion, Subscription
from tests.conftest import ROOT, Scenario
from tests.factories import make_catalogue, make_subscription

EXAMPLE = ROOT / "docs" / "guide" / "catalogue.example.yaml"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(catalogue_commands, [str(each) for each in arguments])


@pytest.fixture
def file(scenario: Scenario, tmp_path: Path) -> Path:
    """The price list in force, exported; one tenant is subscribed to the team plan."""
    with control_session() as session:
        make_catalogue(session)
        make_subscription(session, starts_on=date(2026, 3, 10))
    path = tmp_path / "catalogue.yaml"
    exported = run("export", path)
    assert (exported.exit_code, exported.output) == (0, f"6 plans written to {path}\n")
    return path


def dearer(file: Path, fee: int = 210_000) -> None:
    text = file.read_text(encoding="utf-8")
    assert text.count("unit_amount: 190000") == 1
    file.write_text(text.replace("unit_amount: 190000", f"unit_amount: {fee}"), encoding="utf-8")


def versions() -> int:
    with control_session() as session:
        return session.scalar(select(func.count()).select_from(PlanVersion)) or 0


class TestExport:
    def test_to_the_screen_is_what_it_writes_to_a_file(self, file: Path) -> None:
        shown = run("export")
        assert (shown.exit_code, shown.output) == (0, file.read_text(encoding="utf-8"))


class TestPlan:
    def test_ends_with_0_where_nothing_changes(self, file: Path) -> None:
        same = run("plan", file)
        assert (same.exit_code, same.output) == (0, "nothing changes\n")

    def test_ends_with_2_and_says_what_changes_and_whom_it_touches(self, file: Path) -> None:
        dearer(file)
        changed = run("plan", file)
        assert changed.exit_code == 2
        assert changed.output.splitlines() == [
            "~ team KRW: version 2",
            "    ~ charges.base.price.unit_amount: 190000 → 210000",
            "    1 subscriber is on version 1 and stays on it",
        ]
        assert versions() == 6

    def test_ends_with_1_and_names_each_fault_by_its_line(self, file: Path) -> None:
        text = file.read_text(encoding="utf-8")
        file.write_text(
            text.replace("position: 1", "position: one", 1).replace("meter: seats", "meter: x", 1),
            encoding="utf-8",
        )
        for command in ("plan", "apply"):
            refused = run(command, file)
            assert refused.exit_code == 1
            assert f"{file}: line 6, column 15: plans.starter-KRW.position: " in refused.output
            assert "plans.starter-KRW.charges.seats.meter: Nothing reads a meter" in refused.output
            assert "2 faults; nothing was changed." in refused.output
        assert versions() == 6

    def test_of_a_file_that_is_not_there_ends_with_1(self, scenario: Scenario) -> None:
        assert run("plan", "/nowhere/at/all.yaml").exit_code == 1

    def test_says_its_codes_in_its_help(self) -> None:
        words = run("plan", "--help").output
        assert "Ends with 0 when nothing would change, with 2 when something would" in words


class TestApply:
    def test_publishes_once(self, file: Path) -> None:
        dearer(file)
        first = run("apply", file)
        assert first.exit_code == 0, first.output
        assert first.output.endswith("published\n")
        again = run("apply", file)
        assert (again.exit_code, again.output) == (0, "nothing changes\n")
        assert versions() == 7
        assert run("plan", file).exit_code == 0

    def test_by_three_at_once_makes_one_version(self, file: Path, scenario: Scenario) -> None:
        dearer(file)
        with ThreadPoolExecutor(3) as crowd:
            done = list(
                crowd.map(lambda _: scenario.flask("catalogue", "apply", str(file)), range(3))
            )
        assert [each.returncode for each in done] == [0, 0, 0], [each.stderr for each in done]
        assert sorted(each.stdout.endswith("published\n") for each in done) == [False, False, True]
        assert versions() == 7

    def test_publishes_the_example_of_the_guide(self, file: Path) -> None:
        published = run("apply", EXAMPLE)
        assert published.exit_code == 0, published.output
        assert "+ workshop KRW: new, version 1" in published.output
        assert "not in the file, left as they are: starter, studio, team" in published.output
        assert run("plan", EXAMPLE).exit_code == 0
        (terms,) = catalogue_file.read(EXAMPLE.read_text(encoding="utf-8")).plans
        assert len(terms.charges) == 7


class TestMove:
    def test_to_a_higher_price_asks_and_moves_nobody_yet(
        self, file: Path, scenario: Scenario
    ) -> None:
        dearer(file)
        assert run("apply", file).exit_code == 0
        move = ("move", "team", "--from", "1", "--to", "2", "--on", "2099-01-01")
        tried = run(*move, "--dry-run")
        assert "0 would be moved, 1 would be asked, 0 left as they are" in tried.output
        assert "0 moved and told, 1 asked, 0 left as they are" in run(*move).output
        assert "0 moved and told, 0 asked, 0 left as they are" in run(*move).output
        assert _ahead() == (0, 0)

    def test_writes_the_change_ahead_and_the_mails_after_a_dry_run_that_writes_nothing(
        self, file: Path, scenario: Scenario
    ) -> None:
        dearer(file, fee=170_000)
        assert run("apply", file).exit_code == 0
        move = ("move", "team", "--from", "1", "--to", "2", "--on", "2099-01-01")
        tried = run(*move, "--dry-run")
        assert tried.exit_code == 0, tried.output
        assert "1 would be moved, 0 would be asked, 0 left as they are" in tried.output
        assert _ahead() == (0, 0)
        assert "1 moved and told, 0 asked, 0 left as they are" in run(*move).output
        assert _ahead() == (1, 1)
        assert "0 moved and told, 0 asked, 0 left as they are" in run(*move).output
        assert _ahead() == (1, 1)
        with control_session() as session:
            actors = session.scalars(
                select(AuditEvent.actor_kind).where(
                    AuditEvent.action == "subscription.plan_changed"
                )
            ).all()
        assert actors == ["system"]

    def test_refuses_a_day_nearer_than_the_notice(self, file: Path) -> None:
        dearer(file)
        run("apply", file)
        refused = run("move", "team", "--from", "1", "--to", "2", "--on", "2020-01-01")
        assert (refused.exit_code, "days of notice" in refused.output) == (1, True)


def _ahead() -> tuple[int, int]:
    """How many subscriptions have a change ahead, and how many mails say so."""
    with control_session() as session:
        subscriptions = select(func.count()).where(Subscription.next_change_at.is_not(None))
        mails = select(func.count()).where(Message.kind == "price_change")
        return session.scalar(subscriptions) or 0, session.scalar(mails) or 0
