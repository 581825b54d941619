"""A subscription that is billed by pushed events, and what is asked of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import SYSTEM, Actor
from app.base.invariants import offences
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.checks import INVARIANTS
from invoices.models import Invoice, Subscription
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing, Tier
from tenants import meters
from tests.factories import make_subscription
from tests.tenants.counting import Used, meter, store

START = date(2026, 2, 1)
FINANCE = Actor("staff", "finance")


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def push(session: Session, subscription: Subscription, on: date, count: int) -> None:
    store(
        session,
        [
            Used(
                subscription.tenant_id, str(ids.uuid7()), "api.call", seoul(on, 12), Decimal(1), {}
            )
            for _ in range(count)
        ],
    )


def bill(session: Session, subscription: Subscription, on: date) -> None:
    invoicing.bill(control_session=session, subscription_ids=[subscription.id], now=seoul(on))


def lines_of(session: Session, subscription: Subscription) -> list[list[tuple[Any, ...]]]:
    session.expire_all()
    invoices = session.scalars(
        select(Invoice)
        .where(Invoice.subscription_id == subscription.id, Invoice.state != "void")
        .order_by(Invoice.supplied_on)
    )
    return [
        [(line.kind, line.charge, line.quantity, line.amount_minor) for line in invoice.lines]
        for invoice in invoices
    ]


def broken_rules(session: Session) -> list[Any]:
    session.flush()
    session.expire_all()
    return [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]


def subscribe(
    control_session: Session,
    *,
    minimum: int = 0,
    calls: int = 90,
    before: Callable[[Subscription], None] = lambda _: None,
) -> Subscription:
    """Calls in two tiers: the first hundred ₩100 each, those beyond ₩10; 90 in the first month.

    With a `minimum` a month of less is topped up to it. `before` is done before that is billed.
    """
    offer_calls(control_session, minimum=minimum)
    made = make_subscription(control_session, starts_on=START, plan_code="calls", now=seoul(START))
    push(control_session, made, date(2026, 2, 10), calls)
    before(made)
    bill(control_session, made, date(2026, 3, 1))
    return made


def offer_calls(control_session: Session, *, minimum: int = 0) -> None:
    """A meter of API calls, and the plan `calls` that sells them."""
    meters.declare(
        control_session=control_session,
        definitions=[meter("calls", aggregation="count")],
        actor=SYSTEM,
        now=seoul(START),
    )
    tiers = (
        Tier(up_to=Decimal(100), unit_amount=Decimal(100)),
        Tier(up_to=None, unit_amount=Decimal(10)),
    )
    catalogue.publish(
        control_session=control_session,
        terms=PlanTerms(
            plan_code="calls",
            position=8,
            currency="KRW",
            name_ko="호출",
            name_en="Calls",
            seats_max=5,
            storage_bytes_max=10**9,
            charges=(
                Charge(
                    code="calls",
                    name_ko="호출",
                    name_en="Calls",
                    meter="calls",
                    timing="arrears",
                    pricing=Pricing(model="graduated", tiers=tiers),
                ),
                *[
                    Charge(
                        code="least",
                        name_ko="최소 이용료",
                        name_en="Minimum",
                        kind="commitment",
                        timing="arrears",
                        pricing=Pricing(model="flat", unit_amount=Decimal(minimum)),
                    )
                ][: 1 if minimum else 0],
            ),
        ),
        actor=SYSTEM,
        now=seoul(START),
    )
