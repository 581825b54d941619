"""The billing run as processes: started twice at once, killed anywhere, and poisoned."""

from __future__ import annotations

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from app.base.db import control_session
from app.base.invariants import offences
from invoices import rehearsal
from invoices.checks import INVARIANTS
from invoices.models import BilledSpan, Invoice, NumberSeries, Subscription, SubscriptionItem
from jobs import invoicing as step
from tests import processes
from tests.conftest import Scenario
from tests.factories import make_readings, make_subscription, make_tenant
from tests.scenarios import crashes

START, TODAY = date(2026, 1, 31), datetime(2026, 4, 30, 3, 0, tzinfo=UTC)
# Bills of 31 January, 28 February, 31 March and 30 April.
BILLS = 4
SCHEDULES = 30


def subscribe(session: Session, count: int, **tenant: Any) -> list[UUID]:
    """Subscriptions that three months and a day have gone by for, all read, none billed."""
    made = []
    for _ in range(count):
        started = make_subscription(
            session, tenant=make_tenant(session, state="active", **tenant), starts_on=START
        )
        make_readings(
            session,
            tenant_id=started.tenant_id,
            start=START,
            end=TODAY.date(),
            seats=12,
            gigabytes=130,
        )
        made.append(started.id)
    return made


def wrong() -> list[str]:
    """What breaks a rule of ours, and every subscription not billed exactly as it should be."""
    with control_session() as session:
        found = [
            str(offence)
            for rule in INVARIANTS
            for offence in offences(control_session=session, invariant=rule, now=TODAY)
        ]
        for subscription in session.scalars(select(Subscription)):
            charges = session.scalars(
                select(SubscriptionItem.charge)
                .join(BilledSpan, BilledSpan.item_id == SubscriptionItem.id)
                .where(BilledSpan.subscription_id == subscription.id)
                .order_by(SubscriptionItem.charge)
            ).all()
            if list(charges) != ["base"] * 4 + ["seats"] * 3 + ["storage"] * 3:
                found.append(f"{subscription.id} was billed {list(charges)}")
        numbers = session.scalars(select(Invoice.number).order_by(Invoice.number)).all()
        following = session.scalars(select(NumberSeries.next_number)).one()
        if list(numbers) != list(range(1, following)):
            found.append(f"numbers have gaps below {following}: {list(numbers)}")
        return found


Billers = Callable[[Sequence[float | None]], list[int]]


@pytest.fixture
def billers(scenario: Scenario, set_clock: Callable[[datetime], None]) -> Iterator[Billers]:
    """Starts billing processes at once, each killed before its n-th statement, if one is named."""
    set_clock(TODAY)
    with billing(scenario) as start:
        yield start


@contextmanager
def billing(scenario: Scenario, **environment: str) -> Iterator[Billers]:
    """Billing processes with these settings.

    Leases of no length let both take the same subscriptions all the time, the worst that can be.
    """
    process = processes.start(
        *("-m", "tests.scenarios.killed_biller"),
        environment={
            **scenario.environment,
            "TENANTRY_LEASE_SECONDS": "0",
            "TENANTRY_WORK_ATTEMPTS_MAX": "1000000",
            "TENANTRY_INVOICING_CHUNK": "2",
            "TENANTRY_LOG_LEVEL": "ERROR",
            **environment,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def start(deaths: Sequence[float | None]) -> list[int]:
        requests.write(json.dumps(list(deaths)) + "\n")
        requests.flush()
        return list(json.loads(answers.readline()))

    try:
        yield start
    finally:
        requests.close()
        process.wait(timeout=60)
        answers.close()


class TestTwoBillingRunsAtOnce:
    def test_bill_each_month_of_each_subscription_once(self, billers: Billers) -> None:
        with control_session() as session:
            subscribe(session, 12)
        assert billers([None, None]) == [0, 0]
        assert wrong() == []

    def test_killed_anywhere_miss_nothing_and_bill_nothing_twice(self, billers: Billers) -> None:
        killed = 0
        for schedule in crashes.schedules(SCHEDULES):
            made = crashes.make(schedule.seed)
            wanted = crashes.expected(made)
            assert sum(len(lines) for lines in wanted.values()) >= len(made)
            killed += sum(ending < 0 for ending in billers(schedule.deaths))
            assert billers([None]) == [0], schedule
            assert crashes.differences(wanted) == [], schedule
        assert list(crashes.broken_rules()) == []
        assert killed > SCHEDULES


class TestTwoBillingRunsUnderALimit:
    @pytest.fixture
    def days(self, scenario: Scenario, set_clock: Callable[[datetime], None]) -> dict[date, int]:
        """Twelve customers with four bills each; what each of the days comes to."""
        set_clock(TODAY)
        with control_session() as session:
            subscribe(session, 12)
            found = rehearsal.rehearse(control_session=session, as_of=TODAY.date())
        sums: dict[date, int] = defaultdict(int)
        for bill in found.bills:
            sums[bill.bill_on] += bill.total_minor
        assert len(found.bills) == 12 * BILLS
        return sums

    @pytest.mark.parametrize("deaths", [[None, None], [31, 47], [90, 0.8], [160, 175]])
    def test_issue_nothing_of_a_day_that_comes_to_more(
        self, scenario: Scenario, days: dict[date, int], deaths: list[float | None]
    ) -> None:
        limit = {"TENANTRY_RUN_RELEASE_LIMIT": f"KRW={min(days.values()) - 1}"}
        with billing(scenario, **limit) as start:
            start(deaths)
            assert start([None, None]) == [0, 0]
        with control_session() as session:
            states = session.scalars(select(Invoice.state)).all()
            assert states == ["draft"] * 12 * BILLS
            first = session.scalars(
                select(Invoice).where(Invoice.supplied_on == START).order_by(Invoice.id)
            ).all()
            assert [draft.held for draft in first] == [{"rule": "run"}] * 12

    @pytest.mark.parametrize("deaths", [[None, None], [31, 47], [90, 0.8], [160, 175]])
    def test_issue_all_of_days_that_come_to_as_much(
        self, scenario: Scenario, days: dict[date, int], deaths: list[float | None]
    ) -> None:
        limit = {"TENANTRY_RUN_RELEASE_LIMIT": f"KRW={max(days.values())}"}
        with billing(scenario, **limit) as start:
            start(deaths)
            assert start([None, None]) == [0, 0]
        assert wrong() == []


class TestOneSubscriptionThatCannotBeBilled:
    def test_is_parked_with_its_error_and_stops_nobody_else(
        self, scenario: Scenario, set_clock: Callable[[datetime], None]
    ) -> None:
        set_clock(TODAY)
        with control_session() as session:
            healthy = subscribe(session, 6)
            (poisoned,) = subscribe(session, 1, billing_profile={"vat_treatment": "by word"})
        with capture_logs() as lines:
            assert step.work() == 7
        assert [line["event"] for line in lines].count("invoicing.parked") == 1
        with control_session() as session:
            billed = session.scalars(
                select(Invoice.subscription_id).group_by(Invoice.subscription_id)
            ).all()
            parked = session.get_one(Subscription, poisoned)
            assert set(billed) == set(healthy)
            assert "AttributeError" in (parked.last_error or "")
            assert parked.retry_at is not None
            assert parked.lease_until is None

    @pytest.mark.parametrize("failures", [1, 20])
    def test_heals_when_the_cause_is_gone_however_often_it_failed(
        self, scenario: Scenario, set_clock: Callable[[datetime], None], failures: int
    ) -> None:
        set_clock(TODAY)
        with control_session() as session:
            subscribe(session, 1, billing_profile={"vat_treatment": "by word"})
        with capture_logs():
            for _ in range(failures):
                assert step.work() == 1
                with control_session() as session:
                    session.execute(text("UPDATE subscription SET retry_at = clock_timestamp()"))
        with control_session() as session:
            session.execute(text("UPDATE tenant SET billing_profile = '{}'"))
            session.execute(text("UPDATE subscription SET retry_at = clock_timestamp()"))
        assert step.work() == 1
        assert step.work() == 0
        assert wrong() == []
