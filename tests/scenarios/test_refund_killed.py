"""Whoever sends money back dies by SIGKILL at every step: it goes back once, and is never lost."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base import clock
from app.base.db import control_session as transaction
from app.base.invariants import offences
from app.base.money import Money
from invoices import credit_notes
from invoices.checks import INVARIANTS
from invoices.models import Invoice, Refund
from tests import processes
from tests.conftest import Scenario
from tests.factories import NOW, make_staff
from tests.invoices.collecting import charges, collect, gateway_at, owing
from tests.sandbox.running import RunningSandbox
from tests.scenarios.killed_refunder import BOUNDARIES

BACK = 9_000


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.fixture
def to_send_back(
    scenario: Scenario, sandbox: RunningSandbox, set_clock: Callable[[datetime], None]
) -> UUID:
    """An invoice that was paid by card, of which a part is to go back."""
    set_clock(NOW)
    with transaction() as session:
        invoice = owing(session)
        assert collect(session, invoice)
        credit_notes.issue(
            control_session=session,
            invoice_id=invoice.id,
            amount=Money(BACK, invoice.currency),
            keep=False,
            reason="wrong seats",
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        return invoice.id


def refunders(boundaries: list[int | None], *bug: str) -> list[int]:
    """One after the other sends what is due; how they ended."""
    done = processes.run(
        *("-m", "tests.scenarios.killed_refunder", json.dumps(boundaries), *bug),
        # The gateway's address came after the scenario took its environment down.
        environment=os.environ,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    endings: list[int] = json.loads(done.stdout)
    assert 1 not in endings, done.stderr
    return endings


def gone(sandbox: RunningSandbox, invoice_id: UUID) -> int:
    """What went back, by the gateway's own book."""
    with transaction() as session:
        invoice = session.get_one(Invoice, invoice_id)
    (charge,) = charges(sandbox, invoice)
    return int(charge["refunded_amount"])


def told(session: Any) -> list[Any]:
    return [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=clock.now())
    ]


@pytest.mark.parametrize("boundary", range(len(BOUNDARIES)), ids=BOUNDARIES)
def test_killed_there_sends_it_back_exactly_once(
    sandbox: RunningSandbox, to_send_back: UUID, boundary: int
) -> None:
    # Whoever takes it up after the first may die at the same place.
    endings = refunders([boundary, boundary, None])
    again = 0 if BOUNDARIES[boundary] == "recorded and committed" else -signal.SIGKILL
    assert endings == [-signal.SIGKILL, again, 0]
    assert gone(sandbox, to_send_back) == BACK
    with transaction() as session:
        assert session.scalars(select(Refund.state)).all() == ["succeeded"]
        assert told(session) == []


def test_this_harness_catches_a_retry_under_a_new_key(
    sandbox: RunningSandbox, to_send_back: UUID
) -> None:
    sent = BOUNDARIES.index("sent, not recorded")
    assert refunders([sent, None], "new key on retry")[0] == -signal.SIGKILL
    assert gone(sandbox, to_send_back) == 2 * BACK
