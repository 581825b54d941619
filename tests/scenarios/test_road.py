"""The road in a whole system: how soon an approval is a trial, and what Valkey's loss costs."""

from __future__ import annotations

import pytest

from tests.scenarios import walk
from tests.scenarios.whole_system import WholeSystem


class TestAnApproval:
    def test_becomes_a_trial_by_itself(
        self, system: WholeSystem, capsys: pytest.CaptureFixture[str]
    ) -> None:
        walker = walk.company(system, email="buyer@soon-on-trial.example")
        application_id = walk.sign_up(system, walker)
        walk.approve(system.staff("sales"), application_id)
        took = walk.await_trial(system, walk.tenant_of(system, application_id))
        with capsys.disabled():
            print(f"\nfrom the answer to an approval to a trial: {took:.2f} s")  # noqa: T201
