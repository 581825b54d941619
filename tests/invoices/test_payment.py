"""Charging a card: the protocol against a real gateway that misbehaves in every known way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.base import clock
from app.base.audit import SYSTEM, AuditEvent
from app.base.config import settings
from app.base.errors import NotFound
from app.base.messages import Message
from app.base.money import Money
from invoices import ledger, payment, payment_methods, payment_queue
from invoices.gateways.port import Succeeded, Unknown
from invoices.models import Document, Invoice, Payment, PaymentAttempt
from tenants.models import Tenant
from tests.factories import NOW, make_tenant
from tests.invoices.collecting import (
    attempts_of,
    charges,
    clear_up,
    collect,
    gateway_at,
    owing,
    register_card,
)
from tests.sandbox.running import RunningSandbox


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def begun(session: Session, invoice: Invoice) -> payment.Order | None:
    return payment.begin(
        control_session=session, invoice_id=invoice.id, now=NOW, real_now=clock.real_now()
    )


def spend_the_key(session: Session, attempt: PaymentAttempt) -> None:
    """Lets the gateway's memory of the key run out, by the real clock."""
    attempt.key_expires_at = clock.real_now()
    session.flush()


def wear_out(session: Session, attempt: PaymentAttempt) -> None:
    """Leaves the reaper one more try."""
    session.execute(
        update(PaymentAttempt)
        .where(PaymentAttempt.id == attempt.id)
        .values(attempts=settings().work_attempts_max - 1)
    )
    session.expire_all()


def cash(session: Session) -> int:
    return sum(
        line.debit_minor
        for line in ledger.trial_balance(control_session=session)
        if line.account == "cash"
    )


class TestAChargeThatSucceeds:
    def test_pays_the_invoice_books_it_receipts_it_and_says_so(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        attempt = collect(control_session, invoice)
        assert attempt is not None
        assert (attempt.state, invoice.state, invoice.collect_at) == ("succeeded", "paid", None)
        (charge,) = charges(sandbox, invoice)
        assert charge["amount"] == invoice.total_minor
        paid = control_session.scalars(select(Payment)).one()
        assert (paid.gateway_payment_id, paid.attempt_id) == (charge["id"], attempt.id)
        assert cash(control_session) == invoice.total_minor
        receipts = control_session.scalars(
            select(Document.language).where(Document.subject_id == paid.id)
        ).all()
        assert sorted(receipts) == ["en", "ko"]
        mail = control_session.scalars(
            select(Message).where(Message.kind == "payment_received")
        ).one()
        assert str(Money(invoice.total_minor, "KRW")) in mail.subject
        moves = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.subject_id == str(attempt.id))
        ).all()
        assert moves == ["payment_attempt.open", "payment_attempt.succeeded"]

    def test_is_recorded_once_however_often_its_outcome_is_told(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        order = begun(control_session, invoice)
        assert order is not None
        result = payment.perform(order=order)
        for _ in range(2):
            payment.record(
                control_session=control_session,
                attempt_id=order.attempt_id,
                result=result,
                now=NOW,
            )
        assert control_session.scalar(select(func.count()).select_from(Payment)) == 1
        assert len(charges(sandbox, invoice)) == 1

    def test_of_another_sum_waits_for_a_person(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        order = begun(control_session, invoice)
        assert order is not None
        result = payment.perform(order=order)
        assert isinstance(result, Succeeded)
        less = Succeeded(
            gateway_payment_id=result.gateway_payment_id,
            order_id=result.order_id,
            amount=Money(result.amount.amount_minor - 1, "KRW"),
            refunded=result.refunded,
            approved_at=result.approved_at,
            masked=result.masked,
        )
        attempt = payment.record(
            control_session=control_session, attempt_id=order.attempt_id, result=less, now=NOW
        )
        assert attempt.state == "needs_person"
        assert invoice.state == "issued"
        assert payment_queue.waiting(control_session=control_session, limit=9) == [attempt]


class TestASecondChargeBesideTheFirst:
    def test_is_not_begun(self, control_session: Session, sandbox: RunningSandbox) -> None:
        invoice = owing(control_session)
        assert begun(control_session, invoice) is not None
        invoice.collect_at = NOW
        assert begun(control_session, invoice) is None

    def test_is_not_even_due(self, control_session: Session, sandbox: RunningSandbox) -> None:
        invoice = owing(control_session)
        begun(control_session, invoice)
        payment_methods.collect_now(
            control_session=control_session, tenant_id=invoice.tenant_id, now=NOW
        )
        due = select(func.count()).where(payment.due_invoices(NOW))
        assert control_session.scalar(due) == 0

    def test_is_not_begun_for_a_tenant_whose_data_is_being_erased(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        control_session.execute(
            update(Tenant)
            .where(Tenant.id == invoice.tenant_id)
            .values(state="destroying", suspended_at=None)
        )
        assert collect(control_session, invoice) is None
        assert charges(sandbox, invoice) == []


class TestAnUnknownOutcome:
    @pytest.mark.parametrize(
        "card", ["pays_then_hangs", "pays_then_drops", "pays_then_fails", "busy_once"]
    )
    def test_is_found_out_with_the_same_key(
        self, control_session: Session, sandbox: RunningSandbox, card: str
    ) -> None:
        invoice = owing(control_session, card)
        attempt = collect(control_session, invoice)
        assert attempt is not None
        assert attempt.state == "unknown"
        assert clear_up(control_session, attempt).state == "succeeded"
        assert invoice.state == "paid"
        assert len(charges(sandbox, invoice)) == 1

    def test_is_looked_up_where_the_same_key_only_replays_an_error(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "pays_and_keeps_failing")
        attempt = collect(control_session, invoice)
        assert attempt is not None
        assert clear_up(control_session, attempt).state == "succeeded"
        assert len(charges(sandbox, invoice)) == 1

    def test_after_the_key_has_expired_is_only_looked_up(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        paid = owing(control_session, "pays_then_drops")
        attempt = collect(control_session, paid)
        assert attempt is not None
        spend_the_key(control_session, attempt)
        assert clear_up(control_session, attempt).state == "succeeded"
        never_sent = owing(control_session)
        begun(control_session, never_sent)
        (attempt,) = attempts_of(control_session, never_sent)
        spend_the_key(control_session, attempt)
        settled = clear_up(control_session, attempt)
        assert (settled.state, settled.decline_code) == ("declined", "absent")
        assert charges(sandbox, never_sent) == []

    def test_that_proves_never_sent_is_collected_anew_and_nobody_is_told_of_a_refusal(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        begun(control_session, invoice)
        (attempt,) = attempts_of(control_session, invoice)
        spend_the_key(control_session, attempt)
        clear_up(control_session, attempt)
        again = collect(control_session, invoice)
        assert again is not None
        assert (again.attempt_number, again.state) == (2, "succeeded")
        assert again.idempotency_key != attempt.idempotency_key
        declined = select(Message).where(Message.kind == "payment_declined")
        assert control_session.scalars(declined).all() == []

    def test_while_the_gateway_is_down_loses_nothing(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        sandbox.kill()
        try:
            attempt = collect(control_session, invoice)
            assert attempt is not None
            assert clear_up(control_session, attempt).state == "unknown"
            wear_out(control_session, attempt)
            assert clear_up(control_session, attempt).state == "unknown"
            assert attempt.attempts < settings().work_attempts_max - 1
            spend_the_key(control_session, attempt)
            wear_out(control_session, attempt)
            assert clear_up(control_session, attempt).state == "needs_person"
        finally:
            sandbox.start()
        assert charges(sandbox, invoice) == []

    def test_is_a_persons_once_the_reaper_gave_up(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        begun(control_session, invoice)
        control_session.execute(
            update(PaymentAttempt).values(
                attempts=settings().work_attempts_max,
                lease_until=func.clock_timestamp() - timedelta(seconds=1),
            )
        )
        control_session.expire_all()
        assert payment_queue.hand_over(control_session=control_session, now=NOW, limit=9) == 1
        (attempt,) = attempts_of(control_session, invoice)
        assert attempt.state == "needs_person"
        assert payment_queue.hand_over(control_session=control_session, now=NOW, limit=9) == 0

    def test_uses_the_key_for_less_than_a_day(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        order = begun(control_session, owing(control_session))
        assert order is not None
        assert order.key_expires_at - clock.real_now() < timedelta(hours=21)


class TestThePersonsQueue:
    def waiting(self, session: Session, invoice: Invoice) -> PaymentAttempt:
        order = begun(session, invoice)
        assert order is not None
        (attempt,) = attempts_of(session, invoice)
        for _ in range(2):
            wear_out(session, attempt)
            spend_the_key(session, attempt)
            payment.record(
                control_session=session, attempt_id=attempt.id, result=Unknown("lost"), now=NOW
            )
        assert attempt.state == "needs_person"
        return attempt

    def test_lets_finance_say_that_no_money_moved_and_collects_anew(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session)
        attempt = self.waiting(control_session, invoice)
        assert collect(control_session, invoice) is None
        payment_queue.declare_never_charged(
            control_session=control_session,
            attempt_id=attempt.id,
            why="not in the gateway's back office",
            actor=SYSTEM,
            now=NOW,
        )
        again = collect(control_session, invoice)
        assert again is not None
        assert again.state == "succeeded"
        assert len(charges(sandbox, invoice)) == 1

    def test_refuses_an_attempt_that_nobody_has_to_look_at(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        attempt = collect(control_session, owing(control_session))
        assert attempt is not None
        with pytest.raises(payment_queue.NothingToSettle):
            payment_queue.declare_never_charged(
                control_session=control_session,
                attempt_id=attempt.id,
                why="",
                actor=SYSTEM,
                now=NOW,
            )

    def test_knows_no_attempt_that_never_was(self, control_session: Session) -> None:
        stranger = make_tenant(control_session)
        with pytest.raises(NotFound):
            payment.record(
                control_session=control_session,
                attempt_id=stranger.id,
                result=Unknown(""),
                now=NOW,
            )

    def test_tries_a_suspected_card_again_only_when_finance_says_so(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "suspected")
        collect(control_session, invoice)
        assert invoice.collect_at is None
        listed = payment_queue.declined(control_session=control_session, limit=9)
        assert [row.id for row, _ in listed] == [invoice.id]
        payment_queue.try_again(
            control_session=control_session, invoice_id=invoice.id, actor=SYSTEM, now=NOW
        )
        assert collect(control_session, invoice) is not None
        assert len(attempts_of(control_session, invoice)) == 2


class TestACardRegistration:
    def test_has_every_open_invoice_charged_at_once(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, card=None)
        assert collect(control_session, invoice) is None
        assert invoice.collect_at is None
        tenant = control_session.get_one(Tenant, invoice.tenant_id)
        later = NOW + timedelta(days=3)
        register_card(control_session, tenant, now=later)
        control_session.expire_all()
        attempt = collect(control_session, invoice, later)
        assert attempt is not None
        assert attempt.state == "succeeded"

    def test_while_the_old_card_is_being_refused_still_charges_the_new_one(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        invoice = owing(control_session, "stolen")
        order = begun(control_session, invoice)
        assert order is not None
        tenant = control_session.get_one(Tenant, invoice.tenant_id)
        register_card(control_session, tenant)
        payment.record(
            control_session=control_session,
            attempt_id=order.attempt_id,
            result=payment.perform(order=order),
            now=NOW,
        )
        control_session.expire_all()
        attempt = collect(control_session, invoice)
        assert attempt is not None
        assert attempt.state == "succeeded"

    def test_that_comes_back_twice_stores_one_card(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        tenant = make_tenant(control_session)
        card = register_card(control_session, tenant)
        registration = payment_methods.begin_registration(
            control_session=control_session, tenant_id=tenant.id, now=NOW
        )
        assert registration.customer_key == card.customer_key
        stored = payment_methods.methods(control_session=control_session, tenant_id=tenant.id)
        assert stored == [card]
        assert "4242" in card.masked
        assert card.token_sealed.count("tok") == 0

    def test_of_another_tenant_is_not_found(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        mine, theirs = make_tenant(control_session), make_tenant(control_session)
        registration = payment_methods.begin_registration(
            control_session=control_session, tenant_id=theirs.id, now=NOW
        )
        with pytest.raises(payment_methods.NoSuchRegistration):
            payment_methods.begun(
                control_session=control_session,
                tenant_id=mine.id,
                registration_id=registration.id,
            )
        card = register_card(control_session, theirs)
        with pytest.raises(payment_methods.NoSuchMethod):
            payment_methods.revoke(
                control_session=control_session,
                tenant_id=mine.id,
                method_id=card.id,
                actor=SYSTEM,
                now=NOW,
            )

    def test_revoked_makes_the_one_before_it_the_default(
        self, control_session: Session, sandbox: RunningSandbox
    ) -> None:
        tenant = make_tenant(control_session)
        first, second = (register_card(control_session, tenant) for _ in range(2))
        gone = payment_methods.revoke(
            control_session=control_session,
            tenant_id=tenant.id,
            method_id=second.id,
            actor=SYSTEM,
            now=NOW,
        )
        payment_methods.forget_at_gateway(method=gone)
        control_session.expire_all()
        default = payment_methods.default_method(
            control_session=control_session, tenant_id=tenant.id
        )
        assert default is not None
        assert default.id == first.id
