"""Behind a line of pushed usage stand the events that it counts, and no others."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from app.base.audit import SYSTEM, Actor
from app.base.db import control_session, usage_session
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.models import Invoice, Subscription
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tenants import corrections, events, meters
from tenants.models import Tenant
from tests.factories import make_subscription, make_tenant
from tests.invoices.couponed import offer, redeem, terms
from tests.tenants.counting import meter
from tests.web.forms import sign_in_staff
from tests.web.portal.parts import sign_in

START, FIRST, SECOND = date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
AT = datetime(2026, 2, 10, 3, tzinfo=UTC)
BIG = {"property": "size", "operator": "gte", "value": 20}
Subscribed = Callable[..., UUID]


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


@pytest.fixture
def subscribed(app: Any, set_clock: Any) -> Subscribed:
    """A company that pays for its calls, as the meter and the charge's group have them."""

    def make(group: dict[str, str] | None = None, **declared: Any) -> UUID:
        calls = Charge(
            code="calls",
            name_ko="호출",
            name_en="Calls",
            meter="calls",
            timing="arrears",
            group=group or {},
            pricing=Pricing(model="per_unit", unit_amount=Decimal(100)),
        )
        listed = PlanTerms(
            plan_code="calls",
            position=8,
            currency="KRW",
            name_ko="호출",
            name_en="Calls",
            seats_max=5,
            storage_bytes_max=10**9,
            charges=(calls,),
        )
        declare(**declared)
        with control_session() as session:
            catalogue.publish(control_session=session, terms=listed, actor=SYSTEM, now=seoul(START))
            tenant = make_tenant(session, state="active")
            make_subscription(
                session, tenant=tenant, starts_on=START, plan_code="calls", now=seoul(START)
            )
        set_clock(seoul(SECOND, 12))
        return tenant.id

    return make


def declare(**declared: Any) -> None:
    with control_session() as session:
        meters.declare(
            control_session=session,
            definitions=[meter("calls", **{"aggregation": "sum"} | declared)],
            actor=SYSTEM,
            now=seoul(START),
        )


def push(tenant_id: UUID, name: str, now: datetime = AT, **more: Any) -> None:
    sent = {"id": name, "tenant": str(tenant_id), "type": "api.call", "time": AT.isoformat()} | more
    with control_session() as session, usage_session() as usage:
        (outcome,) = events.accept(
            usage_session=usage, control_session=session, events=[sent], now=now
        )
    assert outcome.outcome == "accepted", outcome


def bill(tenant_id: UUID, on: date) -> None:
    with control_session() as session, usage_session() as usage:
        subscription_id = session.scalars(
            select(Subscription.id).where(Subscription.tenant_id == tenant_id)
        ).one()
        invoicing.bill(
            control_session=session,
            subscription_ids=[subscription_id],
            now=seoul(on),
            usage_session=usage,
        )


def correct(tenant_id: UUID, name: str, **changes: Any) -> None:
    act: Any = corrections.amend if changes else corrections.void
    with control_session() as session, usage_session() as usage:
        act(
            usage_session=usage,
            control_session=session,
            tenant_id=tenant_id,
            event_id=name,
            at=AT.isoformat(),
            reason="counted wrongly",
            actor=Actor("staff", "finance"),
            now=seoul(date(2026, 3, 5)),
            **({"changes": changes} if changes else {}),
        )


def invoice(tenant_id: UUID, on: date) -> UUID:
    with control_session() as session:
        return session.scalars(
            select(Invoice.id).where(Invoice.tenant_id == tenant_id, Invoice.supplied_on == on)
        ).one()


def behind(client: Any, tenant_id: UUID, on: date = FIRST, line: int = 1) -> tuple[str, str]:
    """The page behind a line, up to what was taken out and from there on."""
    page = client.get(f"/console/invoices/{invoice(tenant_id, on)}/lines/{line}/events?lang=en")
    assert page.status_code == 200
    counted, _, gone = unescape(page.text).partition("Taken out of this period")
    return counted, gone


class TestTheEventsOfALine:
    def test_are_those_of_the_meter_as_it_was_billed(
        self, client: Any, subscribed: Subscribed
    ) -> None:
        tenant_id = subscribed()
        push(tenant_id, "call-1", quantity=3)
        push(tenant_id, "render-1", type="render.done")
        bill(tenant_id, FIRST)
        declare(event_type="render.done")
        sign_in_staff(client, "viewer")
        counted, _ = behind(client, tenant_id)
        assert ("call-1" in counted, "render-1" in counted) == (True, False)
        assert "api.call" in counted

    def test_are_those_that_the_meters_conditions_let_pass(
        self, client: Any, subscribed: Subscribed
    ) -> None:
        tenant_id = subscribed(filters=[BIG])
        push(tenant_id, "large-1", properties={"size": 20})
        push(tenant_id, "small-1", properties={"size": Decimal("19.5")})
        push(tenant_id, "unsized-1")
        bill(tenant_id, FIRST)
        sign_in_staff(client, "viewer")
        counted, _ = behind(client, tenant_id)
        assert [name in counted for name in ("large-1", "small-1", "unsized-1")] == [
            True,
            False,
            False,
        ]

    def test_are_those_of_the_group_that_is_charged(
        self, client: Any, subscribed: Subscribed
    ) -> None:
        tenant_id = subscribed(
            {"region": "seoul"}, group_by=["region", "tier"], aggregation="count"
        )
        push(tenant_id, "here-1", properties={"region": "seoul", "tier": "gold"})
        push(tenant_id, "here-2", properties={"region": "seoul"})
        push(tenant_id, "there-1", properties={"region": "busan"})
        bill(tenant_id, FIRST)
        sign_in_staff(client, "viewer")
        counted, _ = behind(client, tenant_id)
        assert [name in counted for name in ("here-1", "here-2", "there-1")] == [True, True, False]
        correct(tenant_id, "here-2", properties={"region": "busan"})
        correct(tenant_id, "there-1")
        counted, gone = behind(client, tenant_id)
        assert ("here-1" in counted, "here-2" in counted) == (True, False)
        assert ("here-2" in gone, "there-1" in gone) == (True, False)

    def test_of_different_values_are_those_that_have_one(
        self, client: Any, subscribed: Subscribed
    ) -> None:
        tenant_id = subscribed(aggregation="unique", value="user")
        push(tenant_id, "known-1", properties={"user": "a"})
        push(tenant_id, "nobody-1")
        bill(tenant_id, FIRST)
        sign_in_staff(client, "viewer")
        counted, _ = behind(client, tenant_id)
        assert ("known-1" in counted, "nobody-1" in counted) == (True, False)


class TestALineThatCorrectsABill:
    @pytest.fixture
    def corrected(self, subscribed: Subscribed) -> UUID:
        """Three calls, one of which is voided; two more that come late."""
        tenant_id = subscribed()
        for number in range(3):
            push(tenant_id, f"call-{number}")
        bill(tenant_id, FIRST)
        correct(tenant_id, "call-0")
        for number in range(2):
            push(tenant_id, f"late-{number}", now=seoul(date(2026, 3, 5)))
        bill(tenant_id, SECOND)
        return tenant_id

    @pytest.mark.parametrize("door", ["console", "portal"])
    def test_leads_to_the_events_that_it_counts_now(
        self, client: Any, corrected: UUID, door: str
    ) -> None:
        if door == "console":
            sign_in_staff(client, "viewer")
        else:
            with control_session() as session:
                sign_in(client, session.get_one(Tenant, corrected))
        second = f"/{door}/invoices/{invoice(corrected, SECOND)}"
        page = client.get(f"{second}?lang=en")
        assert f"{second}/lines/2/events" in page.text
        shown = unescape(client.get(f"{second}/lines/2/events?lang=en").text)
        counted, _, gone = shown.partition("Taken out of this period")
        assert [name in counted for name in ("call-1", "call-2", "late-0", "late-1")] == [True] * 4
        assert ("call-0" in counted, "call-0" in gone) == (False, True)
        assert "2026-02-01" in counted

    def test_says_what_was_measured_by_then(self, client: Any, corrected: UUID) -> None:
        sign_in_staff(client, "viewer")
        first, _ = behind(client, corrected)
        second, _ = behind(client, corrected, SECOND, 2)
        stated = [text.partition("Measured, as on the invoice")[2][:60] for text in (first, second)]
        assert [("3" in stated[0]), ("4" in stated[1])] == [True, True]

    @pytest.mark.parametrize(
        ("language", "words"),
        [("en", ("Discount then", "Discount now")), ("ko", ("당시 할인", "지금 할인"))],
    )
    def test_of_a_discount_names_the_coupon_and_what_it_takes_off_then_and_now(
        self, client: Any, subscribed: Subscribed, language: str, words: tuple[str, str]
    ) -> None:
        tenant_id = subscribed()
        with control_session() as session:
            offer(session, terms(duration="forever", percent=Decimal(50)))
            tenant = session.get_one(Tenant, tenant_id)
            redeem(session, tenant, now=seoul(START), starts_on=START)
        push(tenant_id, "call-1", quantity=7)
        bill(tenant_id, FIRST)
        push(tenant_id, "late-1", quantity=4, now=seoul(date(2026, 3, 5)))
        bill(tenant_id, SECOND)
        sign_in_staff(client, "viewer")
        second = f"/console/invoices/{invoice(tenant_id, SECOND)}"
        shown = unescape(client.get(f"{second}?lang={language}").text)
        for word, amount in zip(words, ("₩350", "₩550"), strict=True):
            assert amount in shown.partition(word)[2][:80]
        assert client.get(f"{second}/lines/3/events").status_code == 404
