"""Workers die by SIGKILL while they have tax papers issued: none twice, and none is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base import clock, ids
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import cash_receipts, evidence
from invoices.checks import INVARIANTS
from invoices.gateways.port import CashReceiptUse
from invoices.models import CashReceipt, TaxInvoice
from tests import processes
from tests.conftest import Scenario
from tests.factories import NOW
from tests.fakes.popbill.running import RunningPopbill, running
from tests.invoices.test_evidence import transfer, waiting
from tests.scenarios.killed_issuer import BOUNDARIES, LOOK_BOUNDARIES

ASKED_NOT_RECORDED = BOUNDARIES.index("asked, not recorded")
# What is left after a death is done by the first worker that lives: one more finds nothing to do.
WORKERS_TO_THE_END = 2
LATER = timedelta(hours=2)

pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture(autouse=True)
def popbill(scenario: Scenario) -> Iterator[RunningPopbill]:
    with running() as found:
        yield found


class Issuers:
    """The harness's process: it forks workers and tells how they ended."""

    def __init__(self, log: IO[str], *bug: str) -> None:
        self._log = log
        self._process = processes.start(
            *("-m", "tests.scenarios.killed_issuer", *bug),
            # Popbill's address came after the scenario took its environment down.
            environment=os.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )

    def work(self, step: str, *, dies_at: int | None = None) -> None:
        """Does the step once; the worker that is to die does die, and no other."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"step": step, "boundary": dies_at}
        print(json.dumps(told), file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        assert answer, self._said()
        assert int(answer) == (0 if dies_at is None else -signal.SIGKILL), self._said()

    def to_the_end(self, step: str) -> None:
        for _ in range(WORKERS_TO_THE_END):
            self.work(step)

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        assert self._process.wait(timeout=30) == 0, self._said()


@contextmanager
def issuers(directory: Path, *bug: str) -> Iterator[Issuers]:
    with (directory / "issuers.log").open("w+") as log:
        crew = Issuers(log, *bug)
        try:
            yield crew
        finally:
            crew.close()


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Issuers]:
    with issuers(tmp_path) as found:
        yield found


def tax_invoices_due(count: int) -> list[UUID]:
    """Tax invoices of supplies that were paid by transfer, drawn up and not issued."""
    with transaction() as session:
        for _ in range(count):
            invoice = waiting(session)
            transfer(session, invoice)
            chosen = evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
            assert chosen is not None
        return list(session.scalars(select(TaxInvoice.id).where(TaxInvoice.state == "due")))


def cash_receipt_due() -> UUID:
    """A cash receipt of a supply that was paid by transfer, not issued yet."""
    with transaction() as session:
        invoice = waiting(session)
        row = cash_receipts.want(
            control_session=session,
            invoice_id=invoice.id,
            use=CashReceiptUse.EXPENSE_PROOF,
            identity="1208147521",
            actor=SYSTEM,
            now=NOW,
        )
        transfer(session, invoice)
        evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
        return row.id


def cancelling_due(row_id: UUID) -> UUID:
    """The cancelling of a part of a cash receipt, not done yet."""
    with transaction() as session:
        cause = ids.uuid7()
        assert cash_receipts.cancel(
            control_session=session,
            invoice_id=session.get_one(CashReceipt, row_id).invoice_id,
            cause_id=cause,
            supply_minor=10_000,
            tax_minor=1_000,
            reason="refund",
            now=NOW,
        )
        return session.scalars(select(CashReceipt.id).where(CashReceipt.cause_id == cause)).one()


def tax_invoices_of(rows: list[UUID]) -> list[TaxInvoice]:
    with transaction() as session:
        found = session.scalars(select(TaxInvoice).where(TaxInvoice.id.in_(rows))).all()
    assert len(found) == len(rows)
    return list(found)


def assert_checks_hold() -> None:
    with transaction() as session:
        for invariant in INVARIANTS:
            assert offences(control_session=session, invariant=invariant, now=clock.now()) == []


class TestIssuersThatAreKilled:
    @pytest.mark.parametrize("together", [1, 3], ids=["alone", "in a batch"])
    @pytest.mark.parametrize("boundary", range(len(BOUNDARIES)), ids=BOUNDARIES)
    def test_issue_every_tax_invoice_exactly_once(
        self,
        popbill: RunningPopbill,
        crew: Issuers,
        set_clock: Callable[[datetime], None],
        together: int,
        boundary: int,
    ) -> None:
        set_clock(NOW)
        rows = tax_invoices_due(together)
        crew.work("tax_papers", dies_at=boundary)
        crew.to_the_end("tax_papers")
        found = tax_invoices_of(rows)
        assert {row.state for row in found} == {"issued"}
        known = {key: kept["ntsconfirmNum"] for key, kept in popbill.desk.invoices.items()}
        assert known == {row.management_key: row.issue_id for row in found}
        assert_checks_hold()

    @pytest.mark.parametrize("ending", ["accepted", "cancelled"])
    @pytest.mark.parametrize("boundary", range(len(LOOK_BOUNDARIES)), ids=LOOK_BOUNDARIES)
    def test_follow_what_became_of_it(
        self,
        popbill: RunningPopbill,
        crew: Issuers,
        set_clock: Callable[[datetime], None],
        boundary: int,
        ending: str,
    ) -> None:
        set_clock(NOW)
        rows = tax_invoices_due(1)
        crew.to_the_end("tax_papers")
        if ending == "accepted":
            popbill.desk.transmit(tax_invoices_of(rows)[0].management_key)
        else:
            with transaction() as session:
                session.get_one(TaxInvoice, rows[0]).cancel_reason = "issued by mistake"
        set_clock(NOW + LATER)
        crew.work("tax_papers", dies_at=len(BOUNDARIES) + boundary)
        crew.to_the_end("tax_papers")
        assert [row.state for row in tax_invoices_of(rows)] == [ending]
        assert len(popbill.desk.invoices) == 1

    @pytest.mark.parametrize("boundary", range(len(BOUNDARIES)), ids=BOUNDARIES)
    def test_issue_and_cancel_every_cash_receipt_exactly_once(
        self,
        popbill: RunningPopbill,
        crew: Issuers,
        set_clock: Callable[[datetime], None],
        boundary: int,
    ) -> None:
        set_clock(NOW)
        rows = [cash_receipt_due()]
        crew.work("cash_receipts", dies_at=boundary)
        crew.to_the_end("cash_receipts")
        rows.append(cancelling_due(rows[0]))
        crew.work("cash_receipts", dies_at=boundary)
        crew.to_the_end("cash_receipts")
        with transaction() as session:
            found = [session.get_one(CashReceipt, row_id) for row_id in rows]
        assert [row.state for row in found] == ["issued", "issued"]
        known = {key: kept["confirmNum"] for key, kept in popbill.desk.cashbills.items()}
        assert known == {row.key: row.number for row in found}
        assert popbill.desk.cashbills[found[0].key]["cancelled"] == 11_000
        assert_checks_hold()


class TestThisHarness:
    def test_catches_an_issue_under_a_new_key(
        self, popbill: RunningPopbill, tmp_path: Path, set_clock: Callable[[datetime], None]
    ) -> None:
        set_clock(NOW)
        tax_invoices_due(1)
        cash_receipt_due()
        with issuers(tmp_path, "new key on retry") as crew:
            for step in ("tax_papers", "cash_receipts"):
                crew.work(step, dies_at=ASKED_NOT_RECORDED)
                crew.to_the_end(step)
        assert len(popbill.desk.invoices) == 2
        assert len(popbill.desk.cashbills) == 2
