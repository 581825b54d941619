"""The six amendments: their sheets, dates and notes, and what is taken back instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import SYSTEM
from invoices import tax_amendments, tax_invoices
from invoices.documents.papers import Amendment, Party, TaxTreatment
from invoices.models import TaxInvoice
from invoices.tax_amendments import AmendmentWrong, NotAmendable
from invoices.tax_sheets import Correction
from tests.factories import NOW
from tests.fakes.popbill.running import RunningPopbill, running
from tests.invoices.issuing import issue, look
from tests.invoices.tax_papers.test_issuing import DAY, drawn_up

SUPPLIED_ON = date(2026, 3, 10)
LATER = NOW + 30 * DAY
CHANGED_ON = date(2026, 4, 2)
NOTE = "당초 작성일자 2026-03-10"


@pytest.fixture
def popbill() -> Iterator[RunningPopbill]:
    with running() as found:
        yield found


def issued(session: Session) -> TaxInvoice:
    row = drawn_up(session)
    issue(session, row)
    return row


def less(row: TaxInvoice, *, part: int = 1) -> Correction:
    """A credit note over one `part`-th of what a tax invoice says."""
    return Correction(
        cause_id=ids.uuid7(),
        invoice_id=row.invoice_id,
        supply_minor=row.supply_minor // part,
        tax_minor=row.tax_minor // part,
        on=CHANGED_ON,
        reason="두 자리를 쓰지 못함",
    )


def correct(session: Session, correction: Correction) -> bool:
    return tax_amendments.correct(control_session=session, correction=correction, now=LATER)


def by_hand(session: Session, row: TaxInvoice, amendment: Amendment, **more: Any) -> Any:
    return tax_amendments.amend(
        control_session=session,
        tax_invoice_id=row.id,
        amendment=amendment,
        reason=more.pop("reason", "기재 착오"),
        actor=SYSTEM,
        now=LATER,
        **more,
    )


def amendments(session: Session, row: TaxInvoice) -> list[TaxInvoice]:
    return list(
        session.scalars(
            select(TaxInvoice)
            .where(TaxInvoice.amends_id == row.id)
            .order_by(TaxInvoice.created_at, TaxInvoice.sheet_number, TaxInvoice.id)
        )
    )


class TestAPartialRefund:
    def test_is_the_difference_on_the_day_of_the_change(self, control_session: Session) -> None:
        row = issued(control_session)
        credit = less(row, part=4)
        assert correct(control_session, credit)
        (sheet,) = amendments(control_session, row)
        assert (sheet.amendment, sheet.written_on) == ("02", CHANGED_ON)
        assert sheet.supply_minor == -credit.supply_minor
        paper = tax_invoices.paper_of(sheet)
        assert paper.original_approval_number == row.issue_id
        assert paper.remark.startswith(NOTE)
        assert paper.credit_minor == sheet.total_minor
        issue(control_session, sheet, now=LATER)
        control_session.refresh(row)
        assert (sheet.state, row.state) == ("issued", "amended")

    def test_twice_told_is_amended_once(self, control_session: Session) -> None:
        row = issued(control_session)
        credit = less(row, part=4)
        assert correct(control_session, credit)
        assert correct(control_session, credit)
        assert len(amendments(control_session, row)) == 1

    def test_waits_for_the_amendment_before_it(self, control_session: Session) -> None:
        row = issued(control_session)
        assert correct(control_session, less(row, part=4))
        assert not correct(control_session, less(row, part=4))
        issue(control_session, *amendments(control_session, row), now=LATER)
        assert correct(control_session, less(row, part=4))

    def test_of_more_than_there_was_is_refused(self, control_session: Session) -> None:
        row = issued(control_session)
        much = replace(less(row), supply_minor=row.supply_minor + 1)
        with pytest.raises(AmendmentWrong):
            correct(control_session, much)


class TestAFullRefund:
    def test_turns_every_line_on_the_day_the_contract_ended(self, control_session: Session) -> None:
        row = issued(control_session)
        assert correct(control_session, less(row))
        (sheet,) = amendments(control_session, row)
        assert (sheet.amendment, sheet.written_on) == ("04", CHANGED_ON)
        assert sheet.total_minor == -row.total_minor
        paper, original = tax_invoices.paper_of(sheet), tax_invoices.paper_of(row)
        assert len(paper.lines) == len(original.lines)
        assert paper.remark.startswith(NOTE)

    def test_after_a_partial_one_takes_back_what_is_left(self, control_session: Session) -> None:
        row = issued(control_session)
        first = less(row, part=4)
        correct(control_session, first)
        issue(control_session, *amendments(control_session, row), now=LATER)
        rest = replace(
            less(row),
            supply_minor=row.supply_minor - first.supply_minor,
            tax_minor=row.tax_minor - first.tax_minor,
        )
        assert correct(control_session, rest)
        last = amendments(control_session, row)[-1]
        assert last.amendment == "04"
        assert sum(each.total_minor for each in (row, *amendments(control_session, row))) == 0

    def test_before_it_was_issued_leaves_none(self, control_session: Session) -> None:
        row = drawn_up(control_session)
        credit = less(row)
        assert correct(control_session, credit)
        assert (row.state, row.issue_id) == ("cancelled", None)
        assert correct(control_session, credit)


class TestBeforeTransmission:
    def test_a_full_refund_takes_the_paper_back_at_the_issuer(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = issued(control_session)
        credit = less(row)
        assert not correct(control_session, credit)
        look(control_session, row, now=LATER)
        assert row.state == "cancelled"
        assert popbill.desk.invoices[row.management_key]["stateCode"] == 600
        assert correct(control_session, credit)
        assert not amendments(control_session, row)

    def test_too_late_to_take_it_back_it_is_amended_once_accepted(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = issued(control_session)
        credit = less(row)
        assert not correct(control_session, credit)
        popbill.desk.send(row.management_key)
        look(control_session, row, now=LATER)
        assert (row.state, row.cancel_reason) == ("issued", None)
        look(control_session, row, now=LATER)
        assert row.state == "sent"
        assert not correct(control_session, credit)
        popbill.desk.transmit(row.management_key)
        look(control_session, row, now=LATER + DAY)
        assert correct(control_session, credit)
        (sheet,) = amendments(control_session, row)
        issue(control_session, sheet, now=LATER + DAY)
        words = popbill.desk.invoices[sheet.management_key]["words"]
        assert (words["modifyCode"], words["orgNTSConfirmNum"]) == (4, row.issue_id)

    def test_a_partial_refund_waits_until_it_is_accepted(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = issued(control_session)
        credit = less(row, part=4)
        assert not correct(control_session, credit)
        popbill.desk.transmit(row.management_key)
        look(control_session, row, now=LATER)
        assert correct(control_session, credit)

    def test_a_person_can_not_amend_it_yet(
        self, control_session: Session, popbill: RunningPopbill
    ) -> None:
        row = issued(control_session)
        with pytest.raises(NotAmendable):
            by_hand(control_session, row, Amendment.ISSUED_TWICE)


class TestByHand:
    def test_wrong_entries_are_two_sheets_on_the_original_day(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        original = tax_invoices.paper_of(row)
        right = replace(original.buyer, name="㈜바른이름")
        undone, corrected = by_hand(control_session, row, Amendment.CLERICAL_ERROR, buyer=right)
        assert {undone.amendment, corrected.amendment} == {"01"}
        assert {undone.written_on, corrected.written_on} == {SUPPLIED_ON}
        assert (undone.total_minor, corrected.total_minor) == (-row.total_minor, row.total_minor)
        assert tax_invoices.paper_of(undone).buyer == original.buyer
        assert tax_invoices.paper_of(corrected).buyer.name == "㈜바른이름"

    def test_what_was_corrected_is_what_a_refund_amends_next(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        right = replace(tax_invoices.paper_of(row).buyer, name="㈜바른이름")
        sheets = by_hand(control_session, row, Amendment.CLERICAL_ERROR, buyer=right)
        issue(control_session, *sheets, now=LATER)
        assert correct(control_session, less(row, part=4))
        (sheet,) = amendments(control_session, sheets[1])
        assert tax_invoices.paper_of(sheet).original_approval_number == sheets[1].issue_id
        assert tax_invoices.paper_of(sheet).buyer.name == "㈜바른이름"

    def test_a_return_is_its_part_on_the_day_of_return(self, control_session: Session) -> None:
        row = issued(control_session)
        (sheet,) = by_hand(
            control_session,
            row,
            Amendment.RETURN,
            on=CHANGED_ON,
            supply_minor=10_000,
            tax_minor=1_000,
        )
        assert (sheet.amendment, sheet.written_on, sheet.total_minor) == ("03", CHANGED_ON, -11_000)
        assert tax_invoices.paper_of(sheet).remark.startswith(NOTE)

    @pytest.mark.parametrize("on", [None, SUPPLIED_ON - DAY, LATER.date() + DAY])
    def test_a_return_on_an_impossible_day_is_refused(
        self, control_session: Session, on: date | None
    ) -> None:
        row = issued(control_session)
        with pytest.raises(AmendmentWrong):
            by_hand(control_session, row, Amendment.RETURN, on=on, supply_minor=1, tax_minor=0)

    def test_a_letter_of_credit_makes_it_zero_rated(self, control_session: Session) -> None:
        row = issued(control_session)
        undone, zero = by_hand(control_session, row, Amendment.LETTER_OF_CREDIT, on=CHANGED_ON)
        assert (undone.amendment, undone.written_on) == ("05", SUPPLIED_ON)
        assert (zero.supply_minor, zero.tax_minor) == (row.supply_minor, 0)
        assert tax_invoices.paper_of(zero).tax_treatment is TaxTreatment.ZERO_RATED

    def test_a_letter_of_credit_counts_25_days_after_the_half_year(self) -> None:
        assert tax_amendments.letter_of_credit_until(SUPPLIED_ON) == date(2026, 7, 25)
        assert tax_amendments.letter_of_credit_until(date(2026, 7, 1)) == date(2027, 1, 25)

    def test_what_was_issued_twice_is_undone_on_the_original_day(
        self, control_session: Session
    ) -> None:
        row = issued(control_session)
        (sheet,) = by_hand(control_session, row, Amendment.ISSUED_TWICE)
        assert (sheet.amendment, sheet.written_on) == ("06", SUPPLIED_ON)
        assert sheet.total_minor == -row.total_minor
        assert NOTE not in tax_invoices.paper_of(sheet).remark
        issue(control_session, sheet, now=LATER)
        with pytest.raises(NotAmendable, match="nothing is left"):
            by_hand(control_session, row, Amendment.ISSUED_TWICE)

    def test_needs_a_reason(self, control_session: Session) -> None:
        row = issued(control_session)
        with pytest.raises(AmendmentWrong):
            by_hand(control_session, row, Amendment.ISSUED_TWICE, reason=" ")

    def test_a_refund_is_not_amended_by_hand(self, control_session: Session) -> None:
        row = issued(control_session)
        with pytest.raises(AmendmentWrong, match="credit note"):
            by_hand(control_session, row, Amendment.CONTRACT_ENDED)

    def test_a_name_that_is_not_standard_is_refused(self, control_session: Session) -> None:
        row = issued(control_session)
        with pytest.raises(AmendmentWrong, match="longer"):
            by_hand(
                control_session,
                row,
                Amendment.CLERICAL_ERROR,
                buyer=Party(name="가" * 71, email="a@b.example"),
            )
