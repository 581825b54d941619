"""I4: credit, coupons and refunds are used once."""

from __future__ import annotations

import pytest

from app.base import ids
from tests.cli.checks.books import Books, TakenBack, assert_named, check


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
