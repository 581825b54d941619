"""The next bill so far: what is known now, by the code that will make it, and what is left out."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from invoices import catalogue, changes, invoicing, subscriptions, upcoming
from invoices.charges import Charge
from invoices.models import Invoice, Subscription
from invoices.periods import Period
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from invoices.upcoming import Unread, Upcoming
from tests.factories import make_readings, make_subscription, make_tenant

START = date(2026, 3, 1)
NEXT = date(2026, 4, 1)


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """A team plan since the first of March, its first bill made."""
    started = make_subscription(control_session, starts_on=START, now=seoul(START))
    invoicing.bill(control_session=control_session, subscription_ids=[started.id], now=seoul(START))
    return started


def read_until(session: Session, subscription: Subscription, start: date, end: date) -> None:
    make_readings(
        session,
        tenant_id=subscription.tenant_id,
        start=start,
        end=end,
        seats=[12 + place % 3 for place in range((end - start).days)],
        gigabytes=Decimal("150.1234"),
    )


def so_far(session: Session, subscription: Subscription, now: datetime) -> Upcoming:
    found = upcoming.upcoming(control_session=session, subscription=subscription, now=now)
    assert found is not None
    return found


def amounts(found: Upcoming) -> dict[str, int]:
    return {line.charge: line.amount_minor for line in found.lines}


class TestTheNextBillSoFar:
    def test_takes_the_days_that_are_read_and_names_the_rest(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        read_until(control_session, subscription, START, date(2026, 3, 11))
        found = so_far(control_session, subscription, seoul(date(2026, 3, 11)))
        assert found.bill_on == NEXT
        assert amounts(found) == {"base": 190_000, "seats": 60_000, "storage": 10_024}
        assert found.total_minor == 286_026
        rest = Period(date(2026, 3, 11), NEXT)
        assert found.unread == (Unread("seats", rest), Unread("storage_gb_days", rest))

    def test_before_any_day_is_read_is_what_is_paid_ahead(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        found = so_far(control_session, subscription, seoul(START, 10))
        assert amounts(found) == {"base": 190_000, "seats": 0, "storage": 0}
        assert {each.days for each in found.unread} == {Period(START, NEXT)}

    def test_stops_at_the_first_day_that_nobody_read(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        read_until(control_session, subscription, START, date(2026, 3, 3))
        read_until(control_session, subscription, date(2026, 3, 4), date(2026, 3, 9))
        found = so_far(control_session, subscription, seoul(date(2026, 3, 9)))
        assert amounts(found)["seats"] == 45_000
        assert found.unread[0].days == Period(date(2026, 3, 3), NEXT)

    def test_is_the_bill_itself_once_everything_is_read(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        read_until(control_session, subscription, START, NEXT)
        now = seoul(NEXT)
        found = so_far(control_session, subscription, now)
        assert found.unread == ()
        invoicing.bill(control_session=control_session, subscription_ids=[subscription.id], now=now)
        invoice = control_session.scalars(select(Invoice).where(Invoice.supplied_on == NEXT)).one()
        assert [(line.charge, line.evidence, line.amount_minor) for line in invoice.lines] == [
            (line.charge, line.evidence, line.amount_minor) for line in found.lines
        ]
        assert (invoice.tax_minor, invoice.total_minor) == (found.tax_minor, found.total_minor)

    def test_changes_nothing(self, control_session: Session, subscription: Subscription) -> None:
        before = control_session.scalars(select(Invoice.id)).all()
        so_far(control_session, subscription, seoul(date(2026, 3, 20)))
        assert control_session.scalars(select(Invoice.id)).all() == before
        assert not control_session.dirty
        assert not control_session.new

    def test_comes_to_nothing_when_the_contract_is_over(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        read_until(control_session, subscription, START, NEXT)
        changes.cancel(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            when="period_end",
            actor=SYSTEM,
            now=seoul(date(2026, 3, 20)),
        )
        last = so_far(control_session, subscription, seoul(date(2026, 3, 21)))
        assert "base" not in amounts(last)
        invoicing.bill(
            control_session=control_session, subscription_ids=[subscription.id], now=seoul(NEXT)
        )
        assert (
            upcoming.upcoming(
                control_session=control_session, subscription=subscription, now=seoul(NEXT)
            )
            is None
        )


def test_a_tenant_without_a_subscription_has_no_next_bill(control_session: Session) -> None:
    with pytest.raises(subscriptions.NoSubscription):
        upcoming.of_tenant(
            control_session=control_session,
            tenant_id=make_tenant(control_session).id,
            now=seoul(START),
        )


def test_a_running_period_has_the_allowance_of_the_whole(
    control_session: Session,
) -> None:
    terms = PlanTerms(
        plan_code="tiny",
        position=9,
        currency="KRW",
        name_ko="작은",
        name_en="Tiny",
        seats_max=5,
        storage_bytes_max=1,
        charges=(
            Charge(
                code="files",
                name_ko="파일",
                name_en="Files",
                timing="arrears",
                meter="files_added",
                aggregation="sum",
                pricing=Pricing(model="per_unit", unit_amount=Decimal(100), included=Decimal(10)),
            ),
        ),
    )
    catalogue.publish(control_session=control_session, terms=terms, actor=SYSTEM, now=seoul(START))
    started = make_subscription(
        control_session, starts_on=START, plan_code="tiny", now=seoul(START)
    )
    found = so_far(control_session, started, seoul(date(2026, 3, 5)))
    assert [line.evidence["included"] for line in found.lines] == ["10"]
