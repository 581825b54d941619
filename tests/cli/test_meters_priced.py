"""`flask meters try` shows what a meter would bill, of every kind: the bill then says the same."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.base import clock
from app.base.audit import SYSTEM, Actor
from app.base.db import control_session, usage_session
from app.cli.meters import meters_commands
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.models import Invoice
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import drawings, members, meter_definitions, meters
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import make_readings, make_subscription, make_tenant
from tests.tenants.counting import NAMES, Used, meter, store
from tests.workspaces import Workspace, make_workspace

START, END = date(2026, 2, 1), date(2026, 3, 1)
BIG = (
    "SELECT count(*) FROM drawing WHERE size_bytes > 20"
    " AND uploaded_at >= :day_start AND uploaded_at < :day_end"
)
TIERS = (
    Tier(up_to=Decimal(20), unit_amount=Decimal(100)),
    Tier(up_to=None, unit_amount=Decimal("10.5")),
)


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def charge(code: str, pricing: Pricing, **fields: Any) -> Charge:
    return Charge(
        code=code, name_ko=code, name_en=code, timing="arrears", pricing=pricing, **fields
    )


@pytest.fixture
def tenant(scenario: Scenario) -> Tenant:
    clock.set_now(seoul(END))
    with control_session() as session:
        return make_tenant(session, state="active", slug="hanbit", converted_at=seoul(START))


def subscribe(tenant_id: Any, *charges: Charge, declared: tuple[Any, ...] = ()) -> Any:
    with control_session() as session:
        meters.declare(
            control_session=session, definitions=declared, actor=SYSTEM, now=seoul(START)
        )
        terms = PlanTerms(
            plan_code="counted",
            position=8,
            currency="KRW",
            name_ko="사용량",
            name_en="Counted",
            seats_max=500,
            storage_bytes_max=10**12,
            charges=charges,
        )
        catalogue.publish(control_session=session, terms=terms, actor=SYSTEM, now=seoul(START))
        return make_subscription(
            session,
            tenant=session.get_one(Tenant, tenant_id),
            starts_on=START,
            plan_code="counted",
            now=seoul(START),
        ).id


def tried(code: str, tenant: Any, last: date = END - timedelta(days=1)) -> Result:
    return CliRunner().invoke(
        meters_commands,
        ["try", code, "--tenant", str(tenant), "--from", str(START), "--to", str(last)],
    )


def billed(subscription_id: Any) -> dict[str, int]:
    """What the run bills for the same days."""
    with control_session() as control, usage_session() as usage:
        (issued,) = invoicing.bill(
            control_session=control,
            usage_session=usage,
            subscription_ids=[subscription_id],
            now=seoul(END),
        ).issued
        lines = control.get_one(Invoice, issued).lines
        return {line.charge: line.amount_minor for line in lines}


class TestAMeterOfEvents:
    def test_is_priced_whole_and_by_the_groups_that_are_charged(self, tenant: Tenant) -> None:
        per_unit = Pricing(model="per_unit", unit_amount=Decimal("33.3"), included=Decimal(2))
        started = subscribe(
            tenant.id,
            charge("calls", Pricing(model="graduated", tiers=TIERS), meter="calls"),
            charge("seoul_calls", per_unit, meter="calls", group={"region": "seoul"}),
            charge("busan_calls", per_unit, meter="calls", group={"region": "busan"}),
            declared=(meter("calls", aggregation="count", group_by=["region"]),),
        )
        with usage_session() as session:
            store(
                session,
                [
                    Used(
                        tenant.id,
                        f"event-{number}",
                        "api.call",
                        seoul(START + timedelta(days=number % 28), 12),
                        Decimal(1),
                        {"region": "seoul" if number % 3 else "busan"},
                    )
                    for number in range(31)
                ],
            )
        shown = tried("calls", "hanbit")
        assert shown.exit_code == 0, shown.output
        # 31: 20 at ₩100 and 11 at ₩10.5; 20 in Seoul and 11 in Busan, two of each included.
        assert "calls: 31 calls, ₩2,115" in shown.output
        assert "seoul_calls (region=seoul): 20 calls, ₩599" in shown.output
        assert "busan_calls (region=busan): 11 calls, ₩299" in shown.output
        assert billed(started) == {"calls": 2_115, "seoul_calls": 599, "busan_calls": 299}


class TestADailyMeter:
    def test_is_priced_by_what_its_charges_make_of_the_days(self, tenant: Tenant) -> None:
        above = Pricing(model="per_unit", unit_amount=Decimal(15_000), included=Decimal(10))
        started = subscribe(
            tenant.id,
            charge("seats", above, meter="seats", aggregation="peak"),
            charge("mean", above, meter="seats", aggregation="average"),
        )
        with control_session() as session:
            make_readings(
                session,
                tenant_id=tenant.id,
                start=START,
                end=END,
                seats=[12 + place % 3 for place in range(28)],
            )
        shown = tried("seats", "hanbit")
        assert shown.exit_code == 0, shown.output
        assert "seats: 14 seat, ₩60,000" in shown.output
        assert "mean: 12.964285714286 seat, ₩44,460" in shown.output
        assert billed(started) == {"seats": 60_000, "mean": 44_460}

    def test_with_a_day_that_is_not_read_has_no_price(self, tenant: Tenant) -> None:
        above = Pricing(model="per_unit", unit_amount=Decimal(15_000))
        subscribe(tenant.id, charge("seats", above, meter="seats", aggregation="peak"))
        with control_session() as session:
            make_readings(
                session, tenant_id=tenant.id, start=START, end=END, without=[date(2026, 2, 9)]
            )
        shown = tried("seats", "hanbit")
        assert shown.exit_code == 1
        assert "2026-02-09              not read" in shown.output
        assert "₩" not in shown.output
        assert "1 day gave no number: a bill would wait for it" in shown.output


class TestAnSqlMeter:
    @pytest.fixture
    def workspace(self, scenario: Scenario) -> Workspace:
        clock.set_now(seoul(END))
        return make_workspace(now=seoul(START))

    def test_is_priced_by_what_it_reads_now(self, workspace: Workspace) -> None:
        query = meter_definitions.read(
            {"code": "big", "source": "sql", "unit": "file", "names": NAMES, "sql": BIG}, version=1
        )
        package = Pricing(
            model="package", unit_amount=Decimal(700), package_size=Decimal(2), included=Decimal(1)
        )
        subscribe(
            workspace.tenant_id,
            charge("files", package, meter="big", aggregation="sum"),
            declared=(query,),
        )
        for day, size in ((1, 100), (1, 3), (2, 200), (5, 300), (9, 400)):
            upload(workspace, seoul(START + timedelta(days=day), 12), size)
        shown = tried("big", workspace.tenant_id, date(2026, 2, 12))
        assert shown.exit_code == 0, shown.output
        # Four files, one of them included: two packages of two.
        assert "files: 4 file, ₩1,400" in shown.output
        assert "2026-02-02                     1\n" in shown.output


def upload(workspace: Workspace, now: datetime, size: int) -> None:
    with workspace.session() as session:
        drawings.upload(
            tenant_session=session,
            name=f"a{size}.pdf",
            stream=io.BytesIO(b"%PDF-1.7\n" + b"x" * size),
            member_id=members.by_email(tenant_session=session, email=workspace.admin_email).id,
            actor=Actor("member", "tests"),
            now=now,
        )


def test_a_charge_that_is_added_is_said_to_be_one(tenant: Tenant) -> None:
    above = Pricing(model="per_unit", unit_amount=Decimal(100))
    subscribe(
        tenant.id,
        charge("seats", above, meter="seats", aggregation="peak"),
        charge("watch", above, meter="seats", aggregation="last", optional=True),
    )
    with control_session() as session:
        make_readings(session, tenant_id=tenant.id, start=START, end=END, seats=7)
    assert "watch: 7 seat, ₩700, for those who add it" in tried("seats", "hanbit").output
