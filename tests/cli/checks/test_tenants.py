"""I9 and I12: one tenant for each approval, and nothing crosses from one to another."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.base.db import control_session
from app.base.money import Money
from invoices import (
    transfers,
)
from invoices.models import (
    CreditGrant,
)
from tests.cli.checks.books import Books, TakenBack, assert_named, sent
from tests.conftest import administrator
from tests.factories import (
    NOW,
    make_admin,
    make_application,
    make_staff,
    make_tenant,
)


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
