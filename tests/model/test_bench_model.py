"""`flask bench model`: any number of seeds, or a sentence that says why not."""

from __future__ import annotations

import json

import click
import pytest

from app.cli import bench_model
from tests.conftest import Scenario


def test_tells_how_many_histories_were_tried_and_how_many_differ(scenario: Scenario) -> None:
    done = scenario.flask("bench", "model", "--seeds", "60", "--jobs", "2", "--json")
    assert done.returncode == 0, done.stderr
    figure = json.loads(done.stdout)
    assert (figure["n"], figure["ours"], figure["bar"]) == (60, 0, 0)


def test_says_what_is_missing_where_the_tests_are_not_at_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bench_model, "_COMPARING", "tests.shipped_without.comparing")
    with pytest.raises(click.ClickException, match="run this in a checkout"):
        list(bench_model.differences(first=0, seeds=1, jobs=1))
