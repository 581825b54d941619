"""I3 and I10: numbers run on and sums add up."""

from __future__ import annotations

from tests.cli.checks.books import Books, assert_named


class TestI3NumbersRunOn:
    def test_names_a_gap(self, books: Books) -> None:
        books.plant("UPDATE invoice SET number = number + 5 WHERE id = %(id)s", id=books.open)
        assert_named("I3", "number_series", "INV-2026", "numbers from")

    def test_names_numbers_that_were_taken_for_nothing(self, books: Books) -> None:
        books.plant("UPDATE number_series SET next_number = next_number + 1 WHERE series = 'INV'")
        assert_named("I3", "number_series", "INV-2026", "next number")


class TestI10SumsAddUp:
    def test_names_an_invoice_whose_lines_say_something_else(self, books: Books) -> None:
        books.plant(
            "UPDATE invoice_line SET amount_minor = amount_minor + 1 WHERE invoice_id = %(id)s",
            id=books.open,
        )
        assert_named("I10", "invoice", books.open, "lines")
