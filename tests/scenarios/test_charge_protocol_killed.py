"""Collectors die by SIGKILL at every step, by seeded schedules: nobody is ever charged twice."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.base.db import control_session as transaction
from invoices import ledger
from invoices.models import Invoice, Payment, VatEvidence
from tests.conftest import Scenario
from tests.factories import NOW
from tests.invoices.collecting import gateway_at
from tests.sandbox.running import RunningSandbox
from tests.scenarios.charge_crashes import (
    charged,
    collectors,
    credit,
    debtors,
    schedule,
    whole,
    wrong,
)
from tests.scenarios.killed_collector import BOUNDARIES

SCHEDULES = 30


@pytest.fixture
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


class TestCollectorsThatAreKilled:
    def test_at_any_step_charge_and_refund_exactly_once(
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
            invoices += debtors(SCHEDULES)
            crew.warm_up()
            for seed in range(SCHEDULES):
                invoices += debtors(seed)
                killed += crew.run(schedule(seed)).count(-signal.SIGKILL)
            crew.to_the_end(set_clock, hears=1)
            self.assert_charged_once(sandbox, invoices)
            credited = invoices[::4]
            credit(credited)
            for seed in range(SCHEDULES // 4):
                crew.run(schedule(seed))
            crew.to_the_end(set_clock, hears=2)

        assert killed >= SCHEDULES
        assert wrong(sandbox, invoices, credited) == []

    def assert_charged_once(self, sandbox: RunningSandbox, invoices: list[UUID]) -> None:
        assert charged(sandbox, invoices) == dict.fromkeys(invoices, 1)
        with transaction() as session:
            states = session.scalars(select(Invoice.state).where(Invoice.id.in_(invoices))).all()
            assert Counter(states) == {"paid": len(invoices)}
            assert session.scalar(select(func.count()).select_from(Payment)) == len(invoices)
            kinds = session.scalars(select(VatEvidence.kind)).all()
            assert Counter(kinds) == {"card_slip": len(invoices)}
            self.assert_books_balance(session)

    def assert_books_balance(self, session: Any) -> None:
        totals = session.scalar(select(func.sum(Invoice.total_minor)))
        balances = {
            line.account: line.debit_minor - line.credit_minor
            for line in ledger.trial_balance(control_session=session)
        }
        assert balances["cash"] == totals
        assert balances["receivable"] == 0
        assert sum(balances.values()) == 0


class TestThisHarness:
    @pytest.mark.parametrize(
        "bug",
        [
            ("new key on retry", "charged, not recorded", "charged 2 times"),
            ("commit before call", "committed, not charged", "charged 0 times"),
            ("no reaper", "committed, not charged", "is issued"),
            ("webhook applied twice", "committed, not charged", r"has [2-9]\d* payments"),
        ],
    )
    def test_catches(
        self,
        scenario: Scenario,
        sandbox: RunningSandbox,
        set_clock: Callable[[datetime], None],
        tmp_path: Path,
        bug: tuple[str, str, str],
    ) -> None:
        planted, dies_at, said = bug
        set_clock(NOW)
        invoices: list[UUID] = []
        with collectors(tmp_path, planted) as crew:
            invoices += debtors(SCHEDULES)
            crew.warm_up()
            for seed in range(4):
                invoices += debtors(seed)
                # One dies where the bug bites, whatever else is drawn.
                crew.run([[whole() | {"boundary": BOUNDARIES.index(dies_at)}], *schedule(seed)])
            crew.to_the_end(set_clock, hears=3)
        assert re.search(said, "\n".join(wrong(sandbox, invoices, [])))
