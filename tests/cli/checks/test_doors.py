"""I15: whoever is past due or shut out for debts has one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from invoices import dunning_holds
from tenants import lifecycle
from tests.cli.checks.books import Books, assert_named, check
from tests.factories import NOW, make_staff

LATE = NOW + timedelta(days=settings().payment_term_days + 1)


def mark(books: Books) -> None:
    """The company whose invoice is open is past due, as long as it owes that."""
    with control_session() as session:
        lifecycle.mark_past_due(
            control_session=session, tenant_id=books.other_tenant, actor=SYSTEM, now=LATE
        )


class TestI15DoorsFollowDebts:
    @pytest.mark.parametrize(
        ("became", "words"),
        [
            ("state = 'past_due', past_due_at = now()", "past due, but nothing"),
            (
                "state = 'suspended', suspended_at = now(), suspend_reason = 'unpaid'",
                "shut out for debts, but nothing",
            ),
        ],
    )
    def test_names_a_company_that_paid_and_stands_outside(
        self, books: Books, became: str, words: str
    ) -> None:
        books.plant(f"UPDATE tenant SET {became} WHERE id = %(tenant)s", tenant=books.tenant)
        assert_named("I15", "tenant", books.tenant, words)

    def test_lets_a_debtor_be_until_the_debt_is_forgiven(self, books: Books) -> None:
        mark(books)
        assert "I15" not in check("--only", "I15")[1]
        books.plant(
            "INSERT INTO dunning_waiver (invoice_id, tenant_id, at, why, waived_by)"
            " VALUES (%(invoice)s, %(tenant)s, now(), 'x', %(staff)s)",
            invoice=books.open,
            tenant=books.other_tenant,
            staff=books.other_tenant,
        )
        assert_named("I15", "tenant", books.other_tenant, "past due, but nothing")

    def test_holds_after_finance_forgave_it(self, books: Books) -> None:
        mark(books)
        with control_session() as session:
            dunning_holds.forgive(
                control_session=session,
                invoice_id=books.open,
                why="our mistake",
                staff_id=make_staff(session, role="finance").id,
                now=LATE,
            )
        assert check("--only", "I15") == (0, {})
