"""I1 and I7: each charge is made once and its outcome becomes known; also where it was reversed."""

from __future__ import annotations

from uuid import UUID

import pytest

from app.base import ids
from app.base.db import control_session
from invoices import (
    reversals,
)
from tests.cli.checks.books import ATTEMPT, Books, assert_named, check
from tests.factories import (
    NOW,
    make_staff,
)


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
