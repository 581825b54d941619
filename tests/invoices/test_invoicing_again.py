"""The billing run comes again, late, without readings or to the end: nothing is missed or twice."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import Range
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.messages import Message
from invoices import changes, invoicing
from invoices.models import (
    BilledSpan,
    Subscription,
)
from tenants.models import Tenant
from tests.factories import make_readings, make_subscription, make_tenant
from tests.invoices.monthly import (
    FINANCE,
    START,
    bill,
    broken_rules,
    invoices_of,
    paper,
    seoul,
    subscribe,
)


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    return subscribe(control_session)


class TestRunningAgain:
    def test_bills_nothing_twice(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        for _ in range(3):
            bill(control_session, subscription, on=date(2026, 3, 31))
        assert len(invoices_of(control_session, subscription)) == 3

    def test_trusts_the_spans_more_than_the_hint(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=date(2026, 3, 31))
        subscription.next_bill_on = START
        control_session.flush()
        bill(control_session, subscription, on=date(2026, 3, 31))
        assert len(invoices_of(control_session, subscription)) == 3
        assert subscription.next_bill_on == date(2026, 4, 30)

    def test_the_database_refuses_a_second_span_even_if_the_program_asks(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, on=START)
        (invoice,) = invoices_of(control_session, subscription)
        (billed,) = control_session.scalars(select(BilledSpan))
        control_session.add(
            BilledSpan(
                subscription_id=subscription.id,
                item_id=billed.item_id,
                span=Range(seoul(date(2026, 2, 10)), seoul(date(2026, 2, 11)), bounds="[)"),
                invoice_id=invoice.id,
                line_id=billed.line_id,
            )
        )
        with pytest.raises(IntegrityError, match="ex_billed_span_once"):
            control_session.flush()


class TestAfterAnOutage:
    def test_missed_months_are_billed_in_order_and_equal_timely_ones(
        self, control_session: Session
    ) -> None:
        tenants = [make_tenant(control_session, state="active") for _ in range(2)]
        timely, late = (
            make_subscription(control_session, tenant=tenant, starts_on=START) for tenant in tenants
        )
        for each in (timely, late):
            make_readings(
                control_session,
                tenant_id=each.tenant_id,
                start=START,
                end=date(2026, 5, 31),
                seats=[10 + place % 7 for place in range(120)],
                gigabytes=Decimal("150.123456"),
            )
        control_session.execute(
            text("UPDATE reading SET evidence_sha256 = repeat('e', 64)")
        )  # the same events, so that their fingerprints compare
        for on in (START, date(2026, 2, 28), date(2026, 3, 31), date(2026, 4, 30)):
            bill(control_session, timely, on=on)
        bill(control_session, late, on=date(2026, 4, 30))
        expected = [paper(invoice) for invoice in invoices_of(control_session, timely)]
        assert [paper(invoice) for invoice in invoices_of(control_session, late)] == expected
        assert len(expected) == 4
        numbers = [invoice.number for invoice in invoices_of(control_session, late)]
        assert numbers == sorted(numbers)
        assert broken_rules(control_session) == []


class TestAMissingDay:
    @pytest.fixture
    def gappy(self, control_session: Session) -> Subscription:
        """A subscription whose February lacks two days."""
        started = make_subscription(control_session, starts_on=START)
        make_readings(
            control_session,
            tenant_id=started.tenant_id,
            start=START,
            end=date(2026, 4, 30),
            without=[date(2026, 2, 3), date(2026, 2, 20)],
        )
        return started

    def test_blocks_its_bill_and_the_later_ones_and_names_the_days(
        self, control_session: Session, gappy: Subscription
    ) -> None:
        outcome = bill(control_session, gappy, on=date(2026, 4, 30))
        assert len(invoices_of(control_session, gappy)) == 1
        assert gappy.blocked_reason == (
            "seats: 2026-02-03, 2026-02-20; storage_gb_days: 2026-02-03, 2026-02-20"
        )
        assert outcome.blocked == {gappy.id: gappy.blocked_reason}
        assert gappy.next_bill_on == date(2026, 2, 28)
        assert gappy.attempts == 0

    def test_heals_by_itself_when_the_readings_are_there(
        self, control_session: Session, gappy: Subscription
    ) -> None:
        bill(control_session, gappy, on=date(2026, 4, 30))
        for day in (date(2026, 2, 3), date(2026, 2, 20)):
            make_readings(
                control_session,
                tenant_id=gappy.tenant_id,
                start=day,
                end=day + timedelta(days=1),
            )
        bill(control_session, gappy, on=date(2026, 4, 30))
        assert len(invoices_of(control_session, gappy)) == 4
        assert gappy.blocked_reason is None
        assert broken_rules(control_session) == []

    def test_stops_nobody_else(
        self, control_session: Session, gappy: Subscription, subscription: Subscription
    ) -> None:
        bill(control_session, gappy, subscription, on=date(2026, 2, 28))
        assert len(invoices_of(control_session, gappy)) == 1
        assert len(invoices_of(control_session, subscription)) == 2


class TestTheEndOfASubscription:
    def test_bills_the_last_usage_and_nothing_ahead(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        changes.cancel(
            control_session=control_session,
            when="period_end",
            tenant_id=subscription.tenant_id,
            actor=FINANCE,
            now=seoul(date(2026, 3, 1)),
        )
        assert subscription.ends_on == date(2026, 3, 31)
        bill(control_session, subscription, on=date(2026, 5, 31))
        *_, last = invoices_of(control_session, subscription)
        assert len(invoices_of(control_session, subscription)) == 3
        assert [line.charge for line in last.lines] == ["seats", "storage"]
        assert last.supplied_on == date(2026, 3, 31)
        assert subscription.state == "cancelled"
        tenant = control_session.get_one(Tenant, subscription.tenant_id)
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "cancelled")
        assert not invoicing.due(control_session, seoul(date(2026, 6, 30)))

    def test_a_bill_over_nothing_is_settled_without_payment(self, control_session: Session) -> None:
        quiet = make_subscription(
            control_session, starts_on=START, ends_on=date(2026, 2, 28), now=seoul(START)
        )
        make_readings(
            control_session, tenant_id=quiet.tenant_id, start=START, end=date(2026, 2, 28), seats=3
        )
        bill(control_session, quiet, on=date(2026, 2, 28))
        _, last = invoices_of(control_session, quiet)
        assert (last.total_minor, last.state, last.collect_at) == (0, "paid", None)
        assert last.paid_at == seoul(date(2026, 2, 28))
        mails = control_session.scalars(
            select(Message).where(
                Message.regarding_id == quiet.tenant_id, Message.kind == "invoice_issued"
            )
        ).all()
        assert len(mails) == 1
        assert broken_rules(control_session) == []

    @pytest.mark.parametrize("state", ["destroying", "destroyed"])
    def test_a_destroyed_tenant_is_billed_no_more(
        self, control_session: Session, state: str
    ) -> None:
        tenant = make_tenant(control_session, state=state)
        gone = make_subscription(control_session, tenant=tenant, starts_on=START)
        bill(control_session, gone, on=date(2026, 2, 28))
        assert invoices_of(control_session, gone) == []
