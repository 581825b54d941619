"""Deadlines of tax invoices: over weekends and holidays, and what is late, failed or soon due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.config import settings
from app.base.messages import Message
from invoices import evidence, vat_alerts, vat_deadlines
from invoices.models import TaxInvoice
from invoices.vat_deadlines import Board, Offline
from tests.factories import NOW
from tests.fakes.popbill.running import running
from tests.invoices.issuing import issue
from tests.invoices.test_evidence import transfer, waiting


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
        assert offline(control_session, NOW + timedelta(days=9)) == Offline(1, 0, None)


class TestPapersOfThisMachine:
    def test_are_counted_however_old_they_are(self, control_session: Session) -> None:
        for _ in range(2):
            issued_here(control_session)
        written_on = NOW.date()
        assert offline(control_session, seoul(2026, 4, 30)) == Offline(2, 0, None)
        for later in (seoul(2026, 5, 1), seoul(2031, 1, 1)):
            assert offline(control_session, later) == Offline(0, 2, written_on)

    def test_are_no_more_than_so_many(
        self, control_session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(vat_deadlines, "OLDER_MAX", 1)
        for _ in range(2):
            issued_here(control_session)
        assert offline(control_session, seoul(2026, 5, 1)).older == 1


def issued_here(session: Session) -> None:
    row = drawn_up(session)
    row.state, row.issue_id, row.issued_at = "issued", str(row.serial).zfill(24), NOW
    row.xml_sha256, row.xml_size_bytes = "0" * 64, 1
    session.flush()


def offline(session: Session, now: datetime) -> Offline:
    return vat_deadlines.offline(control_session=session, today=now.date())


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
