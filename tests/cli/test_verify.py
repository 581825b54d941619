"""`flask verify`: silent over honest bills, also where the tenant or the steps are gone."""

from __future__ import annotations

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.cli.verify import verify_command
from invoices import invoicing, statutory
from invoices.models import Invoice
from tests.cli.verified import AFTER, Bills, make_bills, verify
from tests.conftest import Scenario


@pytest.fixture
def bills(scenario: Scenario) -> Bills:
    return make_bills(scenario)


class TestHonestBills:
    def test_come_out_the_same(self, bills: Bills) -> None:
        assert verify("--all") == (
            0,
            {},
            {"invoices": 6, "different": 0, "apart": 0, "old_lines": 0},
        )

    def test_one_is_named_by_its_number(self, bills: Bills) -> None:
        result = CliRunner().invoke(verify_command, [bills.numbers[1].lower()])
        assert (result.exit_code, result.stdout.splitlines()[0]) == (0, f"{bills.numbers[1]} ok")

    def test_an_unknown_number_is_refused(self, bills: Bills) -> None:
        result = CliRunner().invoke(verify_command, ["INV-2026-999999"])
        assert (result.exit_code, "No issued invoice" in result.output) == (1, True)

    @pytest.mark.parametrize("arguments", [(), ("INV-2026-000001", "--all")])
    def test_one_or_all_must_be_asked_for(self, arguments: tuple[str, ...]) -> None:
        assert CliRunner().invoke(verify_command, arguments).exit_code == 2

    def test_a_voided_one_is_verified_with_its_booking_back(self, bills: Bills) -> None:
        with control_session() as session:
            invoicing.void(
                control_session=session,
                invoice_id=session.scalars(
                    select(Invoice.id).where(Invoice.number_text == bills.numbers[2])
                ).one(),
                reason="wrong company",
                actor=SYSTEM,
                now=AFTER,
            )
        assert verify("--all")[0] == 0
        bills.plant("DELETE FROM ledger_entry WHERE kind = 'void'")
        assert {what for _, what, _, _ in verify("--all")[1][bills.numbers[2]]} == {
            "ledger void receivable",
            "ledger void revenue",
            "ledger void vat_payable",
        }


class TestAnErasedTenant:
    """The buyer is set apart; the lines, what they were made from and the bookings are not."""

    @pytest.fixture(autouse=True)
    def erased(self, bills: Bills) -> None:
        with control_session() as session:
            statutory.set_apart(control_session=session, tenant_id=bills.tenant, now=AFTER)

    def test_is_verified_against_the_statutory_paper(self, bills: Bills) -> None:
        assert verify("--all") == (
            0,
            {},
            {"invoices": 6, "different": 0, "apart": 3, "old_lines": 0},
        )
        said = CliRunner().invoke(verify_command, [bills.numbers[0]]).stdout
        assert "the buyer is set apart" in said

    def test_names_a_paper_that_was_rewritten(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE statutory.paper SET data = jsonb_set(data, '{buyer,name}', '\"Other\"')"
            " WHERE number_text = %(number)s",
            number=bills.numbers[0],
        )
        (difference,) = verify("--all")[1][bills.numbers[0]]
        assert difference[1] == "content_sha256"

    def test_still_names_a_changed_reading(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE reading SET quantity = 17 WHERE tenant_id = %(tenant)s AND meter = 'seats'"
            " AND day = '2026-02-05'",
            tenant=bills.tenant,
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert named[0] == (2, "reading of seats on 2026-02-05", "17", "16")

    def test_says_when_the_paper_is_gone_too(self, bills: Bills) -> None:
        bills.plant("DELETE FROM statutory.paper WHERE kind = 'invoice'")
        code, named, counts = verify("--all")
        assert (code, named, counts["apart"]) == (0, {}, 3)
        said = CliRunner().invoke(verify_command, [bills.numbers[0]]).stdout
        assert "the paper are gone" in said


class TestALineFromBeforeSteps:
    """What an older engine wrote down is held to what it says, and nothing else is asked of it."""

    @pytest.fixture(autouse=True)
    def aged(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE invoice_line SET evidence = evidence - '{steps,units,aggregation}'::text[]"
            " || jsonb_build_object('rule', CASE charge WHEN 'seats' THEN 'peak_over_included'"
            " WHEN 'storage' THEN 'average_over_included' ELSE 'flat' END),"
            " name_en = replace(name_en, ' seats included', ' included')"
        )
        for number, named in verify("--all")[1].items():
            ((_, what, expected, _),) = named
            assert what == "content_sha256"
            bills.plant(
                "UPDATE invoice SET content_sha256 = %(sha)s WHERE number_text = %(number)s",
                sha=expected,
                number=number,
            )

    def test_is_verified_as_far_as_it_says(self, bills: Bills) -> None:
        code, named, counts = verify("--all")
        assert (code, named, counts["old_lines"]) == (0, {}, 14)
        assert "14 lines from before steps" in CliRunner().invoke(verify_command, ["--all"]).stdout

    def test_names_a_changed_reading(self, bills: Bills) -> None:
        bills.plant(
            "UPDATE reading SET quantity = 17 WHERE tenant_id = %(tenant)s AND meter = 'seats'"
            " AND day = '2026-02-05'",
            tenant=bills.tenant,
        )
        named = verify("--all")[1][bills.numbers[1]]
        assert named[0] == (2, "reading of seats on 2026-02-05", "17", "16")
        assert (2, "amount", "105000", "90000") in named
