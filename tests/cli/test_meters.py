"""`flask meters` as an operator calls it."""

from __future__ import annotations

import random
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.base import clock
from app.base.db import control_session, usage_session
from app.cli.meters import meters_commands
from jobs import rollups as step
from tests.conftest import ROOT, Scenario
from tests.factories import NOW, make_tenant
from tests.tenants.counting import count, generate, meter, store

FILE = """
meters:
  - code: render_units
    aggregation: sum
    event_type: api.call
    filters:
      - {property: size, operator: gte, value: 12.5}
    unit: second
    names: {ko: 렌더링, en: Rendering}
"""


@pytest.fixture
def file(scenario: Scenario, tmp_path: Path) -> Path:
    clock.set_now(NOW)
    path = tmp_path / "meters.yaml"
    path.write_text(FILE, encoding="utf-8")
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(meters_commands, [str(each) for each in arguments])


class TestMeters:
    def test_are_declared_once_and_again_when_they_change(self, file: Path) -> None:
        assert "v1   declared" in run("declare", file).output
        assert "v1   as it was" in run("declare", file).output
        file.write_text(FILE.replace("12.5", "13"), encoding="utf-8")
        assert "v2   declared" in run("declare", file).output
        listed = run("list").output
        assert "render_units" in listed
        assert "seats_active" in listed
        shown = run("show", "render_units").output
        assert '"number": "13"' in shown
        assert shown.count("system") == 2

    def test_in_a_bad_file_are_refused_with_the_field(self, file: Path) -> None:
        file.write_text(FILE.replace("sum", "average"), encoding="utf-8")
        refused = run("declare", file)
        assert refused.exit_code == 1
        assert "meters[0] (render_units).aggregation: Choose one of" in refused.output
        file.write_text("meters: [", encoding="utf-8")
        assert "is not YAML" in run("declare", file).output
        assert "No meter is called other" in run("show", "other").output

    def test_are_tried_on_real_usage_before_and_after_they_are_declared(self, file: Path) -> None:
        with control_session() as session:
            tenant = make_tenant(session, state="active")
        start = NOW - timedelta(days=3)
        events = generate(random.Random(2), tenants=[tenant.id], start=start, end=NOW, n=200)
        with usage_session() as session:
            store(session, events)
        size = {"property": "size", "operator": "gte", "value": 12.5}
        definition = meter("render_units", aggregation="sum", filters=[size])
        wanted, n = count(definition, events, tenant.id, start=start, end=NOW)
        asked = ("render_units", "--tenant", tenant.slug, "--from", "2026-03-06")
        tried = run("try", *asked, "--to", "2026-03-10", "--file", file).output
        assert f"{wanted.normalize():f}  {n} events" in tried
        assert "nothing prices it" in tried
        assert run("try", *asked, "--to", "2026-03-10").exit_code == 1
        run("declare", file)
        while step.STEP.work():
            pass
        assert run("try", *asked, "--to", "2026-03-10").output == tried
        assert run("rebuild").exit_code == 0
        assert run("try", *asked, "--to", "2026-03-10").output == tried

    def test_of_the_guide_can_all_be_declared(self, file: Path) -> None:
        declared = run("declare", ROOT / "docs" / "guide" / "meters.example.yaml")
        assert (declared.exit_code, declared.output.count("v1   declared")) == (0, 5)

    def test_of_days_show_what_is_not_read(self, file: Path) -> None:
        with control_session() as session:
            tenant = make_tenant(session, state="active")
        days = ("--from", "2026-03-06", "--to", "2026-03-07")
        tried = run("try", "seats_named", "--tenant", tenant.id, *days).output
        assert tried.count("not read") == 2
        assert run("read-again", *days).output.startswith("0 days")
