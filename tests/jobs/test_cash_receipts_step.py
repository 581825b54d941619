"""The step of cash receipts with a merchant account that issues them, over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.base import clock, ids, leases
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from invoices import cash_receipt_issuing, cash_receipt_queue, cash_receipts, gateway_accounts
from invoices.cash_receipt_queue import BeingAsked, NotAskedFor, NumberMissing, WhyMissing
from invoices.gateways import registry
from invoices.gateways.port import CashReceiptUse
from invoices.models import CashReceipt
from jobs import cash_receipts as step
from jobs import evidence
from tests.factories import NOW
from tests.fakes.toss.box import now
from tests.fakes.toss.till import RunningToss
from tests.invoices.test_evidence import transfer, waiting

ACCOUNT = "toss-receipts"
LATER = NOW + timedelta(hours=2)
BUSINESS = "1208147521"


@pytest.fixture(scope="module")
def toss(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningToss]:
    running = RunningToss(directory=tmp_path_factory.mktemp("toss"))
    yield running
    running.end()


@pytest.fixture
def merchant() -> str:
    """One of each test's own: numbers of invoices begin anew with every test."""
    return ids.uuid7().hex


@pytest.fixture(autouse=True)
def account(
    scenario: Any,
    merchant: str,
    toss: RunningToss,
    set_clock: Callable[[datetime], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    """A merchant account at the simulator, and settings that have it issue cash receipts."""
    set_clock(NOW)
    monkeypatch.setenv("TENANTRY_CASH_RECEIPT_ISSUER", ACCOUNT)
    settings.cache_clear()
    registry.forget()
    with control_session() as session:
        gateway_accounts.add(
            control_session=session,
            account=gateway_accounts.NewAccount(
                code=ACCOUNT,
                gateway="toss",
                title_ko="카드",
                title_en="Card",
                credentials={
                    "base_url": toss.url,
                    "script_url": f"{toss.url}/v2/standard",
                    "client_key": f"test_ck_{merchant}",
                    "secret_key": f"test_sk_{merchant}",
                },
            ),
            actor=SYSTEM,
            now=NOW,
        )
    yield
    monkeypatch.delenv("TENANTRY_CASH_RECEIPT_ISSUER")
    settings.cache_clear()
    registry.forget()


def chosen() -> UUID:
    """A cash receipt of a supply that was paid by transfer, due to be issued."""
    with control_session() as session:
        invoice = waiting(session)
        row = cash_receipts.want(
            control_session=session,
            invoice_id=invoice.id,
            use=CashReceiptUse.EXPENSE_PROOF,
            identity=BUSINESS,
            actor=SYSTEM,
            now=NOW,
        )
        transfer(session, invoice)
    assert evidence.STEP.work() == 1
    return row.id


def taken_back(row_id: UUID, supply: int, tax: int) -> UUID:
    """The cancelling of so much of a cash receipt, due to be done."""
    with control_session() as session:
        cause = ids.uuid7()
        assert cash_receipts.cancel(
            control_session=session,
            invoice_id=session.get_one(CashReceipt, row_id).invoice_id,
            cause_id=cause,
            supply_minor=supply,
            tax_minor=tax,
            reason="refund",
            now=LATER,
        )
        return session.scalars(select(CashReceipt.id).where(CashReceipt.cause_id == cause)).one()


def kept(row_id: UUID) -> CashReceipt:
    with control_session() as session:
        return session.get_one(CashReceipt, row_id)


def listed(toss: RunningToss, merchant: str) -> list[dict[str, Any]]:
    """The merchant's papers as the simulator shows them, issued and cancelled."""
    answer = toss.ask(
        "GET",
        "/v1/cash-receipts",
        auth=(f"test_sk_{merchant}", ""),
        params={"requestDate": now().date().isoformat(), "limit": 10_000},
    )
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


def papers(toss: RunningToss, merchant: str) -> list[tuple[str, int]]:
    """The merchant's papers at the simulator, with their amounts."""
    return [(paper["transactionType"], paper["amount"]) for paper in listed(toss, merchant)]


def pause_is_over() -> None:
    with control_session() as session:
        session.execute(update(CashReceipt).values(lease_until=None, retry_at=None))


class TestIssued:
    def test_and_confirmed_by_the_account(
        self, toss: RunningToss, merchant: str, set_clock: Callable[[datetime], None]
    ) -> None:
        row_id = chosen()
        step.STEP.work()
        row = kept(row_id)
        assert (row.state, row.issuer) == ("issued", ACCOUNT)
        assert row.number
        assert papers(toss, merchant) == [("CONFIRM", row.total_minor)]
        set_clock(LATER)
        step.STEP.work()
        assert kept(row_id).state == "issued"
        toss.steer("receipts")
        set_clock(LATER + timedelta(hours=2))
        step.STEP.work()
        assert (kept(row_id).state, kept(row_id).look_at) == ("confirmed", None)

    @pytest.mark.parametrize("fault", ["drop", "fail", "busy"])
    def test_once_whatever_the_connection_does(
        self, toss: RunningToss, merchant: str, fault: str
    ) -> None:
        row_id = chosen()
        toss.steer("next", about="receipt", fault=fault)
        step.STEP.work()
        row = kept(row_id)
        assert (row.state, row.number) == ("due", None)
        assert "IssuerSilent" in str(row.last_error)
        assert step.STEP.work() == 0  # it is left alone for a while
        pause_is_over()
        step.STEP.work()
        row = kept(row_id)
        assert row.state == "issued"
        assert papers(toss, merchant) == [("CONFIRM", row.total_minor)]

    def test_not_where_the_account_refuses(self, toss: RunningToss, merchant: str) -> None:
        row_id = chosen()
        toss.steer("next", about="receipt", code="INVALID_REQUEST")
        step.STEP.work()
        assert (kept(row_id).state, kept(row_id).error_code) == ("failed", "INVALID_REQUEST")
        assert papers(toss, merchant) == []


class TestAfterTheKeysTime:
    """The gateway has forgotten the key: a second request would be a second receipt."""

    def test_is_never_asked_for_again_by_a_job_or_a_person(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = self.unanswered(toss)
        step.STEP.work()
        row = kept(row_id)
        assert (row.state, row.number) == ("due", None)
        assert "forgotten our key" in str(row.last_error)
        with control_session() as session:
            cash_receipt_queue.try_again(
                control_session=session, row_id=row_id, actor=SYSTEM, now=NOW
            )
        step.STEP.work()
        assert papers(toss, merchant) == [("CONFIRM", row.total_minor)]

    def test_counts_as_issued_by_the_number_that_a_person_found(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = self.unanswered(toss)
        self.declare(row_id, number=" 1234 5678 9 ")
        row = kept(row_id)
        assert (row.state, row.number) == ("confirmed", "123456789")
        assert step.STEP.work() == 0
        assert papers(toss, merchant) == [("CONFIRM", row.total_minor)]

    def test_named_by_its_key_there_is_cancelled_by_itself_later(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = self.unanswered(toss)
        toss.steer("receipts")
        (paper,) = listed(toss, merchant)
        self.declare(row_id, number=paper["issueNumber"], reference=f" {paper['receiptKey']} ")
        row = kept(row_id)
        assert (row.state, row.issuer_reference) == ("confirmed", paper["receiptKey"])
        cancel_id = taken_back(row_id, row.supply_minor, row.tax_minor)
        step.STEP.work()
        assert kept(cancel_id).state in {"issued", "confirmed"}
        assert papers(toss, merchant)[-1] == ("CANCEL", row.total_minor)

    def test_named_by_its_number_alone_is_cancelled_by_a_person(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = self.unanswered(toss)
        self.declare(row_id, number="123456789")
        row = kept(row_id)
        cancel_id = taken_back(row_id, row.supply_minor, row.tax_minor)
        step.STEP.work()
        waits = kept(cancel_id)
        assert (waits.state, waits.error_code) == ("due", None)
        assert "cancel it there" in str(waits.last_error)
        assert papers(toss, merchant) == [("CONFIRM", row.total_minor)]
        with control_session() as session:
            by_hand = cash_receipt_queue.cancelled_by_hand(
                control_session=session, invoice_id=row.invoice_id
            )
        assert by_hand == [cancel_id]
        with pytest.raises(NumberMissing):
            self.declare(cancel_id)
        self.declare(cancel_id, number="987654321")
        assert (kept(cancel_id).state, kept(row_id).state) == ("confirmed", "cancelled")

    def test_is_no_persons_to_tell_while_a_worker_asks(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = self.unanswered(toss)
        with control_session() as session:
            # A worker claims it, and asks.
            assert leases.claim(
                control_session=session,
                model=CashReceipt,
                due=cash_receipt_issuing.due(NOW),
                limit=1,
            ) == [row_id]
        with pytest.raises(BeingAsked):
            self.declare(row_id, number="123456789")
        row = kept(row_id)
        assert (row.state, row.number) == ("due", None)
        assert row.lease_until is not None  # the worker goes on
        pause_is_over()
        self.declare(row_id, number="123456789")
        assert kept(row_id).state == "confirmed"

    def test_is_asked_for_anew_once_a_person_says_that_it_is_not_there(
        self, toss: RunningToss, merchant: str
    ) -> None:
        row_id = chosen()
        with control_session() as session:
            # And here its maker dies, before it asked.
            cash_receipt_issuing.begin(
                control_session=session, row_id=row_id, now=NOW, real_now=clock.real_now()
            )
        self.age(toss)
        step.STEP.work()
        assert papers(toss, merchant) == []
        with pytest.raises(WhyMissing):
            self.declare(row_id, why=" ")
        self.declare(row_id)
        step.STEP.work()
        assert kept(row_id).state == "issued"
        assert papers(toss, merchant) == [("CONFIRM", kept(row_id).total_minor)]
        with pytest.raises(NotAskedFor):
            self.declare(row_id)

    def test_a_whole_cancelling_is_looked_up_and_not_repeated(
        self, toss: RunningToss, merchant: str, set_clock: Callable[[datetime], None]
    ) -> None:
        row_id = chosen()
        step.STEP.work()
        toss.steer("receipts")
        set_clock(LATER)
        step.STEP.work()
        row = kept(row_id)
        cancel_id = taken_back(row_id, row.supply_minor, row.tax_minor)
        toss.steer("next", about="receipt", fault="drop")
        step.STEP.work()
        self.age(toss)
        step.STEP.work()
        assert kept(cancel_id).state == "confirmed"
        assert kept(row_id).state == "cancelled"
        assert papers(toss, merchant) == [
            ("CONFIRM", row.total_minor),
            ("CANCEL", row.total_minor),
        ]

    def unanswered(self, toss: RunningToss) -> UUID:
        row_id = chosen()
        toss.steer("next", about="receipt", fault="drop")
        step.STEP.work()
        self.age(toss)
        return row_id

    def age(self, toss: RunningToss) -> None:
        toss.steer("forget-keys")
        with control_session() as session:
            session.execute(
                update(CashReceipt).values(
                    asked_at=CashReceipt.asked_at - timedelta(days=15),
                    lease_until=None,
                    retry_at=None,
                )
            )

    def declare(
        self, row_id: UUID, number: str = "", why: str = "its back office", reference: str = ""
    ) -> None:
        with control_session() as session:
            cash_receipt_queue.declare(
                control_session=session,
                row_id=row_id,
                number=number,
                reference=reference,
                why=why,
                actor=SYSTEM,
                now=LATER,
            )


class TestCancelled:
    @pytest.mark.parametrize("fault", [None, "drop", "fail"])
    def test_in_part_and_then_whole_and_once(
        self,
        toss: RunningToss,
        merchant: str,
        set_clock: Callable[[datetime], None],
        fault: str | None,
    ) -> None:
        row_id = chosen()
        step.STEP.work()
        toss.steer("receipts")
        set_clock(LATER)
        step.STEP.work()
        row = kept(row_id)
        wanted = [("CONFIRM", row.total_minor)]
        for supply, tax in ((10_000, 1_000), (row.supply_minor - 10_000, row.tax_minor - 1_000)):
            cancel_id = taken_back(row_id, supply, tax)
            if fault is not None:
                toss.steer("next", about="receipt", fault=fault)
                step.STEP.work()
                assert kept(cancel_id).state == "due"
                pause_is_over()
            step.STEP.work()
            toss.steer("receipts")
            set_clock(LATER + timedelta(hours=len(wanted) * 3))
            step.STEP.work()
            assert kept(cancel_id).state == "confirmed"
            wanted.append(("CANCEL", supply + tax))
        assert papers(toss, merchant) == wanted
        assert kept(row_id).state == "cancelled"
