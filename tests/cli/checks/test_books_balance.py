"""I2, I11 and I13: the ledger balances, is what gateways report, and stands for rows."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.base import ids
from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.money import Money
from app.cli.check import check_command
from invoices import (
    credit_grants,
    deferrals,
    reconciliation,
)
from invoices.gateways.port import SettlementKind, SettlementLine
from invoices.models import (
    CreditEnd,
    LedgerEntry,
    MonthClose,
    ReconciliationDifference,
)
from invoices.models import SettlementLine as Line
from tests.cli.checks.books import Books, TakenBack, assert_named, check, sent
from tests.factories import (
    NOW,
)


class TestI2TheBooksBalance:
    def test_names_an_entry_that_does_not_balance(self, books: Books) -> None:
        books.plant("UPDATE ledger_line SET debit_minor = debit_minor + 1 WHERE account = 'cash'")
        with control_session() as session:
            entry = session.scalars(
                select(LedgerEntry.id).where(LedgerEntry.cause_id == books.payment)
            ).one()
        assert_named("I2", "ledger_entry", entry, "debits")

    def test_names_an_issue_that_was_never_booked(self, books: Books) -> None:
        books.plant(
            "WITH gone AS (DELETE FROM ledger_entry WHERE cause_id = %(id)s RETURNING id)"
            " DELETE FROM ledger_line WHERE entry_id IN (SELECT id FROM gone)",
            id=books.open,
        )
        assert_named("I2", "invoice", books.open, "not in the ledger")


class TestI11TheReportIsTheLedger:
    @pytest.fixture
    def line(self, books: Books) -> UUID:
        """A line of the gateway's that stands for nothing of ours, with its fee."""
        won = {name: Money(amount, "KRW") for name, amount in
               {"gross": 50_000, "fee": 1_000, "fee_tax": 100, "net": 48_900}.items()}  # fmt: skip
        told = SettlementLine(
            line_id="mov_1", kind=SettlementKind.PAYMENT, booked_on=NOW.date(), **won
        )
        with control_session() as session:
            assert reconciliation.take(
                control_session=session, gateway="sandbox", told=told, now=NOW
            )
            return session.scalars(select(Line.id)).one()

    def test_names_a_line_whose_fee_is_not_in_the_ledger(self, books: Books, line: UUID) -> None:
        assert check() == (0, {})
        books.plant("DELETE FROM ledger_entry WHERE kind = 'fee'")
        assert_named("I11", "settlement_line", line, "the ledger says 50000")

    def test_names_a_difference_that_is_not_booked(self, books: Books, line: UUID) -> None:
        books.plant("DELETE FROM ledger_entry WHERE kind = 'difference'")
        assert_named("I11", "settlement_line", line, "the ledger says -1100")
        with control_session() as session:
            found = session.scalars(select(ReconciliationDifference.id)).one()
        assert_named("I11", "reconciliation_difference", found, "50000, but 0 is booked")

    def test_names_a_payment_that_the_gateway_never_told_of(self, books: Books) -> None:
        days = "INSERT INTO reconciliation_day (id, gateway, day, asked_at, done_at)"
        for back in (0, 10):
            books.plant(
                f"{days} VALUES (%(id)s, 'manual', %(day)s, %(at)s, %(at)s)",
                id=ids.uuid7(),
                day=NOW.date() + timedelta(days=back),
                at=NOW,
            )
        assert_named("I11", "payment", books.payment, "never told of it")

    def test_names_a_day_that_nobody_reconciled(self, books: Books) -> None:
        day = ids.uuid7()
        books.plant(
            "INSERT INTO reconciliation_day (id, gateway, day, asked_at)"
            " VALUES (%(id)s, 'sandbox', %(day)s, %(at)s)",
            id=day,
            day=NOW.date(),
            at=NOW - timedelta(days=900),
        )
        assert_named("I11", "reconciliation_day", day, "is not reconciled")


class TestI13AccountsStandForRows:
    @pytest.mark.parametrize("kind", ["credit_note", "refund", "write_off", "recognition"])
    def test_names_what_was_never_booked(
        self, books: Books, taken_back: TakenBack, kind: str
    ) -> None:
        sent(taken_back)
        with control_session() as session:
            deferrals.recognise(control_session=session, day=NOW.date(), now=NOW)
            causes = session.scalars(
                select(LedgerEntry.cause_id).where(LedgerEntry.kind == kind)
            ).all()
        books.plant(
            "WITH gone AS (DELETE FROM ledger_entry WHERE kind = %(kind)s RETURNING id)"
            " DELETE FROM ledger_line WHERE entry_id IN (SELECT id FROM gone)",
            kind=kind,
        )
        assert causes
        for cause in causes:
            assert_named("I13", kind, cause, "not in the ledger")

    def test_names_a_credit_whose_end_was_never_booked(self, books: Books) -> None:
        with control_session() as session:
            grant = credit_grants.grant(
                control_session=session,
                tenant_id=books.tenant,
                amount=Money(5_000, "KRW"),
                source="purchase",
                note="paid ahead",
                actor=SYSTEM,
                now=NOW,
            )
            credit_grants.revoke(
                control_session=session,
                grant_id=grant.id,
                reason="sent back",
                actor=SYSTEM,
                now=NOW,
            )
            end = session.scalars(select(CreditEnd.id)).one()
        assert check() == (0, {})
        books.plant(
            "WITH gone AS (DELETE FROM ledger_entry WHERE cause_id = %(id)s RETURNING id)"
            " DELETE FROM ledger_line WHERE entry_id IN (SELECT id FROM gone)",
            id=end,
        )
        assert_named("I13", "credit_end", end, "not in the ledger")

    def test_names_money_to_send_back_that_no_refund_stands_for(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant("UPDATE refund SET amount_minor = amount_minor - 1")
        assert_named("I13", "ledger", "refunds in KRW", "says 9000, its rows come to 8999")

    def test_names_an_invoice_that_is_open_by_another_amount(self, books: Books) -> None:
        books.plant("UPDATE invoice SET paid_minor = 9 WHERE id = %(id)s", id=books.open)
        assert_named("I13", "invoice", books.open, "208991 is open, but the ledger has 209000")

    def test_names_what_is_deferred_and_not_in_the_ledger(self, books: Books) -> None:
        books.plant(
            "UPDATE deferral SET amount_minor = amount_minor + 1 WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I13", "ledger", "deferred_revenue in KRW", "its rows come to 380001")

    def test_names_what_was_earned_too_fast(self, books: Books) -> None:
        books.plant(
            "UPDATE deferral SET recognised_minor = 7, recognised_on = starts_on"
            " WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I13", "ledger", "deferred_revenue in KRW", "its rows come to 379993")
        found = CliRunner().invoke(check_command, ["--only", "I13"]).stdout
        assert "7 of 190000 earned by 2026-03-10" in found

    def test_names_credit_that_the_ledger_does_not_owe(self, books: Books) -> None:
        books.plant(
            "INSERT INTO credit_grant (id, tenant_id, currency, amount_minor, used_minor, source,"
            " priority, granted_at, note, lapsed_minor, granted_by, paid_for) SELECT"
            " gen_random_uuid(), tenant_id, 'KRW', 5, 0, 'purchase', 1, now(), '', 0, '', true"
            " FROM invoice WHERE id = %(id)s",
            id=books.open,
        )
        assert_named("I13", "ledger", "credits in KRW", "says 0, its rows come to 5")

    def test_names_a_closed_month_that_kept_other_sums(self, books: Books) -> None:
        books.plant(
            "INSERT INTO month_close (id, month, closed_at, findings) SELECT uuidv7(),"
            " min(date_trunc('month', booked_on)), now(), '{\"balances\": []}' FROM ledger_entry"
        )
        with control_session() as session:
            close = session.scalars(select(MonthClose.id)).one()
        assert_named("I13", "month_close", close, "but the ledger has")
