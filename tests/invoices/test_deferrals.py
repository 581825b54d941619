"""Deferred revenue: billed ahead, earned day by day, exact to the minor unit."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.invariants import offences
from invoices import coupons, deferrals, invoicing, ledger
from invoices.checks import INVARIANTS
from invoices.coupons import Availability
from invoices.discounts import Coupon
from invoices.models import Deferral, Invoice, LedgerEntry
from tests.factories import NOW, make_invoice, make_readings, make_subscription

DAY = NOW.date()
MARCH, APRIL = (datetime(2026, month, 1, 1, tzinfo=UTC) for month in (3, 4))


def balance(session: Session, account: str, until: date | None = None) -> int:
    return sum(
        each.credit_minor - each.debit_minor
        for each in ledger.trial_balance(control_session=session, until=until)
        if each.account == account
    )


def days_on(session: Session, first: date, count: int) -> list[int]:
    """What was earned on each of so many days, as the daily task books it."""
    made = []
    for place in range(count):
        day = first + timedelta(days=place)
        found = deferrals.recognise(control_session=session, day=day, now=NOW)
        made.append(sum(each.amount_minor for each in found))
    session.expire_all()
    return made


def assert_in_order(session: Session) -> None:
    session.flush()
    assert not [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=NOW)
    ]


def defer(session: Session, invoice: Invoice, amount_minor: int, days: int) -> Deferral:
    row = Deferral(
        tenant_id=invoice.tenant_id,
        invoice_id=invoice.id,
        currency="USD",
        amount_minor=amount_minor,
        starts_on=DAY,
        ends_on=DAY + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    return row


class TestAFeeBilledAhead:
    def test_is_no_revenue_on_the_day_it_is_billed(self, control_session: Session) -> None:
        make_invoice(control_session)
        assert balance(control_session, "revenue") == 0
        assert balance(control_session, "deferred_revenue") == 190_000

    def test_is_earned_to_the_last_unit_by_its_last_day(self, control_session: Session) -> None:
        make_invoice(control_session)
        earned = days_on(control_session, DAY, 31)
        assert sum(earned) == 190_000
        assert set(earned) == {190_000 // 31, 190_000 // 31 + 1}
        assert balance(control_session, "deferred_revenue") == 0
        assert days_on(control_session, DAY + timedelta(days=31), 2) == [0, 0]
        assert_in_order(control_session)

    def test_is_earned_once_however_often_the_task_runs(self, control_session: Session) -> None:
        make_invoice(control_session)
        first = days_on(control_session, DAY, 1)
        assert days_on(control_session, DAY, 1) == [0]
        assert balance(control_session, "revenue") == first[0]

    def test_of_missed_days_is_caught_up(self, control_session: Session) -> None:
        make_invoice(control_session)
        late = days_on(control_session, DAY + timedelta(days=9), 1)
        assert late == [190_000 * 10 // 31]
        assert_in_order(control_session)

    def test_is_booked_on_the_day_it_was_earned(self, control_session: Session) -> None:
        make_invoice(control_session)
        days_on(control_session, DAY, 3)
        until = DAY + timedelta(days=1)
        assert balance(control_session, "revenue", until) == 190_000 * 2 // 31
        kinds = control_session.scalars(
            select(LedgerEntry.booked_on).where(LedgerEntry.kind == "recognition")
        ).all()
        assert sorted(kinds) == [DAY + timedelta(days=place) for place in range(3)]

    def test_that_is_voided_leaves_nothing(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        days_on(control_session, DAY, 10)
        invoicing.void(
            control_session=control_session,
            invoice_id=invoice.id,
            reason="wrong",
            actor=SYSTEM,
            now=NOW,
        )
        assert balance(control_session, "revenue") == 0
        assert balance(control_session, "deferred_revenue") == 0
        assert days_on(control_session, DAY + timedelta(days=10), 1) == [0]
        assert_in_order(control_session)


class TestADiscount:
    def test_belongs_to_the_days_of_the_lines_it_is_taken_off(
        self, control_session: Session
    ) -> None:
        """A tenth off April, billed ahead, and off the seats of March, which is over."""
        subscription = make_subscription(control_session, starts_on=date(2026, 3, 1), now=MARCH)
        make_readings(
            control_session,
            tenant_id=subscription.tenant_id,
            start=date(2026, 3, 1),
            end=date(2026, 4, 1),
            seats=60,
        )
        self.redeem(control_session, subscription.tenant_id)
        invoicing.bill(
            control_session=control_session, subscription_ids=[subscription.id], now=MARCH
        )
        before = balance(control_session, "deferred_revenue")
        assert before == 190_000 - 19_000
        invoicing.bill(
            control_session=control_session, subscription_ids=[subscription.id], now=APRIL
        )
        april = control_session.scalars(
            select(Invoice).where(Invoice.period.contains(date(2026, 4, 15)))
        ).one()
        (off,) = [line.amount_minor for line in april.lines if line.kind == "discount"]
        assert off < -19_000
        assert balance(control_session, "deferred_revenue") - before == 190_000 - 19_000
        rows = control_session.execute(
            select(Deferral.amount_minor, Deferral.starts_on, Deferral.ends_on).where(
                Deferral.invoice_id == april.id
            )
        ).all()
        month = (date(2026, 4, 1), date(2026, 5, 1))
        assert sorted(rows) == [(-19_000, *month), (190_000, *month)]
        self.voided_leaves_nothing(control_session, april, before)

    def redeem(self, session: Session, tenant_id: UUID) -> None:
        coupons.create(
            control_session=session,
            coupon=Coupon(
                code="SPRING",
                name_ko="봄맞이 할인",
                name_en="Spring sale",
                kind="percentage",
                percent=Decimal(10),
                duration="forever",
            ),
            availability=Availability(),
            actor=SYSTEM,
            now=MARCH,
        )
        coupons.redeem(
            control_session=session, code="SPRING", tenant_id=tenant_id, actor=SYSTEM, now=MARCH
        )

    def voided_leaves_nothing(self, session: Session, invoice: Invoice, before: int) -> None:
        assert_in_order(session)
        invoicing.void(
            control_session=session,
            invoice_id=invoice.id,
            reason="wrong",
            actor=SYSTEM,
            now=APRIL,
        )
        assert balance(session, "deferred_revenue") == before
        assert_in_order(session)


class TestAnyAmount:
    @pytest.mark.parametrize("amount_minor", [1, 2, 30, 31, 32, -1, -100, 9_223_372_036_854_775])
    def test_comes_out_whole_over_its_days(
        self, control_session: Session, amount_minor: int
    ) -> None:
        row = defer(control_session, make_invoice(control_session), amount_minor, 31)
        for place in range(31):
            deferrals.recognise(
                control_session=control_session, day=DAY + timedelta(days=place), now=NOW
            )
            control_session.refresh(row)
            share = abs(amount_minor) * (place + 1) // 31
            assert abs(row.recognised_minor) == share
        assert row.recognised_minor == amount_minor

    def test_that_is_taken_out_in_part_earns_the_rest(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        days_on(control_session, DAY, 10)
        taken = deferrals.take_out(
            control_session=control_session, invoice_id=invoice.id, up_to_minor=50_000
        )
        earned = 190_000 * 10 // 31
        assert taken == 50_000
        rest = days_on(control_session, DAY + timedelta(days=10), 21)
        assert sum(rest) == 190_000 - earned - 50_000

    def test_is_never_taken_out_beyond_what_is_unearned(self, control_session: Session) -> None:
        invoice = make_invoice(control_session)
        days_on(control_session, DAY, 30)
        taken = deferrals.take_out(
            control_session=control_session, invoice_id=invoice.id, up_to_minor=190_000
        )
        assert taken == 190_000 - 190_000 * 30 // 31
