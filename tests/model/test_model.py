"""The engine bills what a slow and obvious model of it bills, over hundreds of drawn histories.

`python -m tests.model SEED` shows one of them; `flask bench model --seeds N` tries any number.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.model import reference
from tests.model.comparing import differences
from tests.model.drawing import PARTS, draw

FOLDER = Path(__file__).parent
CHUNKS = [range(first, first + 50) for first in range(0, 500, 50)]
DATA = ("histories", "bills")
INDEPENDENT = (*DATA, "drawing", "using", "granting", "reference")


@pytest.mark.parametrize("seeds", CHUNKS, ids=lambda seeds: f"{seeds.start}-{seeds.stop - 1}")
def test_the_engine_bills_what_the_model_bills(seeds: range) -> None:
    found = [str(each) for each in differences(seeds)]
    assert not found, "\n\n".join(found)


class TestTheModel:
    @pytest.mark.parametrize("name", INDEPENDENT)
    def test_shares_no_code_with_the_engine(self, name: str) -> None:
        tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
        imported = {
            node.module.split(".")[:3] == ["tests", "model", node.module.split(".")[-1]]
            and node.module.split(".")[-1] in INDEPENDENT
            if node.module.startswith("tests")
            else node.module.split(".")[0] not in ("app", "invoices", "tenants", "jobs")
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module and node.module != "tests.model"
        }
        assert imported <= {True}
        assert not any(isinstance(node, ast.Import) for node in ast.walk(tree))

    def test_is_one_file_that_can_be_read_at_one_sitting(self) -> None:
        told = (FOLDER / "reference.py").read_text(encoding="utf-8")
        beside = set(re.findall(r"^from tests\.model\.(\w+) import", told, re.MULTILINE))
        assert beside == set(DATA)
        assert "from tests.model import" not in told
        assert len(told.splitlines()) < 700


class TestTheHistories:
    def test_are_the_same_for_the_same_seed(self) -> None:
        one, other = reference.bills(draw(7)), reference.bills(draw(7))
        assert one == other
        assert one

    def test_hold_every_kind_of_line(self) -> None:
        bills = [bill for seed in range(100) for bill in reference.bills(draw(seed))]
        kinds = {line.kind for bill in bills for line in bill.lines}
        settling = {"discount", "prepaid", "carried"}
        assert kinds == {"charge", "credit", "commitment", "adjustment"} | settling

    def test_hold_bills_of_nothing_but_what_came_late(self) -> None:
        bills = [bill for seed in range(100) for bill in reference.bills(draw(seed))]
        alone = [bill for bill in bills if {line.kind for line in bill.lines} == {"adjustment"}]
        assert any(bill.total > 0 for bill in alone)

    @pytest.mark.parametrize("part", PARTS)
    def test_can_be_drawn_without_a_part(self, part: str) -> None:
        assert reference.bills(draw(3, [part])) is not None
