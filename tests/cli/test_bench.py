"""The benches: one JSON object a line, and nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.conftest import Scenario, administrator

# What is held to a limit of the whole beside the bench's own rows.
ROWS_BESIDE = {
    "pages": "pages: a web process that has served them all",
    "provision": "provision: approval to trial, by dispatcher and worker",
}
KEYS = {"name", "ours", "floor", "ratio", "bar", "better", "unit", "n"}


@pytest.fixture(autouse=True)
def one_at_a_time() -> Iterator[None]:
    """What one of them leaves must not be taken for what another one has just made."""
    with administrator() as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('benches'))")
        yield


def bench_objects() -> list[str]:
    with administrator() as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'bench%'"
            " OR shobj_description(oid, 'pg_database') LIKE 'tenantry bench%'"
        ).fetchall()
    return [name for (name,) in rows]


def test_webhooks_are_all_taken_in_as_they_deserve(scenario: Scenario) -> None:
    done = scenario.flask("bench", "webhooks", "--json", "--n", "1")
    assert done.returncode == 0, done.stderr
    (figure,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (figure["floor"], figure["n"]) == (100, 1)
    assert bench_objects() == []


def test_crashes_charge_nobody_twice(scenario: Scenario) -> None:
    done = scenario.flask("bench", "crash", "--json", "--schedules", "2", "--first-seed", "400")
    assert done.returncode == 0, done.stderr
    (figure,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (figure["ours"], figure["n"]) == (0, 2), done.stderr
    assert bench_objects() == []


@pytest.mark.parametrize(
    "name", ["provision", "papers", "pages", "ingest", "rollup", "live-usage", "entitlements"]
)
def test_prints_a_figure_a_line_and_leaves_nothing(scenario: Scenario, name: str) -> None:
    small = ("--n", "1", "--months", "2", "--stored", "2000", "--events", "5000")
    small += ("--calls", "8", "--tenants", "20")
    done = scenario.flask("bench", name, "--json", *small, timeout=600)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert figures
    assert ROWS_BESIDE.get(name, figures[0]["name"]) in {each["name"] for each in figures}
    for figure in figures:
        assert set(figure) == KEYS
        assert figure["ratio"] == pytest.approx(
            figure["ours"] / figure["floor"], rel=0.01, abs=0.001
        )
        assert figure["n"] == 1
    assert bench_objects() == []


def test_of_documents_compares_workers_too(scenario: Scenario) -> None:
    done = scenario.flask("bench", "documents", "--json", "--n", "2", timeout=300)
    assert done.returncode == 0, done.stderr
    figures = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["bar"], each["better"]) for each in figures] == [
        (1.3, "lower"),
        (0.7, "lower"),
        (1.7, "higher"),
    ]
    assert all(set(each) == KEYS and each["n"] == 2 for each in figures)
    assert bench_objects() == []
