"""The road in a whole system: how soon an approval is a trial, and what Valkey's loss costs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis

from app.cli.demo.cast import dxf
from tests.patience import eventually
from tests.scenarios import walk
from tests.scenarios.whole_system import WholeSystem

WIPED_EVERY_SECONDS = 0.15


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
        walk.move_in(system, walker)


@contextmanager
def wiping(system: WholeSystem) -> Iterator[list[int]]:
    """Valkey forgets everything several times a second; yields how many keys each time took."""
    over = threading.Event()
    forgotten: list[int] = []

    def wipe() -> None:
        with redis.Redis.from_url(system.valkey.url()) as valkey:
            while not over.wait(WIPED_EVERY_SECONDS):
                forgotten.append(valkey.dbsize())
                valkey.flushall()

    thread = threading.Thread(target=wipe, daemon=True)
    thread.start()
    try:
        yield forgotten
    finally:
        over.set()
        thread.join(10)


class TestValkeyWipedAllAlongTheRoad:
    def test_stops_nobody_between_the_form_and_the_paper(self, system: WholeSystem) -> None:
        with wiping(system) as forgotten:
            walker = walk.company(system, email="buyer@forgetful.example", name="주식회사 건망증")
            tenant_id = walk.tenant_on_trial(system, walker, system.staff("sales"))
            walk.upload(walker, "plan.dxf", dxf(lines=3))
            walk.register_card(walker)
            walk.convert(walker, method="card")
            states = "SELECT state FROM invoice WHERE tenant_id = %s"
            eventually(lambda: system.ask(states, tenant_id) == [("paid",)], "the bill is paid")
            papers = walk.papers(system, walker)
            system.settle()
        assert sum(forgotten) > 0
        assert len(papers) > 1
        assert all(paper.startswith(b"%PDF-") for paper in papers)
        charges = system.gateway.ask("GET", "/v1/payments", params={"status": "succeeded"}).json()
        bill = system.ask("SELECT id FROM invoice WHERE tenant_id = %s", tenant_id)[0][0]
        ours = [row for row in charges["payments"] if row["order_id"].startswith(bill.hex)]
        assert len(ours) == 1
        assert not system.ask("SELECT 1 FROM message WHERE state <> 'sent'")
        assert system.check() == []
