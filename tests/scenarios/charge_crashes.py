"""Charges, refunds and webhooks while whoever handles them is killed, and what must hold after.

A schedule is drawn from its seed: debtors whose cards misbehave, rounds of workers that die at a
step of the charge protocol or after some milliseconds, and the gateway's messages, duplicated and
out of order, in between. `wrong` names whatever was charged twice, lost, or left without a number.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from sqlalchemy import func, select

from app.base import clock
from app.base.db import control_session as transaction
from app.base.invariants import offences
from app.base.money import Money
from invoices import credit_notes
from invoices.checks import INVARIANTS
from invoices.models import Invoice, NumberSeries, Payment, Refund
from tests import processes
from tests.factories import NOW, make_staff
from tests.invoices.collecting import charges, owing
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
INVOICES_EACH = (1, 2)
ROUNDS_TO_THE_END = 3
REFUNDED_MINOR = 1_100


def debtors(seed: int) -> list[UUID]:
    """Invoices of tenants whose cards misbehave as the seed says."""
    dice = random.Random(seed)
    chosen = dice.choices(CARDS, k=dice.choice(INVOICES_EACH))
    with transaction() as session:
        return [owing(session, card).id for card in chosen]


def whole() -> dict[str, Any]:
    return {"boundary": None, "passes": 1, "delay_ms": None, "hears": None}


def doomed(dice: random.Random) -> dict[str, Any]:
    """A worker that dies at a boundary, or wherever it is after some milliseconds."""
    hears = dice.randrange(10**6) if dice.random() < 0.5 else None
    if dice.random() < 0.3:
        return whole() | {"delay_ms": dice.uniform(5, 150), "hears": hears}
    boundary = dice.randrange(len(BOUNDARIES))
    return whole() | {"boundary": boundary, "passes": dice.choice((1, 1, 2)), "hears": hears}


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
        self._process = processes.start(
            *("-m", "tests.scenarios.killed_collector", *bug),
            # The gateway's address came after the scenario took its environment down.
            environment=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
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

    def warm_up(self) -> None:
        """What is due now is worked off by the harness itself, from which the workers fork."""
        self.run([])

    def to_the_end(self, set_clock: Callable[[datetime], None], hears: int | None = None) -> None:
        """Nobody is killed until everything due is settled; then comes the ladder's next rung."""
        for moment in (NOW, NOW + timedelta(days=2, hours=1)):
            set_clock(moment)
            self.run([[whole() | {"hears": hears}]] * ROUNDS_TO_THE_END)

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


def credit(invoices: list[UUID]) -> None:
    """A small credit note for each: its money is to go back, once."""
    with transaction() as session:
        staff = make_staff(session, role="finance")
        for invoice_id in invoices:
            credit_notes.issue(
                control_session=session,
                invoice_id=invoice_id,
                amount=Money(REFUNDED_MINOR, "KRW"),
                keep=False,
                reason="killed while it went back",
                staff_id=staff.id,
                now=clock.now(),
            )


def wrong(sandbox: RunningSandbox, invoices: list[UUID], credited: list[UUID]) -> list[str]:
    """This function will name each double charge, lost payment, gap and broken invariant."""
    taken = charged(sandbox, invoices)
    found = [f"invoice {each} was charged {taken[each]} times" for each in invoices
             if taken[each] != 1]  # fmt: skip
    given = {UUID(row["order_id"][:32]): row["refunded_amount"] for row in charges(sandbox)}
    for each in invoices:
        should_be = REFUNDED_MINOR if each in credited else 0
        if given.get(each, 0) != should_be:
            found.append(f"{given.get(each, 0)} of invoice {each} went back, not {should_be}")
    with transaction() as session:
        for invoice_id, state in session.execute(
            select(Invoice.id, Invoice.state).where(Invoice.id.in_(invoices))
        ):
            if state != "paid":
                found.append(f"invoice {invoice_id} is {state}")
        counted: Any = session.execute(
            select(Payment.invoice_id, func.count()).group_by(Payment.invoice_id)
        )
        paid = dict(counted.all())
        found += [f"invoice {each} has {paid.get(each, 0)} payments" for each in invoices
                  if paid.get(each, 0) != 1]  # fmt: skip
        found += [f"a refund is {state}" for state in session.scalars(select(Refund.state))
                  if state != "succeeded"]  # fmt: skip
        numbers = sorted(session.scalars(select(Invoice.number).where(Invoice.number.is_not(None))))
        following = session.scalar(
            select(NumberSeries.next_number).where(NumberSeries.series.like("INV%"))
        )
        if numbers != list(range(1, (following or 1))):
            found.append(f"numbers have gaps below {following}")
        for rule in INVARIANTS:
            for each in offences(control_session=session, invariant=rule, now=clock.now()):
                found.append(str(each))
    return found
