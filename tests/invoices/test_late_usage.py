"""Usage that comes after its bill was issued is corrected by the next bill."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from app.base import ids
from app.base.audit import SYSTEM, Actor
from app.base.invariants import offences
from invoices import catalogue, invoicing
from invoices.charges import Charge
from invoices.checks import INVARIANTS
from invoices.models import CreditGrant, Invoice, Subscription, UsageTotal
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


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """Calls in two tiers: the first hundred ₩100 each, those beyond ₩10."""
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
            ),
        ),
        actor=SYSTEM,
        now=seoul(START),
    )
    made = make_subscription(control_session, starts_on=START, plan_code="calls", now=seoul(START))
    push(control_session, made, date(2026, 2, 10), 90)
    bill(control_session, made, date(2026, 3, 1))
    return made


class TestClosing:
    def test_keeps_the_total_that_was_billed(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        (kept,) = control_session.scalars(select(UsageTotal))
        assert (kept.meter, kept.meter_version, kept.quantity, kept.transactions) == (
            "calls",
            1,
            90,
            90,
        )
        assert (kept.starts_at, kept.ends_at) == (seoul(START, 0), seoul(date(2026, 3, 1), 0))
        assert len(kept.sha256) == 64
        assert lines_of(control_session, subscription) == [[("charge", "calls", 90, 9_000)]]


class TestLateEvents:
    def test_become_a_line_of_the_next_bill_with_both_numbers(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 30)
        push(control_session, subscription, date(2026, 3, 5), 4)
        bill(control_session, subscription, date(2026, 4, 1))
        # 100 at ₩100 and 20 at ₩10, less the 90 that were billed.
        assert lines_of(control_session, subscription)[1] == [
            ("charge", "calls", 4, 400),
            ("adjustment", "calls", 30, 1_200),
        ]
        invoice = control_session.scalars(
            select(Invoice).where(Invoice.supplied_on == date(2026, 4, 1))
        ).one()
        evidence = invoice.lines[1].evidence
        assert (evidence["was"]["measured"], evidence["is"]["measured"]) == ("90", "120")
        assert (evidence["was"]["amount_minor"], evidence["is"]["amount_minor"]) == (9_000, 10_200)
        assert evidence["invoice"] == "INV-2026-000001"
        assert broken_rules(control_session) == []

    def test_are_corrected_once_and_again_only_when_more_come(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, date(2026, 4, 1))
        push(control_session, subscription, date(2026, 2, 12), 2)
        bill(control_session, subscription, date(2026, 5, 1))
        kinds = [
            [(kind, quantity, amount) for kind, _, quantity, amount in lines]
            for lines in lines_of(control_session, subscription)
        ]
        assert kinds == [
            [("charge", 90, 9_000)],
            [("charge", 0, 0), ("adjustment", 5, 500)],
            [("charge", 0, 0), ("adjustment", 2, 200)],
        ]
        revisions = control_session.scalars(
            select(UsageTotal.revision)
            .where(UsageTotal.starts_at == seoul(START, 0))
            .order_by(UsageTotal.revision)
        ).all()
        assert revisions == [0, 1, 2]

    def test_that_are_taken_away_are_given_back(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        # As it stands when five of the events that were billed are not there any more.
        (kept,) = control_session.execute(select(UsageTotal.__table__)).mappings().all()
        control_session.execute(delete(UsageTotal))
        control_session.execute(
            insert(UsageTotal), {**kept, "quantity": Decimal(95), "transactions": 95}
        )
        bill(control_session, subscription, date(2026, 4, 1))
        second = lines_of(control_session, subscription)[1]
        assert ("adjustment", "calls", -5, -500) in second
        assert ("carried", "balance", 1, 500) in second
        grant = control_session.scalars(select(CreditGrant)).one()
        assert (grant.amount_minor, grant.source) == (500, "change")
        assert broken_rules(control_session) == []

    def test_are_corrected_anew_when_the_correcting_bill_is_voided(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        push(control_session, subscription, date(2026, 2, 11), 5)
        bill(control_session, subscription, date(2026, 4, 1))
        first, second = control_session.scalars(select(Invoice).order_by(Invoice.supplied_on))
        with pytest.raises(invoicing.CorrectedSince, match=str(second.number_text)):
            invoicing.void(
                control_session=control_session,
                invoice_id=first.id,
                reason="wrong",
                actor=FINANCE,
                now=seoul(date(2026, 4, 2)),
            )
        invoicing.void(
            control_session=control_session,
            invoice_id=second.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(date(2026, 4, 2)),
        )
        bill(control_session, subscription, date(2026, 4, 2))
        assert lines_of(control_session, subscription)[1][1:] == [("adjustment", "calls", 5, 500)]
        assert broken_rules(control_session) == []

    def test_a_meter_declared_anew_corrects_nothing(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        meters.declare(
            control_session=control_session,
            definitions=[meter("calls", aggregation="sum")],
            actor=SYSTEM,
            now=seoul(date(2026, 3, 2)),
        )
        bill(control_session, subscription, date(2026, 4, 1))
        assert lines_of(control_session, subscription)[1] == [("charge", "calls", 0, 0)]
