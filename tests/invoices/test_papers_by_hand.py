"""Papers that a person issues elsewhere: which and over how much, noted once they are issued."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.money import Money
from invoices import credit_notes, evidence, papers_by_hand, reversals, settlement
from invoices.models import Invoice, PaperByHand, Payment, PaymentAttempt, PaymentMethod
from invoices.papers_by_hand import NotByHand, NoteUnsound, Part
from tenants.models import Tenant
from tests.factories import NOW, make_card, make_invoice, make_staff
from tests.invoices.test_evidence import transfer
from tests.invoices.test_settlement import receive
from tests.invoices.test_vat_treatments import billed_in_two_ways

LATER = NOW + timedelta(days=3)


def by_card(session: Session, invoice: Invoice, amount_minor: int, name: str = "pay_1") -> Payment:
    mine = select(PaymentMethod).where(PaymentMethod.tenant_id == invoice.tenant_id)
    card = session.scalar(mine) or make_card(
        session, tenant=session.get_one(Tenant, invoice.tenant_id)
    )
    attempt = PaymentAttempt(
        state="succeeded",
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        attempt_number=1,
        method_id=card.id,
        gateway="sandbox",
        idempotency_key=f"key-{invoice.id}",
        order_id=f"order-{invoice.id}",
        amount_minor=amount_minor,
        currency="KRW",
        key_expires_at=NOW,
        begun_at=NOW,
        gateway_payment_id=name,
    )
    session.add(attempt)
    session.flush()
    named = {"gateway": "sandbox", "gateway_payment_id": name, "attempt_id": attempt.id}
    return receive(session, invoice, amount_minor, kind="card", **named)


def in_part_by_card(session: Session) -> Invoice:
    """209,000 won: 100,000 by card, the rest by transfer."""
    invoice = make_invoice(session)
    by_card(session, invoice, 100_000)
    receive(session, invoice, invoice.open_minor)
    assert chosen(session, invoice) == "by_hand"
    return invoice


def chosen(session: Session, invoice: Invoice) -> str | None:
    made = evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
    return made.kind if made else None


def parts(session: Session, invoice: Invoice) -> list[Part]:
    return papers_by_hand.parts(control_session=session, invoice=invoice)


def waiting(session: Session) -> list[UUID]:
    return list(session.scalars(papers_by_hand.to_be_made()))


def noted(session: Session, invoice: Invoice, **changed: Any) -> PaperByHand:
    values: dict[str, Any] = {
        "number": "20260310-41000000-00000001",
        "issued_on": NOW.date(),
        "words": "Hometax",
        "staff_id": make_staff(session, role="finance").id,
        "now": NOW,
        "today": NOW.date(),
    }
    return papers_by_hand.note(control_session=session, invoice_id=invoice.id, **(values | changed))


class TestWhatIsToBeIssued:
    def test_is_a_paper_for_each_way_in_which_it_is_treated(self, control_session: Session) -> None:
        invoice = billed_in_two_ways(control_session)
        assert parts(control_session, invoice) == [
            Part("taxable", 190_000, 19_000),
            Part("exempt", 190_000, 0),
        ]

    def test_leaves_out_what_a_card_slip_proves(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        assert parts(control_session, invoice) == [Part("taxable", 99_091, 9_909)]

    def test_takes_a_card_s_share_off_every_paper(self, control_session: Session) -> None:
        invoice = billed_in_two_ways(control_session)
        by_card(control_session, invoice, 99_000)
        taxable, exempt = parts(control_session, invoice)
        assert taxable.total_minor + exempt.total_minor == invoice.total_minor - 99_000
        assert taxable.tax_minor * 10 == pytest.approx(taxable.supply_minor, abs=10)
        assert (taxable.total_minor, exempt.tax_minor) == (157_143, 0)

    def test_is_nothing_once_cards_paid_all_of_it(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        by_card(control_session, invoice, invoice.total_minor)
        assert parts(control_session, invoice) == []

    def test_is_less_by_what_was_credited(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        credited(control_session, invoice, 9_000)
        assert sum(each.total_minor for each in parts(control_session, invoice)) == 100_000


class TestANote:
    def test_ends_the_wait_and_is_audited(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        assert waiting(control_session) == [invoice.id]
        row = noted(control_session, invoice, number=" 20260310-41000000-00000001 ")
        assert waiting(control_session) == []
        told = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "vat_evidence.noted")
        ).one()
        assert (told.subject_id, told.details["number"]) == (str(invoice.id), row.number)

    def test_may_say_why_none_is_issued(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        noted(control_session, invoice, number="", issued_on=None, words="they waived it")
        assert waiting(control_session) == []

    def test_stands_and_a_newer_one_counts(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        first = noted(control_session, invoice, number="1")
        second = noted(control_session, invoice, number="2", now=LATER)
        kept = papers_by_hand.notes(control_session=control_session, invoice_id=invoice.id)
        assert [row.id for row in kept] == [second.id, first.id]
        with pytest.raises(DBAPIError), control_session.begin_nested():
            control_session.execute(update(PaperByHand).values(number="3"))

    def test_counts_no_more_once_something_is_credited(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        noted(control_session, invoice)
        credited(control_session, invoice, 9_000)
        assert waiting(control_session) == [invoice.id]
        noted(control_session, invoice, number="amended", now=LATER)
        assert waiting(control_session) == []

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"words": " "}, "words"),
            ({"issued_on": None}, "issued_on"),
            ({"number": " "}, "number"),
            ({"number": "1" * 201}, "number"),
            ({"issued_on": date(2026, 3, 11)}, "issued_on"),
        ],
    )
    def test_says_all_that_it_must(
        self, control_session: Session, changed: dict[str, Any], field: str
    ) -> None:
        invoice = in_part_by_card(control_session)
        with pytest.raises(NoteUnsound) as refused:
            noted(control_session, invoice, **changed)
        assert refused.value.field == field
        assert waiting(control_session) == [invoice.id]

    def test_is_not_for_a_supply_that_has_its_paper_here(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        transfer(control_session, invoice)
        assert chosen(control_session, invoice) == "tax_invoice"
        with pytest.raises(NotByHand):
            noted(control_session, invoice)


def credited(
    session: Session,
    invoice: Invoice,
    amount_minor: int,
    now: datetime = NOW + timedelta(hours=1),
) -> None:
    credit_notes.issue(
        control_session=session,
        invoice_id=invoice.id,
        amount=Money(amount_minor, "KRW"),
        keep=False,
        reason="wrong seats",
        staff_id=make_staff(session, role="finance").id,
        now=now,
    )


class TestASlipThatADisputeTook:
    def lost(self, session: Session, payment: Payment, now: datetime = LATER) -> None:
        reversals.lost_dispute(
            control_session=session,
            payment=payment,
            amount_minor=payment.amount_minor,
            reason="the bank decided",
            staff_id=make_staff(session, role="finance").id,
            now=now,
        )

    def waits(self, session: Session, invoice: Invoice) -> bool:
        session.flush()
        return papers_by_hand.is_to_be_made(control_session=session, invoice_id=invoice.id)

    def test_leaves_the_supply_to_a_person_until_they_say(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        payment = by_card(control_session, invoice, invoice.total_minor)
        assert chosen(control_session, invoice) == "card_slip"
        assert not self.waits(control_session, invoice)
        self.lost(control_session, payment)
        assert self.waits(control_session, invoice)
        (row,) = papers_by_hand.outstanding(control_session=control_session, limit=9)
        assert (row.counted_from, row.supply_minor) == (LATER.date(), invoice.subtotal_minor)
        noted(control_session, invoice, now=LATER)
        assert not self.waits(control_session, invoice)
        credited(control_session, invoice, 1_100, now=LATER + timedelta(days=1))
        assert self.waits(control_session, invoice)
        (row,) = papers_by_hand.outstanding(control_session=control_session, limit=9)
        assert row.supply_minor == 1_000

    def test_waits_no_more_once_another_card_paid(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        first = by_card(control_session, invoice, invoice.total_minor)
        chosen(control_session, invoice)
        self.lost(control_session, first)
        self.again(control_session, invoice, first)
        assert not self.waits(control_session, invoice)

    def again(self, session: Session, invoice: Invoice, first: Payment) -> None:
        before = session.get_one(PaymentAttempt, first.attempt_id)
        columns = {each.key for each in PaymentAttempt.__table__.columns} - {"id"}
        same = {name: getattr(before, name) for name in columns}
        attempt = PaymentAttempt(
            **same
            | {
                "state": "succeeded",
                "attempt_number": 2,
                "idempotency_key": "key-2",
                "order_id": "order-2",
                "gateway_payment_id": "pay_2",
            }
        )
        session.add(attempt)
        session.flush()
        settlement.receive(
            control_session=session,
            invoice_id=invoice.id,
            arrival=settlement.Arrival(
                kind="card",
                gateway="sandbox",
                gateway_payment_id="pay_2",
                amount=Money(invoice.open_minor, "KRW"),
                received_on=LATER.date(),
                attempt_id=attempt.id,
            ),
            actor=SYSTEM,
            now=LATER,
        )

    def test_makes_a_noted_paper_over_the_rest_due_again(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        noted(control_session, invoice)
        card = control_session.scalars(select(Payment).where(Payment.kind == "card")).one()
        self.lost(control_session, card)
        assert self.waits(control_session, invoice)
        (row,) = papers_by_hand.outstanding(control_session=control_session, limit=9)
        assert row.counted_from == LATER.date()
