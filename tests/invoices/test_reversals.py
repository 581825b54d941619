"""Reversals: money that did not stay is undone once, its invoice owed again, the books whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base import clock, ids
from app.base.audit import SYSTEM, Actor, AuditEvent
from app.base.config import settings
from app.base.invariants import offences
from app.base.messages import Message
from app.base.money import Money
from invoices import (
    cash_receipts,
    credit_notes,
    dunning,
    dunning_holds,
    evidence,
    invoicing,
    payment,
    refund_queue,
    reversals,
    settlement,
    write_offs,
)
from invoices.checks import INVARIANTS
from invoices.gateways.port import CashReceiptUse
from invoices.models import (
    BankTransfer,
    CreditGrant,
    Invoice,
    LedgerEntry,
    Payment,
    PaymentAttempt,
    PaymentReversal,
    Refund,
    VatEvidence,
)
from invoices.periods import months_after
from invoices.reversals import MoneyGoingBack, NotReversible, ReasonMissing
from tenants.models import Tenant
from tests.factories import (
    NOW,
    make_card,
    make_invoice,
    make_readings,
    make_staff,
    make_tenant,
)
from tests.invoices.test_settlement import balance, receive
from tests.invoices.test_statement_import import bring, match_all, paid, settle, statement

LATE = NOW + timedelta(days=15)


@pytest.fixture(autouse=True)
def _the_books_hold(control_session: Session) -> Iterator[None]:
    """Whatever a test undid, every invariant stands at its end."""
    yield
    control_session.flush()
    for rule in INVARIANTS:
        if rule.sql:
            assert offences(control_session=control_session, invariant=rule, now=clock.now()) == []


def take_back(session: Session, payment_: Payment, **changed: Any) -> PaymentReversal:
    values: dict[str, Any] = {
        "reason": "it bounced",
        "staff_id": make_staff(session, role="finance").id,
        "now": NOW,
    }
    return reversals.take_back(
        control_session=session, payment_id=payment_.id, **(values | changed)
    )


def settled(session: Session, amount_minor: int | None = None) -> tuple[Invoice, Payment]:
    invoice = make_invoice(session, tenant=make_tenant(session, state="active", converted_at=NOW))
    return invoice, receive(session, invoice, amount_minor or invoice.total_minor)


def next_months(session: Session, first: Invoice, month: int = 1, late_days: int = 0) -> Invoice:
    """The invoice of so many months after the first, once those before it are issued."""
    start, end = (months_after(NOW.date(), each) for each in (month - 1, month))
    make_readings(session, tenant_id=first.tenant_id, start=start, end=end, seats=1)
    issued = invoicing.bill(
        control_session=session,
        subscription_ids=[first.subscription_id],
        now=NOW + (end - NOW.date()) + timedelta(days=late_days),
    ).issued
    return session.get_one(Invoice, issued[0], populate_existing=True)


def mails(session: Session) -> list[Message]:
    return list(session.scalars(select(Message).where(Message.kind == "payment_reversed")))


class TestAPaymentTakenBack:
    def test_leaves_its_invoice_owed_and_collected_again(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        row = take_back(control_session, payment_)
        assert (invoice.state, invoice.open_minor) == ("issued", invoice.total_minor)
        assert (invoice.paid_at, invoice.collect_at) == (None, NOW)
        assert (row.source, row.amount_minor) == ("staff", payment_.amount_minor)
        assert control_session.scalar(
            select(func.count()).where(Invoice.id == invoice.id, payment.due_invoices(NOW))
        )

    def test_takes_the_cash_out_of_the_books_and_points_at_its_cause(
        self, control_session: Session
    ) -> None:
        invoice, payment_ = settled(control_session)
        row = take_back(control_session, payment_)
        assert balance(control_session, "cash") == 0
        assert balance(control_session, "receivable") == invoice.total_minor
        entry = control_session.scalars(
            select(LedgerEntry).where(LedgerEntry.kind == "reversal")
        ).one()
        assert (entry.cause_id, entry.tenant_id) == (row.id, invoice.tenant_id)

    def test_twice_does_nothing_more(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        first, second = (take_back(control_session, payment_) for _ in range(2))
        assert first.id == second.id
        assert invoice.open_minor == invoice.total_minor
        assert len(mails(control_session)) == 1

    def test_is_told_to_the_customer_and_written_down(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        take_back(control_session, payment_)
        (mail,) = mails(control_session)
        assert mail.recipient == invoice.buyer["email"]
        assert str(invoice.number_text) in mail.subject
        told = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "payment.reversed")
        ).one()
        assert (told.subject_id, told.why) == (str(invoice.id), "it bounced")

    def test_is_followed_up_like_any_debt(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        assert not dunning.mark_overdue(control_session=control_session, now=LATE, limit=9)
        take_back(control_session, payment_, now=LATE)
        assert dunning.mark_overdue(control_session=control_session, now=LATE, limit=9) == 1
        assert control_session.get_one(Tenant, invoice.tenant_id).state == "past_due"

    def test_waits_for_the_end_of_a_hold(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        hold = dunning_holds.hold(
            control_session=control_session,
            tenant_id=invoice.tenant_id,
            until=(NOW + timedelta(days=5)).date(),
            why="they sort it out with their bank",
            staff_id=make_staff(control_session, role="finance").id,
            now=NOW,
        )
        take_back(control_session, payment_)
        assert invoice.collect_at == hold.ends_at

    def test_of_a_part_opens_that_part(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        receive(control_session, invoice, 100_000)
        part = receive(control_session, invoice, 9_000)
        take_back(control_session, part)
        assert (invoice.state, invoice.paid_minor) == ("issued", 100_000)

    def test_beside_a_write_off_opens_what_it_had_settled(self, control_session: Session) -> None:
        invoice, part = settled(control_session, 9_000)
        self.give_up(control_session, invoice)
        take_back(control_session, part)
        assert (invoice.state, invoice.open_minor) == ("issued", 9_000)
        again = receive(control_session, invoice, 9_000)
        assert invoice.state == "written_off"
        take_back(control_session, again)
        self.give_up(control_session, invoice)
        assert (invoice.state, invoice.written_off_minor) == ("written_off", invoice.total_minor)

    def give_up(self, session: Session, invoice: Invoice) -> None:
        write_offs.write_off(
            control_session=session,
            invoice_id=invoice.id,
            reason="insolvent",
            staff_id=make_staff(session).id,
            now=NOW,
        )

    def test_may_come_again(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        take_back(control_session, payment_)
        named = payment_.gateway_payment_id
        again = receive(control_session, invoice, 209_000, gateway_payment_id=named)
        assert (invoice.state, again.arrival) == ("paid", 2)
        take_back(control_session, again)
        assert invoice.state == "issued"

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
    def test_needs_a_reason(self, control_session: Session, reason: str) -> None:
        invoice, payment_ = settled(control_session)
        with pytest.raises(ReasonMissing):
            take_back(control_session, payment_, reason=reason)
        assert invoice.state == "paid"


class TestWhatWasTooMuch:
    def test_is_credit_no_more(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session, 250_000)
        take_back(control_session, payment_)
        grant = control_session.scalars(select(CreditGrant)).one()
        assert (grant.left_minor, grant.lapsed_minor) == (0, 41_000)
        assert balance(control_session, "credits") == 0
        assert not settlement.use_credit(control_session=control_session, invoice=invoice, now=NOW)

    def test_takes_what_it_paid_since_with_it(self, control_session: Session) -> None:
        first, first_paid = settled(control_session, 209_000 + 9_000)
        second = next_months(control_session, first)
        assert settlement.use_credit(control_session=control_session, invoice=second, now=NOW)
        assert second.paid_minor == 9_000
        take_back(control_session, first_paid)
        assert (first.open_minor, second.paid_minor) == (209_000, 0)
        sources = control_session.scalars(
            select(PaymentReversal.source).order_by(PaymentReversal.source)
        ).all()
        assert sources == ["credit", "staff"]
        assert balance(control_session, "credits") == balance(control_session, "cash") == 0

    def test_gives_other_credit_back_that_paid_beside_it(self, control_session: Session) -> None:
        first, first_paid = settled(control_session, 209_000 + 9_000)
        receive(control_session, first, 4_000)
        second = next_months(control_session, first)
        settlement.use_credit(control_session=control_session, invoice=second, now=NOW)
        assert second.paid_minor == 13_000
        take_back(control_session, first_paid)
        assert settlement.use_credits(control_session=control_session, now=NOW, limit=9) == 1
        assert first.paid_minor + second.paid_minor == 4_000


class TestAPaymentThatCannotBeTakenBack:
    def test_is_one_by_card(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        card = make_card(control_session, tenant=control_session.get_one(Tenant, invoice.tenant_id))
        attempt = PaymentAttempt(
            state="succeeded",
            tenant_id=invoice.tenant_id,
            invoice_id=invoice.id,
            attempt_number=1,
            method_id=card.id,
            gateway="sandbox",
            idempotency_key="key",
            order_id="order",
            amount_minor=invoice.total_minor,
            currency="KRW",
            key_expires_at=NOW,
            begun_at=NOW,
            gateway_payment_id="pay_1",
        )
        control_session.add(attempt)
        control_session.flush()
        named = {"gateway": "sandbox", "gateway_payment_id": "pay_1", "attempt_id": attempt.id}
        by_card = receive(control_session, invoice, invoice.total_minor, kind="card", **named)
        with pytest.raises(NotReversible):
            take_back(control_session, by_card)
        with pytest.raises(DBAPIError, match="cannot be reversed"), control_session.begin_nested():
            reversals.taken_by_bank(
                control_session=control_session, payment=by_card, reason="told so", now=NOW
            )

    def test_is_a_deposit_that_the_gateway_does_not_say_is_gone(
        self, control_session: Session
    ) -> None:
        invoice = make_invoice(control_session)
        deposit = receive(
            control_session, invoice, 209_000, kind="virtual_account", gateway="sandbox"
        )
        with pytest.raises(NotReversible):
            take_back(control_session, deposit)

    def test_is_one_of_which_money_is_going_back(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        refund = self.refund(control_session, invoice)
        with pytest.raises(MoneyGoingBack):
            take_back(control_session, payment_)
        refund_queue.keep(
            control_session=control_session,
            refund_id=refund.id,
            why="it never came",
            actor=Actor.staff(make_staff(control_session).id),
            now=NOW,
        )
        take_back(control_session, payment_)
        assert invoice.open_minor == invoice.total_minor

    def test_is_not_refunded_afterwards(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        take_back(control_session, payment_)
        receive(control_session, invoice, invoice.total_minor)
        refund = self.refund(control_session, invoice)
        assert refund.payment_id != payment_.id
        with pytest.raises(DBAPIError, match="would exceed"), control_session.begin_nested():
            control_session.execute(
                text(
                    "INSERT INTO refund (id, state, tenant_id, credit_note_id, payment_id, gateway,"
                    " gateway_payment_id, amount_minor, currency, idempotency_key, asked_at,"
                    " attempts) SELECT :id, 'due', tenant_id, credit_note_id, :payment, gateway,"
                    " 'x', 1, currency, 'x', asked_at, 0 FROM refund"
                ),
                {"id": ids.uuid7(), "payment": payment_.id},
            )

    def refund(self, session: Session, invoice: Invoice) -> Refund:
        credit_notes.issue(
            control_session=session,
            invoice_id=invoice.id,
            amount=Money(11_000, "KRW"),
            keep=False,
            reason="wrong seats",
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        return session.scalars(select(Refund)).one()


class TestADepositOfAStatement:
    def test_waits_for_the_invoice_that_it_is_really_for(self, control_session: Session) -> None:
        wrong, right = (make_invoice(control_session) for _ in range(2))
        bring(control_session, statement(paid(wrong)))
        assert match_all(control_session) == [True]
        control_session.expire_all()
        payment_ = control_session.scalars(select(Payment)).one()
        take_back(control_session, payment_)
        deposit = control_session.scalars(select(BankTransfer)).one()
        assert (deposit.state, deposit.invoice_id) == ("open", None)
        again = settle(control_session, right)
        assert (wrong.state, right.state, again.arrival) == ("issued", "paid", 2)

    def test_no_longer_makes_its_payer_known(self, control_session: Session) -> None:
        wrong = make_invoice(control_session)
        bring(control_session, statement(paid(wrong)))
        assert match_all(control_session) == [True]
        control_session.expire_all()
        take_back(control_session, control_session.scalars(select(Payment)).one())
        # The same payer, the same amount, and no number: it may be for anybody.
        bring(control_session, statement(paid(wrong, memo="")))
        assert match_all(control_session) == [False]


class TestTheTaxEvidence:
    def test_that_is_a_tax_invoice_stays(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        chosen = evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        assert chosen is not None
        take_back(control_session, payment_)
        assert control_session.scalars(select(VatEvidence)).one() is chosen
        assert reversals.work_list(control_session=control_session, limit=9) == []

    def test_that_is_not_chosen_yet_follows_what_comes(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        take_back(control_session, payment_)
        assert not evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        again = receive(control_session, invoice, invoice.total_minor)
        ask_for_cash_receipt(control_session, invoice)
        chosen = evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        assert chosen is not None
        assert (chosen.kind, chosen.payment_id) == ("cash_receipt", again.id)

    def test_that_is_a_cash_receipt_is_a_persons_to_cancel(self, control_session: Session) -> None:
        invoice, payment_ = settled(control_session)
        ask_for_cash_receipt(control_session, invoice)
        evidence.choose(control_session=control_session, invoice_id=invoice.id, now=NOW)
        row = take_back(control_session, payment_)
        (undone,) = reversals.work_list(control_session=control_session, limit=9)
        assert (undone.id, undone.receipt_stands) == (row.id, True)
        receive(control_session, invoice, invoice.total_minor)
        assert reversals.work_list(control_session=control_session, limit=9) == []


def ask_for_cash_receipt(session: Session, invoice: Invoice) -> None:
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TENANTRY_CASH_RECEIPT_ISSUER", "popbill")
        settings.cache_clear()
        cash_receipts.want(
            control_session=session,
            invoice_id=invoice.id,
            use=CashReceiptUse.INCOME_DEDUCTION,
            identity="010-1234-5678",
            actor=SYSTEM,
            now=NOW,
        )
    settings.cache_clear()
