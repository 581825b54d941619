"""Each invariant of `flask check`: silent over honest books, and naming the violation planted."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import pytest
from click.testing import CliRunner
from psycopg import sql
from sqlalchemy import select

from app.base import files, ids
from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from app.base.money import Money
from app.cli.check import all_invariants, check_command
from invoices import (
    credit_grants,
    credit_notes,
    deferrals,
    evidence,
    paper_files,
    reconciliation,
    refund_queue,
    reversals,
    tax_amendments,
    transfers,
    write_offs,
)
from invoices.documents.papers import Amendment
from invoices.gateways.port import SettlementKind, SettlementLine
from invoices.models import (
    CreditEnd,
    CreditGrant,
    LedgerEntry,
    ReconciliationDifference,
    Refund,
    TaxInvoice,
)
from invoices.models import SettlementLine as Line
from jobs import rollups
from tenants import meters
from tests.conftest import Scenario, administrator
from tests.factories import (
    NOW,
    make_admin,
    make_application,
    make_card,
    make_invoice,
    make_staff,
    make_tenant,
)
from tests.invoices.issuing import issue
from tests.tenants.counting import all_kinds, generate, store


@dataclass
class Books:
    """Honest books: two tenants, an invoice of each; the first is paid by bank transfer."""

    scenario: Scenario
    paid: UUID
    open: UUID
    payment: UUID
    tenant: UUID
    other_tenant: UUID
    card: UUID

    def plant(self, statement: str, **values: object) -> None:
        """Do as the superuser what triggers and foreign keys refuse to everybody else."""
        with administrator(self.scenario.database) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(statement, values)  # type: ignore[arg-type]

    def unguard(self, table: str, constraint: str) -> None:
        """Drop what would make a second row impossible, for violations that a bug can't make."""
        with administrator(self.scenario.database) as connection:
            known = connection.execute(
                "SELECT 1 FROM pg_constraint WHERE conname = %s", (constraint,)
            ).fetchone()
            what = (
                sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(
                    sql.Identifier(table), sql.Identifier(constraint)
                )
                if known
                else sql.SQL("DROP INDEX {}").format(sql.Identifier(constraint))
            )
            connection.execute(what)


@pytest.fixture
def books(scenario: Scenario) -> Books:
    with control_session() as session:
        first, second = make_tenant(session, state="active"), make_tenant(session, state="active")
        paid = make_invoice(session, tenant=first)
        open_ = make_invoice(session, tenant=second)
        card = make_card(session, tenant=second)
        payment = transfers.record_transfer(
            control_session=session,
            invoice_id=paid.id,
            amount=Money(paid.total_minor, paid.currency),
            payer="대한설계",
            paid_on=NOW.date(),
            staff_id=make_staff(session, role="finance").id,
            now=NOW,
        )
        session.flush()
        return Books(scenario, paid.id, open_.id, payment.id, first.id, second.id, card.id)


@dataclass
class TakenBack:
    """Of the paid invoice 9 000 goes back and 1 000 is kept as credit; the open one is given up."""

    note: UUID
    kept: UUID
    refund: UUID
    given_up: UUID


@pytest.fixture
def taken_back(books: Books) -> TakenBack:
    with control_session() as session:
        finance = make_staff(session, role="finance").id
        note, kept = (
            credit_notes.issue(
                control_session=session,
                invoice_id=books.paid,
                amount=Money(amount, "KRW"),
                keep=keep,
                reason="wrong seats",
                staff_id=finance,
                now=NOW,
            ).id
            for amount, keep in ((9_000, False), (1_000, True))
        )
        refund = session.scalars(select(Refund.id)).one()
        given_up = write_offs.write_off(
            control_session=session,
            invoice_id=books.open,
            reason="insolvent",
            staff_id=finance,
            now=NOW,
        )
        return TakenBack(note, kept, refund, given_up.id)


def check(*arguments: str) -> tuple[int, dict[str, list[tuple[str, str, str]]]]:
    """Run the command; what it names, by code."""
    result = CliRunner().invoke(check_command, ["--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    named: dict[str, list[tuple[str, str, str]]] = {}
    for line in result.stdout.splitlines():
        for offence in json.loads(line)["offences"]:
            named.setdefault(offence["invariant"], []).append(
                (offence["kind"], offence["id"], offence["wrong"])
            )
    return result.exit_code, named


def sent(taken_back: TakenBack) -> None:
    """Finance sends the money back from our own bank."""
    with control_session() as session:
        refund_queue.declare_sent(
            control_session=session,
            refund_id=taken_back.refund,
            why="bank receipt",
            actor=SYSTEM,
            now=NOW,
        )


def assert_named(code: str, kind: str, row_id: object, words: str) -> None:
    exit_code, named = check()
    assert exit_code == 1
    assert any(
        (kind, str(row_id)) == offence[:2] and words in offence[2]
        for offence in named.get(code, [])
    ), named


ATTEMPT = """
    INSERT INTO payment_attempt (id, state, tenant_id, invoice_id, attempt_number, method_id,
        gateway, idempotency_key, order_id, amount_minor, currency, key_expires_at, begun_at,
        gateway_payment_id)
    SELECT %(id)s, %(state)s, tenant_id, id, %(number)s, %(method)s, 'sandbox', %(id)s::text,
        %(id)s::text, total_minor, currency, %(at)s, %(at)s, %(id)s::text
    FROM invoice WHERE id = %(invoice)s
"""


class TestHonestBooks:
    def test_break_nothing(self, books: Books) -> None:
        assert check() == (0, {})

    def test_list_names_every_invariant(self) -> None:
        listed = CliRunner().invoke(check_command, ["--list"]).stdout
        codes = {line.split()[0] for line in listed.splitlines()}
        assert codes == {
            "I1",
            "I2",
            "I3",
            "I4",
            "I5",
            "I7",
            "I8",
            "I9",
            "I10",
            "I11",
            "I12",
            "I13",
            "I14",
            "M1",
        }
        assert len(listed.splitlines()) == len(all_invariants())

    def test_an_unknown_code_is_refused(self) -> None:
        assert CliRunner().invoke(check_command, ["--only", "I99"]).exit_code == 1


class TestI1ChargedOnce:
    def test_names_a_second_successful_charge(self, books: Books) -> None:
        books.unguard("payment_attempt", "uq_payment_attempt_succeeded")
        for number in (1, 2):
            books.plant(
                ATTEMPT,
                id=ids.uuid7(),
                state="succeeded",
                number=number,
                method=books.card,
                at=NOW,
                invoice=books.open,
            )
        assert_named("I1", "invoice", books.open, "2 charges succeeded")

    def test_names_a_charge_without_a_payment_of_ours(self, books: Books) -> None:
        attempt = ids.uuid7()
        books.plant(
            ATTEMPT,
            id=attempt,
            state="succeeded",
            number=1,
            method=books.card,
            at=NOW,
            invoice=books.open,
        )
        assert_named("I1", "payment_attempt", attempt, "no payment is written down")

    def test_names_a_payment_of_another_amount(self, books: Books) -> None:
        books.plant("UPDATE payment SET settled_minor = settled_minor - 1")
        assert_named("I1", "invoice", books.paid, "but payments settle 208999")
        assert_named("I1", "payment", books.payment, "1 of it settled nothing, but 0 is kept")

    def test_names_a_payment_in_another_currency(self, books: Books) -> None:
        books.plant("UPDATE payment SET currency = 'USD'")
        assert_named("I1", "payment", books.payment, "in USD, for an invoice in KRW")

    def test_names_an_invoice_that_is_paid_by_nothing(self, books: Books) -> None:
        books.plant(
            "UPDATE invoice SET state = 'paid', paid_at = now(), paid_minor = total_minor"
            " WHERE id = %(id)s",
            id=books.open,
        )
        assert_named("I1", "invoice", books.open, "but payments settle 0")

    def test_names_an_invoice_that_is_closed_too_early(self, books: Books) -> None:
        books.plant("ALTER TABLE invoice DROP CONSTRAINT ck_invoice_settled")
        books.plant("UPDATE invoice SET paid_minor = 1 WHERE id = %(id)s", id=books.paid)
        assert_named("I1", "invoice", books.paid, "paid, but 1 of 209000 are settled")

    def test_names_a_charge_that_only_the_gateway_knows(self, books: Books) -> None:
        event = ids.uuid7()
        books.plant(
            "INSERT INTO gateway_event (id, gateway, event_id, kind, trust, order_id, received_at,"
            " applied_at) VALUES (%(id)s, 'sandbox', 'e1', 'payment_succeeded', 'signed', 'o-none',"
            " now(), now())",
            id=event,
        )
        assert_named("I1", "gateway_event", event, "no row of ours")


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


class TestI3NumbersRunOn:
    def test_names_a_gap(self, books: Books) -> None:
        books.plant("UPDATE invoice SET number = number + 5 WHERE id = %(id)s", id=books.open)
        assert_named("I3", "number_series", "INV-2026", "numbers from")

    def test_names_numbers_that_were_taken_for_nothing(self, books: Books) -> None:
        books.plant("UPDATE number_series SET next_number = next_number + 1 WHERE series = 'INV'")
        assert_named("I3", "number_series", "INV-2026", "next number")


class TestI4CreditIsUsedOnce:
    def test_names_a_credit_that_says_more_was_used_than_was(self, books: Books) -> None:
        grant = ids.uuid7()
        books.plant(
            "INSERT INTO credit_grant (id, tenant_id, currency, amount_minor, used_minor, source,"
            " priority, granted_at, note, lapsed_minor, granted_by) SELECT %(id)s, tenant_id,"
            " currency, 5000, 5000, 'promotion', 100, now(), '', 0, '' FROM invoice"
            " WHERE id = %(invoice)s",
            id=grant,
            invoice=books.open,
        )
        assert_named("I4", "credit_grant", grant, "5000 used, but its uses come to 0")

    def test_says_nothing_of_what_is_taken_back_in_order(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        assert check() == (0, {})

    def test_names_a_payment_that_went_back_twice(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant("UPDATE refund SET amount_minor = 209001")
        assert_named("I4", "payment", books.payment, "209001 is refunded of 209000")

    def test_names_an_invoice_of_which_more_is_taken_back_than_it_asked(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant(
            "UPDATE credit_note SET refund_minor = refund_minor + 200000,"
            " subtotal_minor = subtotal_minor + 200000, total_minor = total_minor + 200000"
            " WHERE id = %(id)s",
            id=taken_back.note,
        )
        assert_named("I4", "invoice", books.paid, "210000 is credited of 209000")

    def test_names_an_invoice_of_which_more_tax_is_taken_back_than_it_had(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant(
            "UPDATE credit_note SET subtotal_minor = subtotal_minor - 19000,"
            " tax_minor = tax_minor + 19000 WHERE id = %(id)s",
            id=taken_back.note,
        )
        assert_named("I4", "invoice", books.paid, "is credited of")

    @pytest.mark.parametrize(
        ("column", "words"),
        [
            ("credited_minor", "5 is credited of what was owed, but notes say 0"),
            ("written_off_minor", "5 is written off, but the write-off says 0"),
        ],
    )
    def test_names_a_debt_that_nothing_made_smaller(
        self, books: Books, column: str, words: str
    ) -> None:
        books.plant(f"UPDATE invoice SET {column} = 5 WHERE id = %(id)s", id=books.open)
        assert_named("I4", "invoice", books.open, words)

    def test_names_money_that_was_promised_and_is_not_sent(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant("DELETE FROM refund")
        assert_named(
            "I4", "credit_note", taken_back.note, "9000 is to be sent back, but 0 is on its way"
        )

    def test_names_credit_that_was_promised_and_is_not_there(
        self, books: Books, taken_back: TakenBack
    ) -> None:
        books.plant("DELETE FROM credit_grant WHERE credit_note_id = %(id)s", id=taken_back.kept)
        assert_named("I4", "credit_note", taken_back.kept, "but 0 is on its way")


class TestI5BilledOnce:
    SPAN = """
        INSERT INTO billed_span
            (id, subscription_id, item_id, kind, span, invoice_id, line_id, state)
        SELECT %(id)s, b.subscription_id, b.item_id, b.kind,
            tstzrange(lower(b.span) + %(later)s::interval, upper(b.span) + %(later)s::interval),
            b.invoice_id, b.line_id, 'billed'
        FROM billed_span b JOIN subscription_item i ON i.id = b.item_id
        WHERE b.invoice_id = %(invoice)s AND i.charge = 'base' LIMIT 1
    """

    def test_names_a_period_billed_twice(self, books: Books) -> None:
        books.unguard("billed_span", "ex_billed_span_once")
        span = ids.uuid7()
        books.plant(self.SPAN, id=span, later="3 days", invoice=books.open)
        assert_named("I5", "billed_span", span, "overlaps another")

    def test_names_a_month_that_nobody_billed(self, books: Books) -> None:
        span = ids.uuid7()
        books.plant(self.SPAN, id=span, later="2 months", invoice=books.open)
        assert_named("I5", "billed_span", span, "nothing is billed from")


class TestI7NothingStaysUnknown:
    @pytest.mark.parametrize("state", ["open", "unknown"])
    def test_names_a_charge_without_an_outcome(self, books: Books, state: str) -> None:
        attempt = ids.uuid7()
        books.plant(
            ATTEMPT,
            id=attempt,
            state=state,
            number=1,
            method=books.card,
            at=NOW.replace(year=2020),
            invoice=books.open,
        )
        assert_named("I7", "payment_attempt", attempt, f"{state} since")


class TestAReversedPayment:
    def reversed_(self, books: Books) -> UUID:
        """The first invoice's payment is taken back: it is owed again."""
        with control_session() as session:
            return reversals.take_back(
                control_session=session,
                payment_id=books.payment,
                reason="it bounced",
                staff_id=make_staff(session, role="finance").id,
                now=NOW,
            ).id

    def test_breaks_nothing(self, books: Books) -> None:
        self.reversed_(books)
        assert check() == (0, {})

    @pytest.mark.parametrize(
        ("code", "kind", "planted", "words"),
        [
            (
                "I1",
                "payment_reversal",
                "UPDATE payment_reversal SET amount_minor = 1 WHERE id = %(id)s",
                "1 of a payment by transfer over 209000",
            ),
            (
                "I2",
                "ledger_entry",
                "UPDATE ledger_line SET place = 'sandbox' WHERE account = 'cash'"
                " AND credit_minor > 0",
                "does not undo what its payment booked",
            ),
            (
                "I4",
                "credit_grant",
                "INSERT INTO credit_grant (id, tenant_id, currency, amount_minor, used_minor,"
                " lapsed_minor, source, priority, granted_at, granted_by, note, paid_for,"
                " payment_id) SELECT id, tenant_id, currency, 5, 0, 0, 'overpayment', 0, paid_at,"
                " '', '', true, id FROM payment",
                "its payment was taken back",
            ),
            (
                "I4",
                "payment",
                "INSERT INTO refund (id, state, tenant_id, credit_note_id, payment_id, gateway,"
                " gateway_payment_id, amount_minor, currency, idempotency_key, asked_at, attempts)"
                " SELECT id, 'due', tenant_id, id, id, gateway, 'x', 1, currency, 'x', paid_at, 0"
                " FROM payment",
                "taken back, and yet to be refunded",
            ),
            (
                "I12",
                "payment_reversal",
                "UPDATE payment_reversal SET tenant_id = %(other)s WHERE id = %(id)s",
                "belongs to another tenant than its payment",
            ),
            (
                "I13",
                "payment_reversal",
                "DELETE FROM ledger_entry WHERE cause_id = %(id)s",
                "not in the ledger",
            ),
        ],
    )
    def test_that_was_tampered_with_is_named(
        self, books: Books, code: str, kind: str, planted: str, words: str
    ) -> None:
        row = self.reversed_(books)
        books.plant(planted, id=row, other=books.other_tenant)
        _, named = check()
        assert any(kind == found[0] and words in found[2] for found in named.get(code, [])), named


class TestI8IssuedPapersAreUnchanged:
    def test_names_an_invoice_whose_buyer_was_rewritten(self, books: Books) -> None:
        books.plant(
            'UPDATE invoice SET buyer = buyer || \'{"name": "Other"}\' WHERE id = %(id)s',
            id=books.open,
        )
        assert_named("I8", "invoice", books.open, "not what was issued")

    def test_names_a_line_that_was_rewritten(self, books: Books) -> None:
        books.plant(
            "UPDATE invoice_line SET name_en = 'Free of charge' WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I8", "invoice", books.open, "not what was issued")

    def test_names_a_paper_whose_file_is_gone(self, books: Books) -> None:
        books.plant(
            "UPDATE document SET state = 'ready', sha256 = repeat('0', 64)"
            " WHERE subject_id = %(id)s AND language = 'ko'",
            id=books.open,
        )
        with administrator(books.scenario.database) as connection:
            row = connection.execute(
                "SELECT id FROM document WHERE subject_id = %s AND language = 'ko'", (books.open,)
            ).fetchone()
        assert row is not None
        assert_named("I8", "document", row[0], "file is gone")

    def test_names_a_guard_that_was_switched_off(self, books: Books) -> None:
        books.plant("ALTER TABLE invoice DISABLE TRIGGER invoice_is_frozen")
        assert_named("I8", "trigger", "invoice_is_frozen", "off or missing on invoice")


class TestI9OneTenantForEachApproval:
    def test_names_an_approval_that_made_no_tenant(self, books: Books) -> None:
        with control_session() as session:
            application = make_application(session, state="approved")
        assert_named("I9", "application", application.id, "no tenant came of it")

    def test_names_a_tenant_of_a_rejected_application(self, books: Books) -> None:
        with control_session() as session:
            application = make_application(session, state="rejected")
            tenant = make_tenant(session, application_id=application.id)
        assert_named("I9", "tenant", tenant.id, "is rejected, not approved")

    def test_names_a_tenant_on_trial_without_a_database(self, books: Books) -> None:
        with control_session() as session:
            application = make_application(session, state="approved")
            tenant = make_tenant(session, application_id=application.id)
        assert_named("I9", "tenant", tenant.id, "it has no database")


class TestI10SumsAddUp:
    def test_names_an_invoice_whose_lines_say_something_else(self, books: Books) -> None:
        books.plant(
            "UPDATE invoice_line SET amount_minor = amount_minor + 1 WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I10", "invoice", books.open, "lines")


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


class TestI12NothingCrossesTenants:
    @pytest.mark.parametrize(
        ("table", "where", "words"),
        [
            ("payment", "id = %(payment)s", "another tenant than its invoice"),
            ("document", "subject_id = %(paid)s AND language = 'ko'", "than its invoice"),
            ("ledger_entry", "cause_id = %(payment)s", "another tenant than its payment"),
        ],
    )
    def test_names_a_row_that_points_across(
        self, books: Books, table: str, where: str, words: str
    ) -> None:
        values = {"payment": books.payment, "paid": books.paid, "tenant": books.other_tenant}
        books.plant(f"UPDATE {table} SET tenant_id = %(tenant)s WHERE {where}", **values)
        with administrator(books.scenario.database) as connection:
            row = connection.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone()  # type: ignore[arg-type]
        assert row is not None
        assert_named("I12", table, row[0], words)

    def test_names_a_portal_session_of_another_tenant(self, books: Books) -> None:
        with control_session() as session:
            admin = make_admin(session, tenant=make_tenant(session))
        books.plant(
            "INSERT INTO web_session (id_hash, audience, user_id, tenant_id, data, created_at,"
            " seen_at, expires_at, absolute_expires_at) VALUES (repeat('a', 64), 'portal',"
            " %(user)s, %(tenant)s, '{}', now(), now(), now(), now())",
            user=admin.id,
            tenant=books.tenant,
        )
        assert_named("I12", "web_session", "a" * 12, "another tenant than its user")

    @pytest.mark.parametrize(
        ("table", "where", "words"),
        [
            ("credit_note", "id = %(note)s", "than its invoice"),
            ("credit_grant", "credit_note_id = %(kept)s", "than its credit_note"),
            ("refund", "id = %(refund)s", "than its credit_note"),
            ("refund", "id = %(refund)s", "than its payment"),
            ("write_off", "id = %(given_up)s", "than its invoice"),
            ("deferral", "invoice_id = %(open)s", "than its invoice"),
            ("document", "subject_id = %(note)s AND language = 'ko'", "than its credit_note"),
            ("ledger_entry", "cause_id = %(note)s", "than its credit_note"),
            ("ledger_entry", "cause_id = %(refund)s", "than its refund"),
            ("ledger_entry", "cause_id = %(given_up)s", "than its write_off"),
        ],
    )
    def test_names_money_back_that_points_across(
        self, books: Books, taken_back: TakenBack, table: str, where: str, words: str
    ) -> None:
        sent(taken_back)
        values = {**vars(taken_back), "open": books.open}
        with administrator(books.scenario.database) as connection:
            row = connection.execute(
                f"SELECT id, tenant_id FROM {table} WHERE {where}",  # type: ignore[arg-type]
                values,
            ).fetchone()
        assert row is not None
        other = books.tenant if row[1] == books.other_tenant else books.other_tenant
        books.plant(f"UPDATE {table} SET tenant_id = %(to)s WHERE id = %(id)s", to=other, id=row[0])
        assert_named("I12", table, row[0], words)

    def test_names_what_was_paid_too_much_by_another_tenant(self, books: Books) -> None:
        with control_session() as session:
            payment = transfers.record_transfer(
                control_session=session,
                invoice_id=books.open,
                amount=Money(300_000, "KRW"),
                payer="대한설계",
                paid_on=NOW.date(),
                staff_id=make_staff(session, role="finance").id,
                now=NOW,
            ).id
            grant = session.scalars(
                select(CreditGrant.id).where(CreditGrant.payment_id == payment)
            ).one()
        books.plant(
            "UPDATE credit_grant SET tenant_id = %(to)s WHERE id = %(id)s",
            to=books.tenant,
            id=grant,
        )
        assert_named("I12", "credit_grant", grant, "than its payment")


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


class TestM1RollupsAreWhatTheEventsComeTo:
    def test_names_a_tenant_and_hour_that_was_rolled_up_wrong(self, books: Books) -> None:
        with control_session() as session:
            meters.declare(control_session=session, definitions=all_kinds(), actor=SYSTEM, now=NOW)
        with usage_session() as usage:
            start = NOW - timedelta(days=2)
            made = generate(random.Random(1), tenants=[books.tenant], start=start, end=NOW, n=99)
            store(usage, made)
        while rollups.STEP.work():
            pass
        assert check("--only", "M1") == (0, {})
        books.plant("UPDATE usage_rollup SET events = events + 1 WHERE meter = 'units'")
        assert_named("M1", "tenant", books.tenant, "units v1 [] of 2026-03")


class TestI14OneEvidenceForASupply:
    def issued(self, books: Books) -> TaxInvoice:
        """The paid supply's tax invoice, issued here."""
        with control_session() as session:
            assert evidence.choose(control_session=session, invoice_id=books.paid, now=NOW)
            row = session.scalars(select(TaxInvoice)).one()
            issue(session, row)
            return row

    def test_says_nothing_of_an_amended_one(self, books: Books) -> None:
        row = self.issued(books)
        with control_session() as session:
            sheets = tax_amendments.amend(
                control_session=session,
                tax_invoice_id=row.id,
                amendment=Amendment.ISSUED_TWICE,
                reason="issued elsewhere too",
                actor=SYSTEM,
                now=NOW,
            )
            issue(session, *sheets)
        assert check() == (0, {})

    def test_names_a_second_evidence(self, books: Books) -> None:
        row = self.issued(books)
        books.unguard("vat_evidence", "uq_vat_evidence_invoice_id")
        books.plant(
            "INSERT INTO vat_evidence (id, tenant_id, invoice_id, kind, chosen_at)"
            " SELECT uuidv7(), tenant_id, invoice_id, kind, chosen_at FROM vat_evidence"
        )
        assert_named("I14", "vat_evidence", row.evidence_id, "2 evidences for one supply")

    def test_names_a_tax_invoice_beside_a_card_slip(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "UPDATE vat_evidence SET kind = 'card_slip', payment_id = %(payment)s",
            payment=books.payment,
        )
        assert_named("I14", "tax_invoice", row.id, "is a card_slip")

    def test_names_an_evidence_without_its_paper(self, books: Books) -> None:
        row = self.issued(books)
        books.plant("DELETE FROM tax_invoice")
        assert_named("I14", "vat_evidence", row.evidence_id, "there is no such paper")

    def test_names_one_that_nothing_amended(self, books: Books) -> None:
        row = self.issued(books)
        books.plant("UPDATE tax_invoice SET state = 'amended'")
        assert_named("I14", "tax_invoice", row.id, "no amendment of it is issued")

    def test_names_amendments_over_more_than_there_was(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "INSERT INTO tax_invoice (id, evidence_id, tenant_id, invoice_id, state, issuer,"
            " management_key, serial, purpose, written_on, created_at, supply_minor, tax_minor,"
            " total_minor, data, content_sha256, amends_id, amendment)"
            " SELECT uuidv7(), evidence_id, tenant_id, invoice_id, 'due', issuer, 'another', 1,"
            " purpose, written_on, created_at, -2 * supply_minor, -2 * tax_minor,"
            " -2 * total_minor, data, content_sha256, id, '02' FROM tax_invoice"
        )
        assert_named("I14", "tax_invoice", row.id, f"leave {-row.total_minor} of it")

    def test_i8_names_signed_xml_that_is_gone(self, books: Books) -> None:
        row = self.issued(books)
        files.delete(prefix=paper_files.prefix_of(row.tenant_id), sha256=str(row.xml_sha256))
        assert_named("I8", "tax_invoice", row.id, "file is gone")

    def test_i7_names_one_whose_fate_is_unknown_for_a_day(self, books: Books) -> None:
        row = self.issued(books)
        books.plant(
            "UPDATE tax_invoice SET state = 'due', issue_id = NULL, issued_at = NULL,"
            " xml_sha256 = NULL, asked_at = now() - interval '25 hours'"
        )
        assert_named("I7", "tax_invoice", row.id, "not known since")
