"""Credit notes, refunds and write-offs: what is taken back, sent back once, or given up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session as committed_session
from app.base.invariants import offences
from app.base.money import Money
from invoices import (
    corrections,
    credit_notes,
    deferrals,
    ledger,
    refund_queue,
    refunds,
    transfers,
    write_offs,
)
from invoices.checks import INVARIANTS
from invoices.documents import shelf
from invoices.documents.papers import InvoicePaper
from invoices.gateways.port import DeclineClass, Declined, Refunded, Unknown
from invoices.models import CreditGrant, CreditNote, Document, Invoice, Payment, Refund
from tests.conftest import Scenario
from tests.factories import NOW, make_invoice, make_staff
from tests.invoices.collecting import collect, gateway_at, owing
from tests.sandbox.running import RunningSandbox

TOTAL = 209_000


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def paid_by_card(session: Session) -> Invoice:
    invoice = owing(session)
    attempt = collect(session, invoice)
    assert attempt is not None
    assert attempt.state == "succeeded"
    return invoice


def paid_by_transfer(session: Session, amount_minor: int = TOTAL) -> Invoice:
    invoice = make_invoice(session)
    transfers.record_transfer(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(amount_minor, "KRW"),
        payer="대한설계",
        paid_on=NOW.date(),
        staff_id=make_staff(session, role="finance").id,
        now=NOW,
    )
    return invoice


def take_back(session: Session, invoice: Invoice, amount_minor: int, **changed: Any) -> CreditNote:
    values: dict[str, Any] = {"keep": False, "reason": "wrong seats", "now": NOW}
    return credit_notes.issue(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(amount_minor, "KRW"),
        staff_id=make_staff(session, role="finance").id,
        **(values | changed),
    )


def refunds_of(session: Session, note: CreditNote) -> list[Refund]:
    session.expire_all()
    return list(
        session.scalars(select(Refund).where(Refund.credit_note_id == note.id).order_by(Refund.id))
    )


def send(session: Session, refund: Refund, result: Any = None) -> Refund:
    """The refund protocol, once, as the job runs it; or with an answer of another gateway."""
    real_now = clock.real_now()
    order = refunds.begin(control_session=session, refund_id=refund.id, now=NOW, real_now=real_now)
    assert order is not None
    answer = result or refunds.perform(order=order, real_now=real_now)
    return refunds.record(control_session=session, refund_id=refund.id, result=answer, now=NOW)


def balance(session: Session, account: str) -> int:
    return sum(
        each.debit_minor - each.credit_minor
        for each in ledger.trial_balance(control_session=session)
        if each.account == account
    )


def assert_in_order(session: Session) -> None:
    session.flush()
    assert not [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=NOW)
    ]


class TestACreditNote:
    def test_over_what_is_owed_lets_it_go(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        note = take_back(control_session, invoice, 9_000)
        assert (note.number_text, note.open_minor, note.refund_minor) == (
            "CRN-2026-000001",
            9_000,
            0,
        )
        assert (invoice.state, invoice.open_minor) == ("issued", TOTAL - 9_000)
        assert_in_order(control_session)

    def test_over_all_of_it_leaves_no_revenue_and_no_tax(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        deferrals.recognise(control_session=control_session, day=NOW.date(), now=NOW)
        take_back(control_session, invoice, TOTAL)
        assert invoice.state == "credited"
        for account in ("receivable", "revenue", "deferred_revenue", "vat_payable"):
            assert balance(control_session, account) == 0, account
        assert_in_order(control_session)

    def test_in_parts_takes_back_the_whole_tax(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        for amount in (1, 3_333, 66_667, TOTAL - 70_001):
            take_back(control_session, invoice, amount)
        assert sum(control_session.scalars(select(CreditNote.tax_minor))) == 19_000
        numbers = control_session.scalars(
            select(CreditNote.number).order_by(CreditNote.number)
        ).all()
        assert numbers == [1, 2, 3, 4]
        assert_in_order(control_session)

    def test_never_exceeds_the_invoice(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        take_back(control_session, invoice, TOTAL - 5)
        with pytest.raises(credit_notes.CreditUnsound):
            take_back(control_session, invoice, 6)

    def test_needs_a_reason(self, control_session: Session) -> None:
        with pytest.raises(credit_notes.CreditUnsound) as refused:
            take_back(control_session, make_invoice(control_session), 5, reason=" ")
        assert refused.value.field == "reason"

    def test_that_keeps_what_was_paid_pays_the_next_invoice(self, control_session: Session) -> None:
        note = take_back(control_session, paid_by_transfer(control_session), 5_000, keep=True)
        (kept,) = control_session.scalars(select(CreditGrant)).all()
        assert (note.kept_minor, kept.amount_minor, kept.source) == (5_000, 5_000, "credit_note")
        assert_in_order(control_session)

    def test_has_a_paper_in_both_languages_and_is_due_for_its_tax_paper(
        self, control_session: Session
    ) -> None:
        invoice = paid_by_transfer(control_session)
        note = take_back(control_session, invoice, 11_000)
        assert note.evidence_at is None
        rows = control_session.scalars(
            select(Document).where(Document.kind == "credit_note").order_by(Document.language)
        ).all()
        assert [row.language for row in rows] == ["en", "ko"]
        paper = shelf.from_json(rows[0].data)
        assert isinstance(paper, InvoicePaper)
        assert (paper.total_minor, paper.corrects_number) == (-11_000, invoice.number_text)

    def test_is_never_changed(self, control_session: Session) -> None:
        note = take_back(control_session, make_invoice(control_session), 5)
        note.evidence_at = NOW
        control_session.flush()
        note.reason = "another"
        with pytest.raises(IntegrityError, match="cannot be changed"):
            control_session.flush()


class TestARefundByCard:
    def test_in_part_goes_back_through_the_gateway(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        note = take_back(control_session, paid_by_card(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        assert send(control_session, refund).state == "succeeded"
        assert balance(control_session, "cash") == TOTAL - 9_000
        assert balance(control_session, "refunds") == 0
        assert_in_order(control_session)

    def test_sent_again_by_the_same_key_goes_back_once(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        note = take_back(control_session, paid_by_card(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        order = refunds.begin(
            control_session=control_session,
            refund_id=refund.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        assert order is not None
        for _ in range(2):
            assert isinstance(refunds.perform(order=order, real_now=clock.real_now()), Refunded)
        payment = sandbox.ask("GET", f"/v1/payments/{order.gateway_payment_id}").json()
        assert payment["refunded_amount"] == 9_000

    def test_of_unknown_outcome_is_looked_up_once_the_key_is_old(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        note = take_back(control_session, paid_by_card(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        assert send(control_session, refund, Unknown("hung up")).state == "unknown"
        order = refunds.begin(
            control_session=control_session,
            refund_id=refund.id,
            now=NOW,
            real_now=clock.real_now(),
        )
        assert order is not None
        late = clock.real_now() + timedelta(days=30)
        never = refunds.perform(order=order, real_now=late)
        assert isinstance(never, Declined)
        assert never.code == "not_refunded"
        refunds.perform(order=order, real_now=clock.real_now())
        assert isinstance(refunds.perform(order=order, real_now=late), Refunded)

    def test_that_is_refused_waits_for_a_person_who_tries_again(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        note = take_back(control_session, paid_by_card(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        refusal = Declined(DeclineClass.PERSON_MUST_LOOK, "too_late", "Too late.")
        assert send(control_session, refund, refusal).state == "by_hand"
        assert refund_queue.waiting(control_session=control_session, limit=5) == [refund]
        again = refund_queue.try_again(
            control_session=control_session, refund_id=refund.id, actor=SYSTEM, now=NOW
        )
        assert again.idempotency_key != refund.idempotency_key
        assert send(control_session, again).state == "succeeded"
        assert_in_order(control_session)

    def test_that_is_kept_instead_becomes_credit(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        note = take_back(control_session, paid_by_card(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        send(control_session, refund, Declined(DeclineClass.PERSON_MUST_LOOK, "no", "No."))
        refund_queue.keep(
            control_session=control_session,
            refund_id=refund.id,
            why="asked on the phone",
            actor=SYSTEM,
            now=NOW,
        )
        assert balance(control_session, "credits") == -9_000
        assert_in_order(control_session)


class TestARefundByHand:
    def test_of_a_transfer_is_sent_by_a_person(self, control_session: Session) -> None:
        note = take_back(control_session, paid_by_transfer(control_session), 9_000)
        (refund,) = refunds_of(control_session, note)
        assert refund.state == "by_hand"
        assert balance(control_session, "refunds") == -9_000
        with pytest.raises(refund_queue.WhyMissing):
            self._sent(control_session, refund, " ")
        self._sent(control_session, refund, "bank statement 12")
        assert (refund.state, refund.sent_from) == ("succeeded", "manual")
        with pytest.raises(refund_queue.NotWaiting):
            self._sent(control_session, refund, "once more")
        assert_in_order(control_session)

    def _sent(self, session: Session, refund: Refund, why: str) -> None:
        refund_queue.declare_sent(
            control_session=session, refund_id=refund.id, why=why, actor=SYSTEM, now=NOW
        )


class TestManyRefunds:
    def test_at_once_never_exceed_what_came(self, scenario: Scenario) -> None:
        with committed_session() as session:
            invoice = paid_by_transfer(session)
            staff_id, invoice_id = make_staff(session, role="finance").id, invoice.id
        told: list[str] = []
        start = threading.Barrier(4)

        def ask() -> None:
            start.wait()
            try:
                with committed_session() as session:
                    credit_notes.issue(
                        control_session=session,
                        invoice_id=invoice_id,
                        amount=Money(TOTAL // 2 + 1, "KRW"),
                        keep=False,
                        reason="twice clicked",
                        staff_id=staff_id,
                        now=NOW,
                    )
                told.append("made")
            except credit_notes.CreditUnsound:
                told.append("refused")

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == ["made", "refused", "refused", "refused"]
        with committed_session() as session:
            assert_in_order(session)

    def test_are_refused_by_the_database_itself(self, control_session: Session) -> None:
        note = take_back(control_session, paid_by_transfer(control_session), TOTAL)
        payment = control_session.scalars(select(Payment)).one()
        with pytest.raises(IntegrityError, match="would exceed it"):
            control_session.execute(
                text(
                    "INSERT INTO refund (id, state, tenant_id, credit_note_id, payment_id, gateway,"
                    " gateway_payment_id, amount_minor, currency, idempotency_key, asked_at,"
                    " attempts) VALUES (:id, 'due', :tenant, :note, :payment, 'manual', 'x', 1,"
                    " 'KRW', 'x', now(), 0)"
                ),
                {
                    "id": ids.uuid7(),
                    "tenant": note.tenant_id,
                    "note": note.id,
                    "payment": payment.id,
                },
            )


class TestAWriteOff:
    def test_gives_up_what_is_open(self, control_session: Session) -> None:
        invoice = paid_by_transfer(control_session, 9_000)
        row = write_offs.write_off(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="bankrupt",
            staff_id=make_staff(control_session, role="finance").id,
            now=NOW,
        )
        assert (invoice.state, row.amount_minor) == ("written_off", TOTAL - 9_000)
        assert balance(control_session, "write_offs") == TOTAL - 9_000
        assert_in_order(control_session)

    def test_of_nothing_is_refused(self, control_session: Session) -> None:
        invoice = paid_by_transfer(control_session)
        with pytest.raises(write_offs.NothingOwed):
            write_offs.write_off(
                control_session=control_session,
                invoice_id=invoice.id,
                reason="bankrupt",
                staff_id=make_staff(control_session).id,
                now=NOW,
            )


class TestAboveTheLimit:
    @pytest.fixture
    def invoice(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Invoice]:
        """Issued before there was a limit, which would have kept it a draft."""
        issued = make_invoice(control_session)
        with monkeypatch.context() as environment:
            environment.setenv("TENANTRY_RUN_RELEASE_LIMIT", "KRW=10000")
            settings.cache_clear()
            yield issued
        settings.cache_clear()

    def test_a_second_person_has_to_agree(self, control_session: Session, invoice: Invoice) -> None:
        asks, agrees = (make_staff(control_session, role="finance").id for _ in range(2))
        asked = corrections.credit(
            control_session=control_session,
            invoice_id=invoice.id,
            amount=Money(10_001, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=asks,
            now=NOW,
        )
        assert invoice.credited_minor == 0
        for staff_id, refused in ((asks, True), (agrees, False)):
            if refused:
                with pytest.raises(corrections.SecondPersonNeeded):
                    self._agree(control_session, asked.id, staff_id)
            else:
                self._agree(control_session, asked.id, staff_id)
        assert invoice.credited_minor == 10_001
        note = control_session.scalars(select(CreditNote)).one()
        assert (note.issued_by, note.approved_by) == (asks, agrees)

    def test_whoever_asked_may_take_it_back(
        self, control_session: Session, invoice: Invoice
    ) -> None:
        asks = make_staff(control_session, role="finance").id
        asked = corrections.write_off(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="bankrupt",
            staff_id=asks,
            now=NOW,
        )
        corrections.decide(
            control_session=control_session,
            request_id=asked.id,
            agreed=False,
            staff_id=asks,
            now=NOW,
        )
        assert invoice.state == "issued"
        with pytest.raises(corrections.NothingAsked):
            self._agree(control_session, asked.id, asks)

    def _agree(self, session: Session, request_id: Any, staff_id: Any) -> None:
        corrections.decide(
            control_session=session,
            request_id=request_id,
            agreed=True,
            staff_id=staff_id,
            now=NOW,
        )
