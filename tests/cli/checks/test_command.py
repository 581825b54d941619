"""`flask check`: what it lists, takes and says of honest books."""

from __future__ import annotations

from click.testing import CliRunner

from app.cli.check import all_invariants, check_command
from tests.cli.checks.books import Books, check


class TestHonestBooks:
    def test_break_nothing(self, books: Books) -> None:
        assert check() == (0, {})

    def test_list_names_every_invariant(self) -> None:
        listed = CliRunner().invoke(check_command, ["--list"]).stdout
        codes = {line.split()[0] for line in listed.splitlines()}
        assert codes == {
            "I1",
            "I2",
            "I3",
            "I4",
            "I5",
            "I7",
            "I8",
            "I9",
            "I10",
            "I11",
            "I12",
            "I13",
            "I14",
            "I15",
            "M1",
        }
        assert len(listed.splitlines()) == len(all_invariants())

    def test_an_unknown_code_is_refused(self) -> None:
        assert CliRunner().invoke(check_command, ["--only", "I99"]).exit_code == 1
