"""`flask verify`: silent over honest bills, and naming what was changed behind one."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from app.base.money import Money
from app.cli.verify import verify_command
from invoices import catalogue, changes, coupons, credit_grants, invoicing, statutory
from invoices.charges import Charge
from invoices.discounts import Coupon
from invoices.models import Invoice, InvoiceLine
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import meters
from tests.conftest import Scenario, administrator
from tests.factories import NOW, make_readings, make_subscription, make_tenant
from tests.tenants.counting import Used, meter, store

START = date(2026, 1, 31)
AFTER = datetime(2026, 4, 1, 3, 0, tzinfo=UTC)


@dataclass
class Bills:
    """Two tenants with three bills each: the first ahead, the others with what was used."""

    scenario: Scenario
    tenant: UUID
    numbers: list[str]

    def plant(self, statement: str, **values: object) -> None:
        """Change as the superuser what triggers refuse to everybody else."""
        with administrator(self.scenario.database) as connection:
            connection.execute("SET session_replication_role = replica")
            done = connection.execute(statement, values)  # type: ignore[arg-type]
            assert done.rowcount > 0, "nothing was planted"


def bill(subscription_id: UUID, now: datetime) -> None:
    with control_session() as session:
        outcome = invoicing.bill(
            control_session=session, subscription_ids=[subscription_id], now=now
        )
        assert not outcome.blocked


@pytest.fixture
def bills(scenario: Scenario) -> Bills:
    with control_session() as session:
        subscriptions = []
        for _ in range(2):
            subscription = make_subscription(session, starts_on=START, now=NOW)
            make_readings(
                session,
                tenant_id=subscription.tenant_id,
                start=START,
                end=date(2026, 4, 30),
                seats=[14 + day % 3 for day in range(89)],
                gigabytes=Decimal("337.5"),
            )
            subscriptions.append(subscription)
    for subscription in subscriptions:
        bill(subscription.id, AFTER)
    with control_session() as session:
        numbers = session.scalars(
            select(Invoice.number_text)
            .where(Invoice.tenant_id == subscriptions[0].tenant_id)
            .order_by(Invoice.supplied_on)
        ).all()
    assert len(numbers) == 3
    return Bills(scenario, subscriptions[0].tenant_id, [str(number) for number in numbers])


def verify(*arguments: str) -> tuple[int, dict[str, list[tuple[int | None, str, str, str]]], Any]:
    """Run the command: its end, what differs by invoice, and its counts."""
    result = CliRunner().invoke(verify_command, ["--json", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    *verdicts, counts = (json.loads(line) for line in result.stdout.splitlines())
    return (
        result.exit_code,
        {
            verdict["number"]: [
                (each["line"], each["what"], each["expected"], each["found"])
                for each in verdict["differences"]
            ]
            for verdict in verdicts
            if verdict["differences"]
        },
        counts,
    )


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


LINE = (
    " FROM invoice i WHERE i.id = l.invoice_id AND i.number_text = %(number)s"
    " AND l.charge = %(charge)s"
)


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


RICH = PlanTerms(
    plan_code="rich",
    position=9,
    currency="KRW",
    name_ko="모두",
    name_en="Rich",
    seats_max=100,
    storage_bytes_max=10**12,
    charges=(
        Charge(
            code="base",
            name_ko="기본료",
            name_en="Base",
            pricing=Pricing(model="flat", unit_amount=Decimal(31_000)),
        ),
        Charge(
            code="licences",
            name_ko="라이선스",
            name_en="Licences",
            pricing=Pricing(model="per_unit", unit_amount=Decimal("3100.7")),
            proration="second",
        ),
        Charge(
            code="seats",
            name_ko="사용자",
            name_en="Seats",
            timing="arrears",
            meter="seats",
            aggregation="peak",
            pricing=Pricing(
                model="graduated",
                tiers=(
                    Tier(up_to=Decimal(10), unit_amount=Decimal(1000)),
                    Tier(up_to=None, unit_amount=Decimal(700), flat_amount=Decimal(500)),
                ),
            ),
        ),
        Charge(
            code="minimum",
            name_ko="최소 약정",
            name_en="Minimum",
            kind="commitment",
            timing="arrears",
            pricing=Pricing(model="flat", unit_amount=Decimal(90_000)),
        ),
    ),
)


class TestUsageThatWasPushed:
    """Its total is kept beside the bill, so that it outlives the events."""

    @pytest.fixture
    def number(self, scenario: Scenario) -> str:
        with control_session() as session:
            meters.declare(
                control_session=session,
                definitions=[meter("calls", aggregation="count")],
                actor=SYSTEM,
                now=NOW,
            )
            calls = Charge(
                code="calls",
                name_ko="호출",
                name_en="Calls",
                timing="arrears",
                meter="calls",
                pricing=Pricing(model="per_unit", unit_amount=Decimal("2.5")),
            )
            terms = replace(RICH, plan_code="calls", charges=(calls,))
            catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=NOW)
            tenant = make_tenant(session, state="active", timezone="UTC")
            subscription = make_subscription(
                session, tenant=tenant, starts_on=date(2026, 3, 1), plan_code="calls", now=NOW
            )
        used = [Used(tenant.id, f"e{place}", "api.call", NOW, Decimal(1), {}) for place in range(7)]
        with usage_session() as session:
            store(session, used)
        bill(subscription.id, AFTER)
        with control_session() as session:
            return str(session.scalars(select(Invoice.number_text)).one())

    def test_comes_out_the_same(self, number: str) -> None:
        with control_session() as session:
            line = session.scalars(select(InvoiceLine)).one()
        assert (line.amount_minor, line.evidence["events"]) == (17, 7)
        assert verify(number)[:2] == (0, {})


class TestATangledContract:
    """Changes in mid-period, a minimum, coupons, credit used and carried over: all of it again."""

    @pytest.fixture
    def subscription(self, scenario: Scenario) -> UUID:
        with control_session() as session:
            catalogue.publish(control_session=session, terms=RICH, actor=SYSTEM, now=NOW)
            subscription = make_subscription(
                session, starts_on=date(2026, 1, 1), plan_code="rich", now=NOW
            )
            make_readings(
                session,
                tenant_id=subscription.tenant_id,
                start=date(2026, 1, 1),
                end=date(2026, 6, 1),
                seats=13,
            )
            for kind, terms in {
                "percentage": {"percent": Decimal("33.3"), "duration": "forever"},
                "free_units": {
                    "units": Decimal(2),
                    "charges": ("seats",),
                    "duration": "months",
                    "months": 3,
                },
                "months_free": {"months": 1, "duration": "months", "charges": ("base",)},
            }.items():
                coupon = Coupon(
                    code=f"C-{kind.upper()}", name_ko=kind, name_en=kind, kind=kind, **terms
                )
                coupons.create(
                    control_session=session,
                    coupon=coupon,
                    availability=coupons.Availability(),
                    actor=SYSTEM,
                    now=NOW,
                )
                coupons.redeem(
                    control_session=session,
                    code=coupon.code,
                    tenant_id=subscription.tenant_id,
                    actor=SYSTEM,
                    now=NOW,
                    starts_on=date(2026, 1, 1),
                )
            credit_grants.grant(
                control_session=session,
                tenant_id=subscription.tenant_id,
                amount=Money(45_000, "KRW"),
                source="promotion",
                note="for the trouble",
                actor=SYSTEM,
                now=NOW,
            )
        for day, quantity in ((1, 0), (10, 7), (20, 2)):
            now = datetime(2026, 3, day, 3, 0, tzinfo=UTC)
            if quantity:
                with control_session() as session:
                    changes.change_quantity(
                        control_session=session,
                        tenant_id=subscription.tenant_id,
                        charge="licences",
                        quantity=Decimal(quantity),
                        when="now",
                        actor=SYSTEM,
                        now=now,
                    )
            bill(subscription.id, now)
        bill(subscription.id, datetime(2026, 5, 10, 3, 0, tzinfo=UTC))
        return subscription.id

    def test_comes_out_the_same(self, subscription: UUID) -> None:
        with control_session() as session:
            kinds = set(session.scalars(select(InvoiceLine.kind)))
        assert kinds >= {"charge", "credit", "commitment", "discount", "prepaid"}
        code, named, counts = verify("--all")
        assert (code, named) == (0, {})
        assert counts["invoices"] >= 7

    @pytest.mark.parametrize(
        ("statement", "cause"),
        [
            ("UPDATE coupon SET percent = 20 WHERE kind = 'percentage'", "coupon percent"),
            ("UPDATE coupon SET units = 3 WHERE kind = 'free_units'", "coupon off_units"),
            (
                "UPDATE price SET parameters = jsonb_set(parameters, '{tiers,1,unit_amount}',"
                " '\"701\"') WHERE model = 'graduated'",
                "price steps",
            ),
            (
                "UPDATE subscription_item SET quantity = 8 WHERE quantity = 7",
                "item quantity",
            ),
            (
                "UPDATE subscription_item SET ends_at = ends_at - interval '1 hour'"
                " WHERE quantity = 7",
                "item ends_at",
            ),
            ("UPDATE credit_use SET amount_minor = amount_minor - 1", "credit unit_amount"),
            ("UPDATE credit_grant SET expires_on = '2029-01-01'", "credit expires_on"),
        ],
    )
    def test_names_what_was_changed(
        self, scenario: Scenario, subscription: UUID, statement: str, cause: str
    ) -> None:
        Bills(scenario, subscription, []).plant(statement)
        code, named, _ = verify("--all")
        assert code == 1
        assert cause in {what for each in named.values() for _, what, _, _ in each}, named
