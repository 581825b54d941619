"""Deadlines of tax invoices: over weekends and holidays, and what is late, failed or soon due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.config import settings
from app.base.messages import Message
from invoices import (
    evidence,
    papers_by_hand,
    tax_amendments,
    tax_handed_in,
    tax_invoices,
    vat_alerts,
    vat_deadlines,
)
from invoices.documents.papers import Amendment
from invoices.models import TaxInvoice
from invoices.tax_handed_in import NoteUnsound, NotHandedIn, ToHandIn
from invoices.vat_deadlines import Board
from tests.factories import NOW, make_staff
from tests.fakes.popbill.running import running
from tests.invoices.issuing import issue
from tests.invoices.test_evidence import transfer, waiting
from tests.invoices.test_papers_by_hand import credited, in_part_by_card, noted


def seoul(year: int, month: int, day: int, hour: int = 9) -> datetime:
    return datetime(year, month, day, tzinfo=UTC) + timedelta(hours=hour - 9)


def board(session: Session, now: datetime) -> Board:
    return vat_deadlines.board(control_session=session, now=now, limit=100)


def kinds(found: tuple[vat_deadlines.Watched, ...]) -> list[str]:
    return [each.kind for each in found]


def drawn_up(session: Session) -> TaxInvoice:
    """A tax invoice that is due: its supply of 10 March was paid by transfer."""
    invoice = waiting(session)
    transfer(session, invoice)
    evidence.choose(control_session=session, invoice_id=invoice.id, now=NOW)
    return session.scalars(select(TaxInvoice).where(TaxInvoice.invoice_id == invoice.id)).one()


class TestADay:
    @pytest.mark.parametrize(
        ("supplied_on", "deadline"),
        [
            (date(2026, 3, 10), date(2026, 4, 10)),  # a Friday
            (date(2026, 9, 30), date(2026, 10, 12)),  # Saturday, and Hangul Day before it
            (date(2026, 12, 31), date(2027, 1, 11)),  # Sunday
            (date(2027, 1, 31), date(2027, 2, 10)),  # the day after a substitute holiday
            (date(2027, 9, 1), date(2027, 10, 12)),  # Sunday, then a substitute for Hangul Day
            (date(2024, 1, 15), date(2024, 2, 13)),  # Lunar New Year, and a substitute for it
        ],
    )
    def test_to_issue_by_moves_over_days_off(self, supplied_on: date, deadline: date) -> None:
        assert vat_deadlines.issue_by(supplied_on) == deadline

    @pytest.mark.parametrize(
        ("issued_on", "deadline"),
        [
            (date(2026, 3, 10), date(2026, 3, 11)),
            (date(2026, 3, 13), date(2026, 3, 16)),  # Friday
            (date(2026, 10, 8), date(2026, 10, 12)),  # the day before Hangul Day
            (date(2025, 4, 30), date(2025, 5, 2)),  # the day before Labour Day
        ],
    )
    def test_to_transmit_by_is_the_next_working_day(self, issued_on: date, deadline: date) -> None:
        assert vat_deadlines.transmit_by(issued_on) == deadline

    def test_of_the_final_return_ends_what_is_only_late(self) -> None:
        march, october = date(2026, 3, 10), date(2026, 10, 1)
        assert vat_deadlines.return_by(march) == date(2026, 7, 27)  # the 25th is a Saturday
        assert vat_deadlines.return_by(october) == date(2027, 1, 25)


class TestAPenalty:
    @pytest.mark.parametrize(
        ("kind", "today", "name", "amount"),
        [
            ("issue", date(2026, 4, 11), "late_issue", 1_900),
            ("issue", date(2026, 7, 28), "no_issue", 3_800),
            ("transmit", date(2026, 4, 11), "late_transmission", 570),
            ("transmit", date(2026, 7, 28), "no_transmission", 950),
        ],
    )
    def test_is_a_share_of_the_supply_value(
        self, kind: str, today: date, name: str, amount: int
    ) -> None:
        found = vat_deadlines.penalty_of(kind=kind, supplied_on=date(2026, 3, 10), today=today)
        assert (found.name, found.of(190_000)) == (name, amount)


class TestTheBoard:
    def test_names_a_supply_without_evidence_from_days_before(
        self, control_session: Session
    ) -> None:
        invoice = waiting(control_session)
        assert board(control_session, seoul(2026, 4, 6)).pressing == 0
        soon = board(control_session, seoul(2026, 4, 7)).soon
        assert [(each.kind, each.invoice_id) for each in soon] == [("choose", invoice.id)]
        assert soon[0].deadline == date(2026, 4, 10)
        assert soon[0].penalty_minor == invoice.subtotal_minor // 100

    def test_calls_it_late_the_day_after_and_not_on_the_day(self, control_session: Session) -> None:
        waiting(control_session)
        assert board(control_session, seoul(2026, 4, 10, 23)).late == ()
        assert kinds(board(control_session, seoul(2026, 4, 11, 0)).late) == ["choose"]

    def test_names_what_failed_at_once(self, control_session: Session) -> None:
        row = drawn_up(control_session)
        row.state, row.error = "failed", "인증서 만료"
        control_session.flush()
        (failed,) = board(control_session, NOW).failed
        assert (failed.kind, failed.error) == ("issue", "인증서 만료")

    def test_wants_what_an_agent_issued_transmitted_the_day_after(
        self, control_session: Session
    ) -> None:
        with running():
            issue(control_session, drawn_up(control_session))
        assert kinds(board(control_session, NOW).soon) == ["transmit"]
        (late,) = board(control_session, NOW + timedelta(days=2)).late
        assert late.penalty is vat_deadlines.LATE_TRANSMISSION

    def test_leaves_what_this_machine_issued_to_a_count_of_its_own(
        self, control_session: Session
    ) -> None:
        issued_here(control_session)
        assert board(control_session, NOW + timedelta(days=9)).pressing == 0
        assert offline(control_session, NOW + timedelta(days=9)) == ToHandIn(1, 0, None)


class TestAPaperThatAPersonMakes:
    def test_stands_on_the_board_with_its_penalty_until_it_is_noted(
        self, control_session: Session
    ) -> None:
        invoice = in_part_by_card(control_session)
        assert board(control_session, seoul(2026, 4, 6)).later == 1
        assert kinds(board(control_session, seoul(2026, 4, 7)).soon) == ["by_hand"]
        (late,) = board(control_session, seoul(2026, 4, 11)).late
        assert (late.invoice_id, late.supply_minor, late.penalty_minor) == (
            invoice.id,
            99_091,
            990,
        )
        noted(control_session, invoice)
        assert board(control_session, seoul(2026, 4, 11)).late == ()

    def test_is_told_of_in_the_daily_mail(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        assert vat_alerts.tell(control_session=control_session, now=seoul(2026, 4, 11))
        mail = control_session.scalars(select(Message).where(Message.kind == "tax_deadlines")).one()
        assert f"직접 발급 · {invoice.buyer['name']} · {invoice.number_text}" in mail.text

    def test_over_all_of_it_counts_all_of_it(self, control_session: Session) -> None:
        invoice = waiting(control_session, billing_profile={"registration_number": ""})
        evidence.choose(
            control_session=control_session, invoice_id=invoice.id, now=seoul(2026, 4, 9)
        )
        (late,) = board(control_session, seoul(2026, 4, 11)).late
        assert (late.kind, late.supply_minor) == ("by_hand", 190_000)

    def test_is_amended_in_time_counted_from_the_credit_note(
        self, control_session: Session
    ) -> None:
        invoice = in_part_by_card(control_session)
        noted(control_session, invoice, now=NOW + timedelta(minutes=1))
        credited(control_session, invoice, 11_000, now=seoul(2026, 5, 4))
        assert board(control_session, seoul(2026, 5, 5)).late == ()
        (late,) = board(control_session, seoul(2026, 6, 11)).late
        assert (late.deadline, late.supply_minor) == (date(2026, 6, 10), 10_000)

    def test_with_nothing_left_to_issue_has_no_deadline(self, control_session: Session) -> None:
        invoice = in_part_by_card(control_session)
        credited(control_session, invoice, 109_000)
        assert board(control_session, seoul(2026, 4, 11)).pressing == 0
        assert list(control_session.scalars(papers_by_hand.to_be_made())) == [invoice.id]


class TestAPaperThatAPersonHandedIn:
    APPROVAL = "20260310-41000000-0000abcd"

    def handed_in(self, session: Session, row: TaxInvoice, **changed: Any) -> TaxInvoice:
        values: dict[str, Any] = {"number": self.APPROVAL, "handed_in_on": NOW.date()}
        return tax_handed_in.note(
            control_session=session,
            tax_invoice_id=row.id,
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
            today=NOW.date(),
            **(values | changed),
        )

    def test_is_counted_no_more_and_never_said_to_be_sent_by_us(
        self, control_session: Session
    ) -> None:
        row = issued_here(control_session)
        self.handed_in(control_session, row)
        assert offline(control_session, NOW) == ToHandIn(0, 0, None)
        assert (row.state, row.sent_at, row.accepted_at) == ("issued", None, None)
        told = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "tax_invoice.handed_in")
        ).one()
        assert told.details["number"] == "20260310410000000000abcd"

    def test_is_named_by_that_number_when_it_is_amended(self, control_session: Session) -> None:
        row = self.handed_in(control_session, issued_here(control_session))
        (sheet,) = tax_amendments.amend(
            control_session=control_session,
            tax_invoice_id=row.id,
            amendment=Amendment.ISSUED_TWICE,
            reason="also issued at Hometax",
            actor=SYSTEM,
            now=NOW,
        )
        paper = tax_invoices.paper_of(sheet)
        assert paper.original_approval_number == row.handed_in_number

    def test_may_be_corrected(self, control_session: Session) -> None:
        row = self.handed_in(control_session, issued_here(control_session))
        self.handed_in(control_session, row, number="1" * 24)
        assert row.handed_in_number == "1" * 24

    @pytest.mark.parametrize(
        ("changed", "field"),
        [
            ({"number": "2026"}, "number"),
            ({"number": "홈택스" * 8}, "number"),
            ({"handed_in_on": None}, "handed_in_on"),
            ({"handed_in_on": NOW.date() + timedelta(days=1)}, "handed_in_on"),
            ({"handed_in_on": NOW.date() - timedelta(days=1)}, "handed_in_on"),
        ],
    )
    def test_says_all_that_it_must(
        self, control_session: Session, changed: dict[str, Any], field: str
    ) -> None:
        row = issued_here(control_session)
        with pytest.raises(NoteUnsound) as refused:
            self.handed_in(control_session, row, **changed)
        assert refused.value.field == field
        assert row.handed_in_at is None

    def test_has_a_number_of_its_own(self, control_session: Session) -> None:
        self.handed_in(control_session, issued_here(control_session))
        with pytest.raises(NoteUnsound, match="Another"):
            self.handed_in(control_session, issued_here(control_session))

    def test_has_it_also_when_another_is_noted_at_the_same_moment(
        self, control_session: Session
    ) -> None:
        other, row = issued_here(control_session), issued_here(control_session)
        staff_id = make_staff(control_session, role="finance").id
        with control_session.no_autoflush:
            # What we look for cannot be seen yet, and is there when we write.
            other.handed_in_number, other.handed_in_on = "1" * 24, NOW.date()
            other.handed_in_at, other.handed_in_by = NOW, staff_id
            with pytest.raises(NoteUnsound, match="Another") as refused:
                tax_handed_in.note(
                    control_session=control_session,
                    tax_invoice_id=row.id,
                    number="1" * 24,
                    handed_in_on=NOW.date(),
                    staff_id=staff_id,
                    now=NOW,
                    today=NOW.date(),
                )
        assert refused.value.field == "number"
        assert (row.handed_in_at, other.handed_in_number) == (None, "1" * 24)

    def test_is_none_that_an_agent_transmits(self, control_session: Session) -> None:
        with running():
            row = drawn_up(control_session)
            issue(control_session, row)
            with pytest.raises(NotHandedIn):
                self.handed_in(control_session, row)


class TestPapersOfThisMachine:
    def test_are_counted_however_old_they_are(self, control_session: Session) -> None:
        for _ in range(2):
            issued_here(control_session)
        written_on = NOW.date()
        assert offline(control_session, seoul(2026, 4, 30)) == ToHandIn(2, 0, None)
        for later in (seoul(2026, 5, 1), seoul(2031, 1, 1)):
            assert offline(control_session, later) == ToHandIn(0, 2, written_on)

    def test_are_no_more_than_so_many(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(tax_handed_in, "OLDER_MAX", 1)
        for _ in range(2):
            issued_here(control_session)
        assert offline(control_session, seoul(2026, 5, 1)).older == 1


def issued_here(session: Session) -> TaxInvoice:
    row = drawn_up(session)
    row.state, row.issue_id, row.issued_at = "issued", str(row.serial).zfill(24), NOW
    row.xml_sha256, row.xml_size_bytes = "0" * 64, 1
    session.flush()
    return row


def offline(session: Session, now: datetime) -> ToHandIn:
    return tax_handed_in.waiting(control_session=session, today=now.date())


class TestAnAlert:
    def mails(self, session: Session) -> list[Message]:
        query = select(Message).where(Message.kind == "tax_deadlines").order_by(Message.created_at)
        return list(session.scalars(query))

    def test_is_one_mail_a_day_from_days_before_the_deadline(
        self, control_session: Session
    ) -> None:
        invoice = waiting(control_session)
        for now in (
            seoul(2026, 4, 6),
            seoul(2026, 4, 7),
            seoul(2026, 4, 7, 12),
            seoul(2026, 4, 10),
            seoul(2026, 4, 11),
        ):
            vat_alerts.tell(control_session=control_session, now=now)
        before, at, after = self.mails(control_session)
        assert str(invoice.number_text) in before.text
        assert "지연발급 1%" in before.text
        assert "임박 1건" in at.subject
        assert "지연 1건" in after.subject

    def test_is_none_where_nothing_presses(self, control_session: Session) -> None:
        assert not vat_alerts.tell(control_session=control_session, now=NOW)
        assert self.mails(control_session) == []

    def test_goes_to_finance_in_its_language(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TENANTRY_FINANCE_EMAIL", "books@tenantry.example")
        monkeypatch.setenv("TENANTRY_PAPER_LANGUAGE", "en")
        settings.cache_clear()
        waiting(control_session)
        vat_alerts.tell(control_session=control_session, now=seoul(2026, 4, 11))
        settings.cache_clear()
        (mail,) = self.mails(control_session)
        assert mail.recipient == "books@tenantry.example"
        assert "1 late" in mail.subject
        assert "late issue 1%" in mail.text
