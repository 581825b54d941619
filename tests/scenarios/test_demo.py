"""bin/demo as somebody runs it: the whole road, its papers and report, and what it leaves."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import phonenumbers
import psutil
import pytest
from click.testing import CliRunner

from app.cli.demo import PROSPECTS, cast, demo_command
from tenants.trial_form import FormInvalid, TrialForm, check
from tests.conftest import ROOT
from tests.patience import eventually

# Far more than it takes on two cores, so that a busy machine does not fail it.
PATIENCE_SECONDS = 900
STEPS = {
    *("visit", "signup", "confirmation", "review", "provisioning", "welcome", "members"),
    *("drawings", "cards", "conversion", "metering", "invoicing", "payment", "receipt"),
    *("lifecycle", "check"),
}


@dataclass(frozen=True)
class Played:
    """A demonstration that is over: how it ended, and where its scratch folder and results are."""

    code: int
    said: str
    scratch: Path
    results: Path

    @property
    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.results / "report.json").read_text())
        return found

    @property
    def logs(self) -> dict[str, str]:
        """What every process said, by the name of its log."""
        return {
            path.name: path.read_text(errors="replace") for path in (self.results / "log").iterdir()
        }


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    """A demonstration started as bin/demo starts it; it takes its minute."""
    scratch, results = tmp_path / "scratch", tmp_path / "results"
    scratch.mkdir()
    few_of_each(tmp_path / "prospects.csv")
    # The scratch folder's place also marks every process of it.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "app.embedded", "flask", "demo", "--results", str(results)),
            *("--prospects", str(tmp_path / "prospects.csv")),
        ],
        env={**os.environ, "TMPDIR": str(scratch)},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    yield Played(done.returncode, done.stdout, scratch, results)
    for process in processes_of(scratch):
        process.kill()


def few_of_each(path: Path) -> None:
    """Two companies of each story: the whole road, in half the time of the whole table."""
    with PROSPECTS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    told: Counter[str] = Counter()
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        # From the end: the foreign companies stand there.
        for row in reversed(rows):
            told[row["story"]] += 1
            if told[row["story"]] <= 2:
                table.writerow(row)


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process that was started with this folder in its command line or environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            words = [*process.cmdline(), *process.environ().values(), process.cwd()]
            if any(str(folder) in word for word in words):
                found.append(process)
    return found


def test_a_demonstration_ends_well_writes_its_papers_names_nobody_and_leaves_nothing(
    played: Played,
) -> None:
    # One test, so that the road is walked once however many workers share the tests.
    assert played.code == 0, played.said[-4000:]
    assert_reported(played)
    assert_papers_written(played)
    assert_logs_name_nobody(played)
    # The keeper of the servers removes their files last; on a busy machine that takes a moment.
    eventually(
        lambda: not processes_of(played.scratch), "the last process ends by itself", within=20
    )
    assert list(played.scratch.iterdir()) == []


def assert_reported(played: Played) -> None:
    report = played.report
    assert report["problems"] == []
    assert report["check_exit_code"] == 0
    assert "every invariant holds" in played.said
    steps = {entry["step"]: entry for entry in report["steps"]}
    assert steps.keys() >= STEPS
    for name in STEPS:
        assert steps[name]["count"] > 0 or name == "check"
        assert steps[name]["seconds"] >= 0
        assert name in played.said
    assert report["seconds"] > 0


def assert_papers_written(played: Played) -> None:
    papers = list(played.results.glob("*.pdf"))
    receipts = next(step for step in played.report["steps"] if step["step"] == "receipt")
    assert len(papers) >= receipts["count"]
    assert all(paper.read_bytes().startswith(b"%PDF-") for paper in papers)
    assert {paper.name.split("-")[0] for paper in papers} >= {"INV", "RCT", "TAX"}


def assert_logs_name_nobody(played: Played) -> None:
    logs = played.logs
    # They do tell of the work, so their silence about people means something.
    assert logs["web.log"].count('"event": "request"') > 200
    assert "step.worked" in logs["worker.log"]
    assert "ready to accept connections" in logs["postgres.log"]
    spellings = list(personal())
    assert len(spellings) > 100
    found = [(name, word) for name, text in logs.items() for word in spellings if word in text]
    assert found == []


def personal() -> Iterator[str]:
    """Every address, phone number and person of the table, in each spelling it may take."""
    with PROSPECTS.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield row["contact_name"]
            yield row["email"]
            # Colleagues are invited under the same domain.
            yield "@" + re.split("@|[(]at[)]", row["email"])[1]
            number = phonenumbers.parse(row["phone"], row["country"])
            yield phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            yield from (row["phone"], re.sub(r"\D", "", row["phone"]))


def test_the_table_holds_twenty_companies_foreign_ones_and_two_whom_the_form_refuses() -> None:
    table = cast.read(PROSPECTS)
    assert len({prospect.company for prospect in table}) == len(table) >= 20
    assert {prospect.country for prospect in table} >= {"KR", "GB", "DE", "US", "JP"}
    refused = {}
    for prospect in table:
        try:
            check(TrialForm(**prospect.form, language=prospect.language))
        except FormInvalid as error:
            refused[prospect.story] = list(error.errors)
    assert refused == {
        "bad_registration_number": ["registration_number"],
        "bad_email": ["email"],
    }


def test_results_of_somebody_else_are_never_thrown_away(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    done = CliRunner().invoke(demo_command, ["--results", str(tmp_path)])
    assert done.exit_code == 1
    assert "something else" in done.output
    assert (tmp_path / "thesis.txt").exists()
