"""Papers that follow credit notes: none twice, and what no machine can make waits for a person."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import (
    closing_checks,
    ledger,
    refund_queue,
    tax_ahead,
    tax_amendments,
    tax_following,
)
from invoices.checks import INVARIANTS
from invoices.documents.papers import Amendment
from invoices.gateways.port import DeclineClass, Declined
from invoices.models import CreditNote, Invoice, PaperByHand, Refund, TaxInvoice
from invoices.papers_by_hand import NoteUnsound
from invoices.tax_amendments import AmendmentWrong
from invoices.tax_following import NotWaiting, SlipStands
from jobs import tax_papers
from tests.conftest import Scenario
from tests.factories import NOW, make_staff
from tests.invoices.issuing import issue
from tests.invoices.tax_papers.test_amendments import amendments
from tests.invoices.tax_papers.test_issuing import DAY, drawn_up
from tests.invoices.test_refunds import refunds_of, send, take_back
from tests.invoices.test_vat_slips import first

LATER = NOW + 30 * DAY
RETURNED_ON = date(2026, 4, 2)


def issued(session: Session) -> TaxInvoice:
    """190,000 won and 19,000 of tax, paid by transfer."""
    row = drawn_up(session)
    issue(session, row)
    return row


def amend(session: Session, row: TaxInvoice, amendment: Amendment, **more: Any) -> None:
    sheets = tax_amendments.amend(
        control_session=session,
        tax_invoice_id=row.id,
        amendment=amendment,
        reason="반품",
        actor=SYSTEM,
        now=LATER,
        **more,
    )
    issue(session, *sheets, now=LATER)


def returned(session: Session, row: TaxInvoice, supply_minor: int, tax_minor: int) -> None:
    amounts = {"supply_minor": supply_minor, "tax_minor": tax_minor}
    amend(session, row, Amendment.RETURN, on=RETURNED_ON, **amounts)


def invoice_of(session: Session, row: TaxInvoice) -> Invoice:
    return session.get_one(Invoice, row.invoice_id)


def credited(session: Session, row: TaxInvoice, amount_minor: int) -> CreditNote:
    return take_back(session, invoice_of(session, row), amount_minor, now=LATER)


def follow(session: Session, note: CreditNote) -> bool:
    return tax_following.after_credit_note(control_session=session, credit_note=note, now=LATER)


def left(session: Session, row: TaxInvoice) -> tuple[int, int]:
    """What a supply comes to by its papers."""
    stands = tax_amendments.standing(control_session=session, invoice_id=row.invoice_id)
    return stands.supply_minor, stands.tax_minor


def waiting(session: Session) -> list[Any]:
    return list(session.scalars(select(Invoice.id).where(tax_ahead.to_be_credited())))


def due(session: Session) -> list[Any]:
    return list(session.scalars(select(CreditNote.id).where(tax_following.due())))


def assert_in_order(session: Session) -> None:
    session.flush()
    assert not [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=LATER)
    ]


def hindering_april(session: Session) -> list[str]:
    """What is with the evidence of the month in which papers were amended."""
    found = closing_checks.findings(
        control_session=session,
        first=date(2026, 4, 1),
        end=date(2026, 5, 1),
        now=LATER,
        with_books=False,
    )
    return [each.what for one in found if one.code == "evidence" for each in one.examples]


def vat(session: Session) -> int:
    """What the ledger owes the tax service."""
    return sum(
        each.credit_minor - each.debit_minor
        for each in ledger.trial_balance(control_session=session)
        if each.account == "vat_payable"
    )


class TestAReturnAmendedByHand:
    def test_waits_for_its_credit_note_and_takes_no_second_paper(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 5_000)
        assert waiting(control_session) == [row.invoice_id]
        note = credited(control_session, row, 55_000)
        assert (note.subtotal_minor, note.tax_minor) == (50_000, 5_000)
        assert waiting(control_session) == []
        assert follow(control_session, note)
        (sheet,) = amendments(control_session, row)
        assert (sheet.amendment, note.covered_by) == ("03", sheet.id)
        assert left(control_session, row) == (140_000, 14_000)
        assert vat(control_session) == 14_000
        assert_in_order(control_session)

    def test_is_taken_back_as_it_stands_on_its_paper(self, control_session: Session) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 4_321)
        note = credited(control_session, row, 54_321)
        assert (note.subtotal_minor, note.tax_minor) == (50_000, 4_321)

    def test_leaves_the_rest_of_a_greater_credit_note_to_amend(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 5_000)
        note = credited(control_session, row, 110_000)
        assert follow(control_session, note)
        assert [each.amendment for each in amendments(control_session, row)] == ["03", "02"]
        assert left(control_session, row) == (90_000, 9_000)
        assert note.covered_by is None
        assert_in_order(control_session)

    def test_and_credited_in_full_leaves_nothing(self, control_session: Session) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 5_000)
        assert follow(control_session, credited(control_session, row, row.total_minor))
        assert [each.amendment for each in amendments(control_session, row)] == ["03", "04"]
        assert left(control_session, row) == (0, 0)
        assert vat(control_session) == 0
        assert_in_order(control_session)

    def test_covers_several_credit_notes_as_far_as_it_goes(self, control_session: Session) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 5_000)
        notes = [credited(control_session, row, each) for each in (11_000, 33_000, 22_000)]
        for note in notes:
            assert follow(control_session, note)
        assert [each.amendment for each in amendments(control_session, row)] == ["03", "02"]
        assert left(control_session, row) == (130_000, 13_000)
        assert_in_order(control_session)

    def test_changes_nothing_for_a_credit_note_before_it(self, control_session: Session) -> None:
        row = issued(control_session)
        before = credited(control_session, row, 22_000)
        assert follow(control_session, before)
        issue(control_session, *amendments(control_session, row), now=LATER)
        returned(control_session, row, 50_000, 5_000)
        assert follow(control_session, credited(control_session, row, 55_000))
        assert left(control_session, row) == (120_000, 12_000)

    def test_hinders_the_close_of_its_month_until_it_is_credited(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        returned(control_session, row, 50_000, 5_000)
        assert hindering_april(control_session) == ["amended by hand, not credited yet"]
        follow(control_session, credited(control_session, row, 55_000))
        assert hindering_april(control_session) == []


class TestALetterOfCreditAmendedByHand:
    def test_waits_for_a_credit_note_over_its_tax_alone(self, control_session: Session) -> None:
        row = issued(control_session)
        amend(control_session, row, Amendment.LETTER_OF_CREDIT, on=RETURNED_ON)
        assert waiting(control_session) == [row.invoice_id]
        note = credited(control_session, row, 19_000)
        assert (note.subtotal_minor, note.tax_minor) == (0, 19_000)
        assert follow(control_session, note)
        assert left(control_session, row) == (190_000, 0)
        assert vat(control_session) == 0
        assert_in_order(control_session)

    def test_is_credited_without_tax_afterwards(self, control_session: Session) -> None:
        row = issued(control_session)
        amend(control_session, row, Amendment.LETTER_OF_CREDIT, on=RETURNED_ON)
        follow(control_session, credited(control_session, row, 19_000))
        note = credited(control_session, row, 40_000)
        assert (note.subtotal_minor, note.tax_minor) == (40_000, 0)
        assert follow(control_session, note)
        assert left(control_session, row) == (150_000, 0)
        rest = credited(control_session, row, 150_000)
        assert (rest.tax_minor, rest.is_whole) == (0, True)
        assert_in_order(control_session)


class TestAPaperIssuedTwice:
    def test_leaves_a_later_credit_note_to_a_person(self, control_session: Session) -> None:
        row = issued(control_session)
        amend(control_session, row, Amendment.ISSUED_TWICE)
        assert waiting(control_session) == []
        note = credited(control_session, row, 55_000)
        with pytest.raises(AmendmentWrong) as refused:
            follow(control_session, note)
        given_up(control_session, note, refused.value)
        assert due(control_session) == []
        assert noted(control_session, note).number == "20260402-41000000-00000009"
        assert note.evidence_at == LATER
        assert tax_following.waiting(control_session=control_session, limit=9) == []
        told = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "credit_note.paper_noted")
        ).one()
        assert told.details["credit_note"] == note.number_text
        assert_in_order(control_session)


class TestACardsMoneySentBackByBank:
    def by_bank(self, session: Session) -> CreditNote:
        """55,000 won of a supply that its card slip proves, sent back from our bank."""
        note = take_back(session, first(session), 55_000)
        assert due(session) == []
        assert not follow(session, note)
        (refund,) = refunds_of(session, note)
        refused = Declined(DeclineClass.RETRY_LATER, "GONE", "no such card")
        send(session, refund, refused)
        settled(session, refund, refund_queue.declare_sent)
        return note

    def test_waits_for_a_person_since_its_slip_still_proves_it(
        self, control_session: Session
    ) -> None:
        note = self.by_bank(control_session)
        assert due(control_session) == [note.id]
        with pytest.raises(SlipStands, match="55,000") as refused:
            follow(control_session, note)
        given_up(control_session, note, refused.value)
        noted(control_session, note, number="", issued_on=None, words="slip cancelled at the PG")
        assert note.evidence_at == LATER

    def test_or_kept_after_all_goes_on_being_proved_by_it(self, control_session: Session) -> None:
        note = take_back(control_session, first(control_session), 55_000)
        (refund,) = refunds_of(control_session, note)
        send(control_session, refund, Declined(DeclineClass.RETRY_LATER, "GONE", "no card"))
        settled(control_session, refund, refund_queue.keep)
        assert follow(control_session, note)


class TestANoteOfACreditNotesPaper:
    def stuck(self, session: Session) -> CreditNote:
        row = issued(session)
        amend(session, row, Amendment.ISSUED_TWICE)
        note = credited(session, row, 55_000)
        given_up(session, note, AmendmentWrong("more than the tax papers say"))
        return note

    def test_says_all_that_it_must(self, control_session: Session) -> None:
        note = self.stuck(control_session)
        with pytest.raises(NoteUnsound):
            noted(control_session, note, words=" ")
        assert note.evidence_at is None

    def test_is_taken_once(self, control_session: Session) -> None:
        note = self.stuck(control_session)
        noted(control_session, note)
        with pytest.raises(NotWaiting):
            noted(control_session, note)

    def test_is_for_none_that_follows_by_itself(self, control_session: Session) -> None:
        note = credited(control_session, issued(control_session), 55_000)
        with pytest.raises(NotWaiting):
            noted(control_session, note)

    def test_may_be_left_to_another_try(self, control_session: Session) -> None:
        note = self.stuck(control_session)
        tax_following.try_again(
            control_session=control_session, credit_note_id=note.id, actor=SYSTEM, now=LATER
        )
        assert due(control_session) == [note.id]


def test_the_step_leaves_to_a_person_what_it_can_not_make(scenario: Scenario) -> None:
    with transaction() as session:
        row = issued(session)
        amend(session, row, Amendment.ISSUED_TWICE)
        note_id = credited(session, row, 55_000).id
    while tax_papers.work():
        pass
    with transaction() as session:
        (note,) = tax_following.waiting(control_session=session, limit=9)
        assert (note.id, note.evidence_at) == (note_id, None)
        assert "more than the tax papers say" in str(note.evidence_error)
        assert not tax_papers.due(session, LATER)


def given_up(session: Session, note: CreditNote, error: Any) -> None:
    tax_following.give_up(control_session=session, credit_note_id=note.id, error=error)
    assert tax_following.waiting(control_session=session, limit=9) == [note]


def noted(session: Session, note: CreditNote, **changed: Any) -> PaperByHand:
    values: dict[str, Any] = {
        "number": "20260402-41000000-00000009",
        "issued_on": RETURNED_ON,
        "words": "Hometax",
        "staff_id": make_staff(session, role="finance").id,
        "now": LATER,
        "today": LATER.date(),
    }
    return tax_following.note_made(
        control_session=session, credit_note_id=note.id, **(values | changed)
    )


def settled(session: Session, refund: Refund, act: Any) -> None:
    act(
        control_session=session,
        refund_id=refund.id,
        why="the bank's confirmation",
        actor=SYSTEM,
        now=LATER,
    )
