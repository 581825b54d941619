"""Collectors die by SIGKILL at every step, by seeded schedules: nobody is ever charged twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import ledger
from invoices.checks import INVARIANTS
from invoices.models import Invoice, Payment, VatEvidence
from tests.conftest import ROOT, Scenario
from tests.factories import NOW
from tests.invoices.collecting import charges, gateway_at, owing
from tests.sandbox.running import RunningSandbox
from tests.scenarios.killed_collector import BOUNDARIES

CARDS = (
    "pays",
    "pays_then_drops",
    "pays_then_fails",
    "pays_and_keeps_failing",
    "busy_once",
    "declines_once",
)
SCHEDULES = 30
INVOICES_EACH = (1, 2)
ROUNDS_TO_THE_END = 3


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def debtors(seed: int) -> list[UUID]:
    """Invoices of tenants whose cards misbehave as the seed says."""
    dice = random.Random(seed)
    chosen = dice.choices(CARDS, k=dice.choice(INVOICES_EACH))
    with transaction() as session:
        return [owing(session, card).id for card in chosen]


def whole() -> dict[str, Any]:
    return {"boundary": None, "passes": 1, "delay_ms": None}


def doomed(dice: random.Random) -> dict[str, Any]:
    """A worker that dies at a boundary, or wherever it is after some milliseconds."""
    if dice.random() < 0.3:
        return whole() | {"delay_ms": dice.uniform(5, 150)}
    return whole() | {"boundary": dice.randrange(len(BOUNDARIES)), "passes": dice.choice((1, 1, 2))}


def schedule(seed: int) -> list[list[dict[str, Any]]]:
    """A few rounds of workers that die, now and then two side by side."""
    dice = random.Random(seed)
    return [
        [doomed(dice) for _ in range(dice.choice((1, 1, 1, 2)))] for _ in range(dice.choice((2, 3)))
    ]


class Collectors:
    """The harness's process: it forks workers and tells how they ended."""

    def __init__(self, log: IO[str], *bug: str) -> None:
        self._log = log
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.scenarios.killed_collector", *bug],
            # The gateway's address came after the scenario took its environment down.
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )

    def run(self, rounds: list[list[dict[str, Any]]]) -> list[int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(rounds), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self.said()
        endings: list[int] = json.loads(answer)
        assert 1 not in endings, self.said()
        return endings

    def to_the_end(self, set_clock: Callable[[datetime], None]) -> None:
        """Nobody is killed until everything due is settled; then comes the ladder's next rung."""
        for moment in (NOW, NOW + timedelta(days=2, hours=1)):
            set_clock(moment)
            self.run([[whole()]] * ROUNDS_TO_THE_END)

    def said(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        assert self._process.wait(timeout=30) == 0, self.said()


@contextmanager
def collectors(directory: Path, *bug: str) -> Iterator[Collectors]:
    with (directory / "collectors.log").open("w+") as log:
        crew = Collectors(log, *bug)
        try:
            yield crew
        finally:
            crew.close()


def charged(sandbox: RunningSandbox, invoices: list[UUID]) -> Counter[UUID]:
    """How often the gateway took the money for each invoice."""
    ours = set(invoices)
    owners = (UUID(charge["order_id"][:32]) for charge in charges(sandbox))
    return Counter(owner for owner in owners if owner in ours)


class TestCollectorsThatAreKilled:
    def test_at_any_step_charge_every_invoice_exactly_once(
        self,
        scenario: Scenario,
        sandbox: RunningSandbox,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
    ) -> None:
        set_clock(NOW)
        invoices: list[UUID] = []
        killed = 0
        with collectors(tmp_path) as crew:
            for seed in range(SCHEDULES):
                invoices += debtors(seed)
                killed += crew.run(schedule(seed)).count(-signal.SIGKILL)
            crew.to_the_end(set_clock)

        assert killed >= SCHEDULES
        assert charged(sandbox, invoices) == dict.fromkeys(invoices, 1)
        with transaction() as session:
            states = session.scalars(select(Invoice.state).where(Invoice.id.in_(invoices))).all()
            assert Counter(states) == {"paid": len(invoices)}
            assert session.scalar(select(func.count()).select_from(Payment)) == len(invoices)
            kinds = session.scalars(select(VatEvidence.kind)).all()
            assert Counter(kinds) == {"card_slip": len(invoices)}
            self.assert_books_balance(session, invoices)

    def assert_books_balance(self, session: Any, invoices: list[UUID]) -> None:
        totals = session.scalar(select(func.sum(Invoice.total_minor)))
        balances = {
            line.account: line.debit_minor - line.credit_minor
            for line in ledger.trial_balance(control_session=session)
        }
        assert balances["cash"] == totals
        assert balances["receivable"] == 0
        assert sum(balances.values()) == 0
        for invariant in INVARIANTS:
            assert offences(control_session=session, invariant=invariant, now=clock.now()) == []


class TestThisHarness:
    def test_catches_a_retry_under_a_new_key(
        self,
        scenario: Scenario,
        sandbox: RunningSandbox,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
    ) -> None:
        set_clock(NOW)
        invoices: list[UUID] = []
        with collectors(tmp_path, "new key on retry") as crew:
            for seed in range(4):
                invoices += debtors(seed)
                crew.run(schedule(seed))
            crew.to_the_end(set_clock)
        assert max(charged(sandbox, invoices).values()) > 1
