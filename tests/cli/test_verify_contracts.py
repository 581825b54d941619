"""`flask verify` over pushed usage and over contracts that were changed many times."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.audit import SYSTEM
from app.base.db import control_session, usage_session
from app.base.money import Money
from invoices import catalogue, changes, coupons, credit_grants
from invoices.charges import Charge
from invoices.discounts import Coupon
from invoices.models import Invoice, InvoiceLine
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import meters
from tests.cli.verified import AFTER, Bills, bill, verify
from tests.conftest import Scenario
from tests.factories import NOW, make_readings, make_subscription, make_tenant
from tests.tenants.counting import Used, meter, store

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
