"""`flask verify` names what was changed behind a bill: a reading, a price, a line, a booking."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from app.cli.verify import verify_command
from tests.cli.verified import LINE, Bills, make_bills, verify
from tests.conftest import Scenario


@pytest.fixture
def bills(scenario: Scenario) -> Bills:
    return make_bills(scenario)


class TestAPlantedChange:
    """Each is named with its invoice, its line and both values, and nothing else is."""

    def test_of_one_reading(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE reading SET quantity = 17 WHERE tenant_id = %(tenant)s AND meter = 'seats'"
            " AND day = '2026-02-05'",
            tenant=bills.tenant,
        )
        code, named, _ = verify("--all")
        assert code == 1
        assert list(named) == [bills.numbers[1]]
        first, *consequences = named[bills.numbers[1]]
        assert first == (2, "reading of seats on 2026-02-05", "17", "16")
        assert (2, "amount", "105000", "90000") in consequences
        assert {what for _, what, _, _ in consequences} <= {
            "quantity",
            "amount",
            "exact_minor",
            "steps",
        }

    def test_of_one_reading_that_changes_no_amount(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE reading SET quantity = 1 WHERE tenant_id = %(tenant)s AND meter = 'seats'"
            " AND day = '2026-02-04'",
            tenant=bills.tenant,
        )
        assert verify("--all")[1] == {
            bills.numbers[1]: [(2, "reading of seats on 2026-02-04", "1", "15")]
        }

    def test_of_what_a_reading_was_made_from(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE reading SET evidence_sha256 = repeat('0', 64) WHERE tenant_id = %(tenant)s"
            " AND meter = 'storage_gb_days' AND day = '2026-03-01'",
            tenant=bills.tenant,
        )
        (difference,) = verify("--all")[1][bills.numbers[2]]
        assert difference[:2] == (3, "reading hash")

    def test_of_a_reading_that_is_gone(self, bills: Bills) -> None:
        bills.plant(
            "DELETE FROM reading WHERE tenant_id = %(tenant)s AND meter = 'seats'"
            " AND day = '2026-02-05'",
            tenant=bills.tenant,
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert (2, "reading of seats on 2026-02-05", "nothing", "read when it was billed") in named
        assert "amount" not in {what for _, what, _, _ in named}

    def test_of_one_price(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE price SET unit_amount = unit_amount + 1 WHERE charge = 'storage'"
            " AND id IN (SELECT price_id FROM invoice_line)"
        )
        code, named, counts = verify("--all")
        assert (code, counts["different"]) == (1, 4)
        causes = [each for each in named[bills.numbers[1]] if each[1].startswith("price")]
        assert causes == [(3, "price unit_amount", "201", "200")]

    def test_of_what_a_price_includes(self, bills: Bills) -> None:
        bills.plant("UPDATE price SET included = included - 1 WHERE charge = 'seats'")
        named = verify("--all")[1][bills.numbers[1]]
        assert ("price included", "9", "10") in {each[1:] for each in named}

    def test_of_one_lines_amount(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE invoice_line l SET amount_minor = amount_minor - 100" + LINE,
            number=bills.numbers[1],
            charge="seats",
        )
        code, named, counts = verify("--all")
        assert (code, counts["different"]) == (1, 1)
        line, whole = named[bills.numbers[1]]
        assert line == (2, "amount", "90000", "89900")
        assert whole[:2] == (None, "content_sha256")

    def test_of_a_line_and_its_fingerprint_together(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE invoice_line l SET amount_minor = amount_minor - 100" + LINE,
            number=bills.numbers[1],
            charge="seats",
        )
        fingerprint = next(
            expected
            for _, what, expected, _ in verify("--all")[1][bills.numbers[1]]
            if what == "content_sha256"
        )
        bills.plant(
            "UPDATE invoice SET content_sha256 = %(sha)s WHERE number_text = %(number)s",
            sha=fingerprint,
            number=bills.numbers[1],
        )
        assert (2, "amount", "90000", "89900") in verify("--all")[1][bills.numbers[1]]

    def test_of_a_line_that_was_taken_away(self, bills: Bills) -> None:
        bills.plant(
            "DELETE FROM invoice_line l USING invoice i WHERE i.id = l.invoice_id"
            " AND i.number_text = %(number)s AND l.charge = 'seats'",
            number=bills.numbers[1],
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert (None, "line missing", "charge seats, 90000", "nothing") in named

    def test_of_a_line_that_was_added(self, bills: Bills) -> None:
        bills.plant(
            "INSERT INTO invoice_line (id, invoice_id, position, kind, charge, name_ko,"
            " name_en, period, quantity, unit_amount, amount_minor, tax_minor, price_id, evidence,"
            " readings_sha256) SELECT gen_random_uuid(), invoice_id, 9, l.kind, charge, name_ko,"
            " name_en, l.period, quantity, unit_amount, amount_minor, l.tax_minor, price_id,"
            " evidence, readings_sha256 FROM invoice_line l JOIN invoice i ON i.id = l.invoice_id"
            " WHERE i.number_text = %(number)s AND l.charge = 'seats'",
            number=bills.numbers[1],
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert (9, "line without a cause", "nothing", "charge seats, 90000") in named

    def test_of_the_lines_order(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE invoice_line l SET position = l.position + CASE l.charge"
            " WHEN 'seats' THEN 10 ELSE 0 END FROM invoice i WHERE i.id = l.invoice_id"
            " AND i.number_text = %(number)s",
            number=bills.numbers[1],
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert {each[1] for each in named} == {"position", "tax", "content_sha256"}

    def test_of_an_items_price(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE subscription_item SET price_id = (SELECT p.id FROM price p JOIN plan_version v"
            " ON v.id = p.plan_version_id WHERE v.plan_code = 'studio' AND v.currency = 'KRW'"
            " AND p.charge = 'base') WHERE charge = 'base' AND subscription_id IN"
            " (SELECT subscription_id FROM invoice WHERE number_text = %(number)s)",
            number=bills.numbers[0],
        )
        named = verify("--all")[1][bills.numbers[0]]
        assert "item price" in {what for _, what, _, _ in named}

    def test_of_an_items_beginning(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE subscription_item SET starts_at = starts_at + interval '2 days'"
            " WHERE charge = 'base' AND subscription_id IN"
            " (SELECT subscription_id FROM invoice WHERE number_text = %(number)s)",
            number=bills.numbers[0],
        )
        named = verify("--all")[1]
        assert named == {
            bills.numbers[0]: [
                (
                    1,
                    "item starts_at",
                    "2026-02-01T15:00:00+00:00",
                    "2026-01-30T15:00:00+00:00",
                )
            ]
        }

    @pytest.mark.parametrize("column", ["subtotal", "total"])
    def test_of_one_total(self, bills: Bills, column: str) -> None:
        bills.plant(
            "UPDATE invoice SET subtotal_minor = subtotal_minor + 10,"
            " total_minor = total_minor + 10 WHERE number_text = %(number)s",
            number=bills.numbers[0],
        )
        code, named, counts = verify(bills.numbers[0])
        assert (code, counts["different"]) == (1, 1)
        right = {"subtotal": "190000", "total": "209000"}[column]
        assert (None, column, right, str(int(right) + 10)) in named[bills.numbers[0]]

    def test_of_the_tax(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE invoice_line l SET tax_minor = l.tax_minor - 1" + LINE,
            number=bills.numbers[0],
            charge="base",
        )
        named = verify("--all")[1][bills.numbers[0]]
        assert named[0] == (1, "tax", "19000", "18999")

    def test_of_the_booking(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE ledger_line SET credit_minor = credit_minor - 5 WHERE account = 'revenue'"
            " AND entry_id = (SELECT e.id FROM ledger_entry e JOIN invoice i ON i.id = e.cause_id"
            " WHERE i.number_text = %(number)s)",
            number=bills.numbers[0],
        )
        assert verify("--all")[1] == {
            bills.numbers[0]: [
                (
                    None,
                    "ledger issue revenue",
                    "debit 0, credit 190000",
                    "debit 0, credit 189995",
                )
            ]
        }

    def test_of_the_buyer_is_known_by_the_fingerprint(self, bills: Bills) -> None:
        bills.plant(
            'UPDATE invoice SET buyer = buyer || \'{"name": "Other"}\''
            " WHERE number_text = %(number)s",
            number=bills.numbers[0],
        )
        (difference,) = verify("--all")[1][bills.numbers[0]]
        assert difference[1] == "content_sha256"

    def test_is_said_in_words(self, bills: Bills) -> None:
        bills.plant("UPDATE reading SET quantity = 17 WHERE day = '2026-02-05' AND meter = 'seats'")
        said = CliRunner().invoke(verify_command, ["--all"]).stdout
        assert f"{bills.numbers[1]} DIFFERS: what it was made from was changed" in said
        assert "line 2, reading of seats on 2026-02-05: expected 17, found 16" in said
        assert "6 invoices verified, 2 differ" in said
