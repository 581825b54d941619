"""Whole runs against the sandbox gateway: killed at any line, told of anything in any order."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base import clock
from app.base.config import settings
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import gateway_events, reconciliation
from invoices.checks import INVARIANTS
from invoices.gateways.port import EventKind, Trust
from invoices.gateways.port import GatewayEvent as Heard
from invoices.models import (
    Invoice,
    LedgerEntry,
    Payment,
    ReconciliationDay,
    ReconciliationDifference,
    SettlementLine,
)
from jobs import gateway_events as listening
from jobs import reconciliation as reconciling
from tests.conftest import Scenario
from tests.factories import NOW
from tests.invoices.collecting import collect, gateway_at, owing
from tests.sandbox.running import RunningSandbox

GATEWAY = "sandbox"
DAY = NOW.date()
KINDS = {
    "payment.succeeded": EventKind.PAYMENT_SUCCEEDED,
    "payment.refunded": EventKind.PAYMENT_REFUNDED,
    "payment.disputed": EventKind.PAYMENT_DISPUTED,
    "payout.changed": EventKind.PAYOUT_CHANGED,
}
KILLED = """
import os, signal, sys
from uuid import UUID
from invoices import reconciliation
from jobs.reconciliation import reconcile
take, left = reconciliation.take, [int(sys.argv[2])]
def mortal(**given):
    left[0] -= 1
    new = take(**given)
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return new
reconciliation.take = mortal
reconcile(UUID(sys.argv[1]))
"""


@pytest.fixture
def sandbox(
    scenario: Scenario, set_clock: Callable[[datetime], None], tmp_path_factory: Any
) -> Iterator[RunningSandbox]:
    set_clock(NOW)
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def gateway() -> dict[str, str]:
    """Where the gateway is, for processes of their own: it came after the scenario did."""
    return {
        "TENANTRY_SANDBOX_GATEWAY_URL": settings().sandbox_gateway_url,
        "TENANTRY_SANDBOX_GATEWAY_SECRET": settings().sandbox_gateway_secret.get_secret_value(),
    }


def charge() -> tuple[UUID, str]:
    """A paid invoice and the gateway's name of its payment."""
    with transaction() as session:
        invoice = owing(session)
        collect(session, invoice)
        payment = session.scalars(select(Payment).where(Payment.invoice_id == invoice.id)).one()
        return payment.id, payment.gateway_payment_id


def give_back(sandbox: RunningSandbox, gateway_payment_id: str, amount: int) -> None:
    """Somebody refunds at the gateway's own console."""
    answer = sandbox.ask(
        "POST",
        f"/v1/payments/{gateway_payment_id}/refunds",
        json={"amount": amount, "reason": "by hand"},
        headers={"Idempotency-Key": f"{gateway_payment_id}-{amount}"},
    )
    assert answer.status_code == 200, answer.text


def dispute(sandbox: RunningSandbox, gateway_payment_id: str) -> None:
    path = f"/v1/payments/{gateway_payment_id}/disputes"
    assert sandbox.ask("POST", path).status_code == 202


def events_of(sandbox: RunningSandbox, gateway_payment_id: str) -> list[Heard]:
    told = sandbox.ask("GET", "/v1/events").json()["events"]
    return [
        Heard(
            event_id=row["id"],
            kind=KINDS[row["type"]],
            trust=Trust.SIGNED,
            occurred_at=NOW,
            gateway_payment_id=row["data"]["payment_id"],
            order_id=row["data"]["order_id"],
        )
        for row in told
        if row["data"].get("payment_id") == gateway_payment_id
    ]


def hear(event: Heard) -> None:
    with transaction() as session:
        gateway_events.store(control_session=session, gateway=GATEWAY, event=event, now=clock.now())


def apply_all() -> None:
    while listening.work():
        continue


def ask(day: Any = DAY) -> UUID:
    with transaction() as session:
        return reconciliation.ask(
            control_session=session, gateway=GATEWAY, day=day, now=clock.now()
        )


def books() -> tuple[int, ...]:
    with transaction() as session:
        return tuple(
            session.scalar(select(func.count()).select_from(model)) or 0
            for model in (SettlementLine, ReconciliationDifference, LedgerEntry)
        )


def differences_of(session: Session, payment_id: UUID) -> list[tuple[str, int]]:
    found = session.execute(
        select(ReconciliationDifference.kind, func.sum(ReconciliationDifference.amount_minor))
        .where(ReconciliationDifference.payment_id == payment_id)
        .group_by(ReconciliationDifference.kind)
        .order_by(ReconciliationDifference.kind)
    )
    return [(kind, int(amount)) for kind, amount in found]


def assert_all_invariants_stand() -> None:
    with transaction() as session:
        for rule in INVARIANTS:
            assert offences(control_session=session, invariant=rule, now=clock.now()) == []


class TestEventsInAnyOrderAndNumber:
    def test_end_in_the_same_state(self, sandbox: RunningSandbox) -> None:
        ends = set()
        for seed in range(12):
            dice = random.Random(seed)
            payment_id, named = charge()
            give_back(sandbox, named, 3_000)
            if dice.random() < 0.5:
                # Told of the first one before the second happens: the sums still end alike.
                hear(events_of(sandbox, named)[-1])
                apply_all()
            give_back(sandbox, named, 4_000)
            dispute(sandbox, named)
            events = events_of(sandbox, named)
            told = events + dice.choices(events, k=4)
            dice.shuffle(told)
            for event in told:
                hear(event)
                if dice.random() < 0.5:
                    apply_all()
            apply_all()
            with transaction() as session:
                payment = session.get_one(Payment, payment_id)
                invoice = session.get_one(Invoice, payment.invoice_id)
                ends.add((invoice.state, str(differences_of(session, payment_id))))
        assert ends == {("paid", "[('disputed', 0), ('refunded_there', -7000)]")}
        while reconciling.work():
            continue
        with transaction() as session:
            lines = session.scalars(select(SettlementLine)).all()
            assert len(lines) == 12 * 4
            assert all(each.payment_id or each.difference_id for each in lines)
        assert_all_invariants_stand()

    def test_of_a_payout_have_that_day_reconciled(self, sandbox: RunningSandbox) -> None:
        hear(
            Heard(
                event_id="evt_payout",
                kind=EventKind.PAYOUT_CHANGED,
                trust=Trust.SIGNED,
                occurred_at=NOW,
            )
        )
        apply_all()
        with transaction() as session:
            row = session.scalars(select(ReconciliationDay)).one()
            assert (row.gateway, row.day, row.done_at) == (GATEWAY, DAY, None)

    def test_from_anybody_have_nothing_read(self, sandbox: RunningSandbox) -> None:
        hear(
            Heard(
                event_id="evt_anybody",
                kind=EventKind.PAYOUT_CHANGED,
                trust=Trust.UNSIGNED,
                occurred_at=NOW,
            )
        )
        apply_all()
        with transaction() as session:
            assert session.scalars(select(ReconciliationDay)).all() == []


class TestARun:
    def test_killed_at_any_line_and_run_twice_ends_like_one(
        self, scenario: Scenario, sandbox: RunningSandbox, set_clock: Callable[[datetime], None]
    ) -> None:
        named = [charge()[1] for _ in range(3)]
        give_back(sandbox, named[0], 5_000)
        dispute(sandbox, named[1])
        set_clock(NOW + timedelta(days=1))
        day = ask(DAY + timedelta(days=1))
        for line in (1, 2, 4):
            killed = scenario.run_python(KILLED, str(day), str(line), **gateway())
            _out, said = killed.communicate(timeout=60)
            assert killed.returncode == -signal.SIGKILL, said
        assert reconciling.reconcile(day) >= 1
        once = books()
        # Three payments, a refund, a dispute, and what was paid out of them on the day after.
        assert once[0] == 6
        assert reconciling.reconcile(ask(DAY + timedelta(days=1))) == 0
        assert books() == once
        assert_all_invariants_stand()


class TestTheCommand:
    def test_reconciles_here_and_now(self, scenario: Scenario, sandbox: RunningSandbox) -> None:
        _payment, named = charge()
        told = self.reconcile(scenario, expected=0)
        assert (told["account"], told["new_lines"], told["differences"]) == (GATEWAY, 1, [])
        give_back(sandbox, named, 5_000)
        (found,) = self.reconcile(scenario, expected=1)["differences"]
        assert (found["kind"], found["amount_minor"]) == ("refunded_there", -5_000)

    def test_says_when_the_gateway_does_not_answer(
        self, scenario: Scenario, sandbox: RunningSandbox
    ) -> None:
        sandbox.kill()
        assert "no answer" in self.reconcile(scenario, expected=2)["error"]

    def reconcile(self, scenario: Scenario, *, expected: int) -> dict[str, Any]:
        ended = scenario.flask("reconcile", "--date", DAY.isoformat(), "--json", **gateway())
        assert ended.returncode == expected, ended.stdout + ended.stderr
        told: dict[str, Any] = json.loads(ended.stdout)
        return told
