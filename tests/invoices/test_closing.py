"""A month's close: each thing that hinders it is found, and once closed nothing is booked in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, delete, func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base import db as base_db
from app.base import ids
from app.base.audit import Actor, AuditEvent
from invoices import closing, deferrals, evidence, ledger, ledger_statements
from invoices.closing_checks import CODES
from invoices.ledger import Booking
from invoices.models import (
    Invoice,
    LedgerEntry,
    LedgerLine,
    MonthClose,
    ReconciliationDifference,
    TaxInvoice,
)
from tests.factories import NOW, make_invoice, make_staff, make_tenant
from tests.invoices.issuing import issue

MONTH = "2026-03"
FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)
# Noon in Seoul, on the day before tax papers are due.
AFTER = datetime(2026, 4, 9, 3, tzinfo=UTC)


def finished(session: Session) -> Invoice:
    """An invoice of March with all that belongs to it done: it stands in nobody's way."""
    tenant = make_tenant(session, state="active", converted_at=NOW)
    invoice = make_invoice(session, tenant=tenant)
    invoice.collect_at = None
    session.flush()
    evidence.choose(control_session=session, invoice_id=invoice.id, now=AFTER)
    issue(session, session.scalars(select(TaxInvoice)).one(), now=AFTER)
    deferrals.recognise(control_session=session, day=LAST, now=AFTER)
    session.expire_all()
    return invoice


def close(session: Session, now: datetime = AFTER, actor: Actor | None = None) -> MonthClose:
    actor = actor or Actor.staff(make_staff(session, role="finance").id)
    return closing.close(control_session=session, month=MONTH, actor=actor, now=now)


def hindering(session: Session, now: datetime = AFTER) -> set[str]:
    session.flush()
    seen = closing.look(control_session=session, month=MONTH, now=now)
    return {each.code for each in seen.hindrances}


def booking(day: date | None) -> Booking:
    return Booking(
        kind="fee",
        cause_id=ids.uuid7(),
        tenant_id=None,
        currency="KRW",
        sides=(ledger.debit("fees", 100), ledger.credit("cash", 100, "manual")),
        booked_on=day,
    )


def booked_on(session: Session, wanted: Booking, now: datetime = AFTER) -> date:
    ledger.post(control_session=session, bookings=[wanted], now=now)
    return session.scalars(
        select(LedgerEntry.booked_on).where(LedgerEntry.cause_id == wanted.cause_id)
    ).one()


# By check: what a careless hand would have to do to a finished month. Guards are off meanwhile.
PLANTED = {
    "readings": (
        "INSERT INTO metering_day (tenant_id, day, attempts)"
        " SELECT id, '2026-03-20', 0 FROM tenant",
    ),
    "bills": ("UPDATE subscription SET next_bill_on = '2026-03-31'",),
    "drafts": ("UPDATE invoice SET state = 'draft'",),
    "payments": (
        "INSERT INTO payment_attempt (id, state, tenant_id, invoice_id, attempt_number, method_id,"
        " gateway, idempotency_key, order_id, amount_minor, currency, key_expires_at, begun_at,"
        " attempts) SELECT uuidv7(), 'unknown', tenant_id, id, 1, uuidv7(), 'sandbox', 'k', 'o',"
        " total_minor, 'KRW', now(), '2026-03-10', 0 FROM invoice",
    ),
    "evidence": ("UPDATE invoice SET evidence_at = NULL",),
    "tax_papers": (
        "UPDATE tax_invoice SET state = 'failed', error = 'no such company'",
        "UPDATE tax_invoice SET issuer = 'popbill', state = 'issued'",
        "UPDATE vat_evidence SET kind = 'by_hand', reason = 'no number', payment_id = NULL",
    ),
    "revenue": (
        "UPDATE deferral SET recognised_on = '2026-03-30',"
        " recognised_minor = recognised_minor - 1000",
    ),
    "ledger": (
        "UPDATE ledger_line SET debit_minor = debit_minor + 1 WHERE account = 'receivable'",
        "DELETE FROM invoice",
    ),
    "settlements": (
        "INSERT INTO reconciliation_day (id, gateway, day, asked_at, attempts, lines_count)"
        " VALUES (uuidv7(), 'sandbox', '2026-03-15', now(), 0, 0)",
    ),
}


@contextmanager
def unguarded() -> Iterator[Session]:
    """The administrator's session, whose triggers and references are off; nothing of it stays."""
    engine = create_engine(base_db.admin_url(), poolclass=NullPool)
    with Session(engine) as session:
        session.execute(text("SET LOCAL session_replication_role = replica"))
        yield session
        session.rollback()


class TestClosing:
    def test_takes_a_month_with_everything_done(self, control_session: Session) -> None:
        finished(control_session)
        assert hindering(control_session) == set()
        row = close(control_session)
        assert row.month == FIRST
        assert row.findings["entries"] == control_session.scalar(
            select(func.count()).select_from(LedgerEntry)
        )
        assert {each["account"] for each in row.findings["balances"]} >= {"receivable", "revenue"}
        note = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "month.closed")
        ).one()
        assert note.details == {"month": MONTH}

    def test_waits_for_the_end_of_the_month_in_seoul(self, control_session: Session) -> None:
        finished(control_session)
        last_moment = datetime(2026, 3, 31, 14, 59, tzinfo=UTC)
        assert hindering(control_session, last_moment) == {"month_over"}
        assert hindering(control_session, last_moment + timedelta(minutes=1)) == set()

    def test_names_what_hinders_it(self, scenario: Any) -> None:
        with base_db.control_session() as session:
            finished(session)
        for code, statements in PLANTED.items():
            for statement in statements:
                with unguarded() as session:
                    session.execute(text(statement))
                    assert code in hindering(session), statement
                    with pytest.raises(closing.MonthHindered):
                        close(session)
        with unguarded() as session:
            assert hindering(session) == set()

    def test_lists_open_differences_and_closes_over_them(self, control_session: Session) -> None:
        finished(control_session)
        control_session.add(
            ReconciliationDifference(
                key="d",
                gateway="sandbox",
                kind="other_day",
                cause="timing",
                day=date(2026, 3, 9),
                currency="KRW",
                amount_minor=500,
                is_booked=False,
                found_at=NOW,
            )
        )
        row = close(control_session)
        assert [each["check"] for each in row.findings["open"]] == ["differences"]
        assert "sandbox 2026-03-09" in row.findings["open"][0]["first"][0]

    def test_is_done_once(self, control_session: Session) -> None:
        finished(control_session)
        close(control_session)
        with pytest.raises(closing.MonthClosed):
            close(control_session)


class TestAClosedMonth:
    def test_sends_what_comes_late_to_the_first_open_day(self, control_session: Session) -> None:
        finished(control_session)
        assert booked_on(control_session, booking(LAST)) == LAST
        close(control_session)
        assert booked_on(control_session, booking(date(2026, 3, 10))) == date(2026, 4, 1)
        assert booked_on(control_session, booking(date(2026, 2, 10))) == date(2026, 2, 10)
        assert booked_on(control_session, booking(None)) == date(2026, 4, 9)

    def test_takes_no_entry_from_anybody(self, control_session: Session) -> None:
        finished(control_session)
        close(control_session)
        row = {
            "id": ids.uuid7(), "kind": "fee", "cause_id": ids.uuid7(), "currency": "KRW",
            "booked_on": date(2026, 3, 31), "booked_at": AFTER,
        }  # fmt: skip
        with (
            pytest.raises(IntegrityError, match="2026-03-01 is closed"),
            control_session.begin_nested(),
        ):
            control_session.execute(LedgerEntry.__table__.insert(), [row])

    def test_cannot_be_rewritten(self, control_session: Session) -> None:
        finished(control_session)
        row = close(control_session)
        with (
            pytest.raises(IntegrityError, match="cannot be changed"),
            control_session.begin_nested(),
        ):
            control_session.execute(
                update(MonthClose).where(MonthClose.id == row.id).values(month=date(2026, 2, 1))
            )

    def test_is_opened_again_for_a_reason(self, control_session: Session) -> None:
        finished(control_session)
        close(control_session)
        admin = Actor.staff(make_staff(control_session, role="admin").id)
        again = {"control_session": control_session, "month": MONTH, "actor": admin, "now": AFTER}
        with pytest.raises(closing.ReasonMissing):
            closing.reopen(reason="  ", **again)
        closing.reopen(reason="a fee came late", **again)
        assert booked_on(control_session, booking(date(2026, 3, 10))) == date(2026, 3, 10)
        note = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "month.reopened")
        ).one()
        assert note.why == "a fee came late"
        with pytest.raises(closing.MonthNotClosed):
            closing.reopen(reason="twice", **again)
        close(control_session)
        assert len(closing.history(control_session=control_session)) == 2


class TestTheTrialBalanceAfterwards:
    """It starts from what the closed months came to, and is what all lines come to."""

    @staticmethod
    def balances(session: Session, month: str) -> dict[tuple[str, str], int]:
        first, end = ledger_statements.month(month)
        rows = ledger_statements.trial_balance(control_session=session, first=first, end=end)
        return {(row.account, row.place): row.closing_minor for row in rows}

    @staticmethod
    def sums(session: Session, until: date) -> dict[tuple[str, str], int]:
        place = func.coalesce(LedgerLine.place, "")
        rows = session.execute(
            select(
                LedgerLine.account,
                place,
                func.sum(LedgerLine.debit_minor - LedgerLine.credit_minor),
            )
            .join(LedgerEntry, LedgerEntry.id == LedgerLine.entry_id)
            .where(LedgerEntry.booked_on <= until)
            .group_by(LedgerLine.account, place)
        )
        return {(account, at): int(net) for account, at, net in rows}

    def test_carries_on_from_the_last_closed_month(self, scenario: Any) -> None:
        with base_db.control_session() as session:
            finished(session)
            close(session)
            wanted = self.sums(session, booked_on(session, booking(date(2026, 4, 8))))
            assert self.balances(session, "2026-04") == wanted
        with unguarded() as session:
            march = select(LedgerEntry.id).where(LedgerEntry.booked_on <= LAST)
            session.execute(delete(LedgerLine).where(LedgerLine.entry_id.in_(march)))
            # The lines of March themselves are not read any more.
            assert self.balances(session, "2026-04") == wanted

    def test_reads_all_lines_where_an_earlier_month_is_open(self, control_session: Session) -> None:
        finished(control_session)
        close(control_session)
        booked_on(control_session, booking(date(2026, 2, 10)))
        assert self.balances(control_session, "2026-04") == self.sums(
            control_session, date(2026, 4, 30)
        )

    def test_reads_a_month_anew_that_was_opened_again(self, control_session: Session) -> None:
        finished(control_session)
        close(control_session)
        admin = Actor.staff(make_staff(control_session, role="admin").id)
        closing.reopen(
            control_session=control_session, month=MONTH, reason="late", actor=admin, now=AFTER
        )
        booked_on(control_session, booking(date(2026, 3, 10)))
        wanted = self.sums(control_session, date(2026, 4, 30))
        assert self.balances(control_session, "2026-04") == wanted
        close(control_session)
        assert self.balances(control_session, "2026-04") == wanted


def test_every_check_has_a_row_that_it_finds() -> None:
    planted = {*PLANTED, "month_over", "differences"}
    assert planted == set(CODES)


class TestClosingBesideABooking:
    def test_waits_for_the_booking_and_sees_it(self, scenario: Any) -> None:
        with base_db.control_session() as session:
            finished(session)
        booked = threading.Event()
        let_go = threading.Event()
        seen: list[int] = []

        def books() -> None:
            with base_db.control_session() as session:
                ledger.post(control_session=session, bookings=[booking(LAST)], now=AFTER)
                booked.set()
                let_go.wait(30)

        def closes() -> None:
            with base_db.control_session() as session:
                seen.append(close(session).findings["entries"])

        with base_db.control_session() as session:
            before = session.scalar(select(func.count()).select_from(LedgerEntry))
        threads = [threading.Thread(target=books), threading.Thread(target=closes)]
        threads[0].start()
        assert booked.wait(30)
        threads[1].start()
        with base_db.control_session() as session:
            waiting = text(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            )
            deadline = datetime.now(UTC) + timedelta(seconds=30)
            while not session.scalar(waiting):
                assert datetime.now(UTC) < deadline, "the close did not wait"
        assert seen == []
        let_go.set()
        for thread in threads:
            thread.join(30)
        assert seen == [(before or 0) + 1]
