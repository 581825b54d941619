"""The conformance kit itself: an outsider can run it, and it finds what is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from invoices.gateways import registry
from invoices.gateways.conformance import Card, declared
from invoices.gateways.port import Capability
from tests import processes
from tests.conftest import ROOT

OUTSIDER = ROOT / "tests" / "data" / "outsider"
GUIDE = ROOT / "docs" / "guide" / "write-a-gateway.md"
KIT = Path(declared.__file__).parent
MUTANTS = {
    "CallsATimeOutADecline": "test_is_unknown_at_first_and_told_under_the_same_key",
    "RetriesUnderANewKey": "test_whose_key_replays_the_failure or under_the_same_key",
    "BelievesAnySum": "test_with_a_used_key_and_another_amount_stays_unknown",
    "InventsALookUp": "test_that_leaves_a_call_out_refuses_it_by_name",
    "LetsVendorsErrorsOut": "test_that_was_cancelled_says_so",
    "ForgetsThatItRefunded": "test_repeated_under_one_key_gives_back_once",
    "AsksForEachDeclineToBeTriedAgain": "test_that_declines_says_what_it_asks_of_us",
}
# Other plugins that happen to be installed take longer to load than the kit takes to run.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_kit(
    directory: Path, gateway: str, *arguments: str, **extra: str
) -> subprocess.CompletedProcess[str]:
    """This function will run the kit as somebody does who has Tenantry on the path, elsewhere."""
    package = directory / "acme-pay"
    shutil.copytree(OUTSIDER, package)
    path = os.pathsep.join(map(str, (ROOT, package, ROOT / "tests" / "contracts")))
    plain = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return processes.run(
        *("-m", "pytest", "-q", f"--gateway={gateway}", *arguments),
        directory=package,
        environment={**plain, "PYTHONPATH": path, **extra},
        timeout=300,
    )


class TestAnOutsider:
    def test_runs_the_kit_and_reads_what_was_skipped(self, tmp_path: Path) -> None:
        ran = run_kit(tmp_path, "acme_pay.till:open_till")
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "gateway cases skipped, by what is not declared" in ran.stdout
        assert re.search(r"TestGateway: \d+ × not declared: settlements", ran.stdout)
        assert re.search(r"[4-9]\d passed", ran.stdout)

    @pytest.mark.parametrize("name", ["", "acme_pay", "acme_pay.till:nothing", "no.such:till"])
    def test_hears_when_the_till_cannot_be_found(self, tmp_path: Path, name: str) -> None:
        ran = run_kit(tmp_path, name or ":", "-x", **ALONE)
        assert ran.returncode != 0
        assert "--gateway" in ran.stdout + ran.stderr

    def test_adds_the_gateway_by_an_entry_point(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "acme_pay" not in registry.names()
        monkeypatch.syspath_prepend(str(OUTSIDER))
        assert "acme_pay" in registry.names()
        kind = registry.kind("acme_pay")
        assert [each.name for each in kind.credentials] == ["base_url", "api_key"]
        opened = kind.open({"base_url": "http://127.0.0.1:9", "api_key": "k"})
        assert opened.name == "acme_pay"
        opened.close()  # type: ignore[attr-defined]  # not of the port, but of every adapter


class TestTheKit:
    @pytest.mark.parametrize(("mutant", "case"), MUTANTS.items())
    def test_finds_what_is_planted(self, tmp_path: Path, mutant: str, case: str) -> None:
        ran = run_kit(tmp_path, "acme_mutants:open_till", "-k", case, ACME_MUTANT=mutant, **ALONE)
        assert ran.returncode == 1, ran.stdout + ran.stderr
        assert " failed" in ran.stdout

    def test_skips_in_one_place_and_for_one_reason(self) -> None:
        places = [
            path.name
            for path in sorted(KIT.glob("*.py"))
            for _ in re.finditer(r"\bskip(if)?\(|importorskip|xfail", path.read_text())
        ]
        assert places == ["declared.py"]


class TestTheGuide:
    def test_shows_what_the_example_says(self) -> None:
        example = "\n".join(
            path.read_text() for path in [*OUTSIDER.rglob("*.py"), *OUTSIDER.rglob("*.toml")]
        )
        blocks = re.findall(r"```(?:python|toml)\n(.*?)```", GUIDE.read_text(), re.DOTALL)
        assert len(blocks) >= 5
        for block in blocks:
            for piece in re.split(r"^ *# …\n", block, flags=re.MULTILINE):
                assert piece.strip("\n") in example, piece

    def test_names_every_capability_and_every_card(self) -> None:
        text = GUIDE.read_text()
        missing = [word for word in (*Capability, *Card) if f"`{word.name}`" not in text]
        assert missing == []

    def test_names_no_file_that_there_is_not(self) -> None:
        for name in re.findall(r"`((?:invoices|tests|docs|app)/[\w/.-]+)`", GUIDE.read_text()):
            assert (ROOT / name).exists(), name
