"""Coupons on a real database: redeemed in time and in turn, used by bills, given back by voids."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import changes, coupon_uses, coupons, discounts, invoicing
from invoices.checks import INVARIANTS
from invoices.coupon_terms import CouponUnsound
from invoices.coupons import Availability, CouponRefused, CouponUnknown
from invoices.discounts import Coupon
from invoices.models import (
    CouponOffer,
    CouponRedemption,
    CouponUse,
    CreditGrant,
    Invoice,
    Subscription,
)
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import (
    NOW,
    make_catalogue,
    make_readings,
    make_subscription,
    make_tenant,
)

ADMIN = Actor("admin", "somebody")
START = date(2026, 3, 1)


def seoul(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def terms(kind: str = "percentage", **fields: Any) -> Coupon:
    values: dict[str, Any] = {
        "code": "SPRING",
        "name_ko": "봄맞이 할인",
        "name_en": "Spring sale",
        "kind": kind,
    }
    if kind == "percentage":
        values["percent"] = Decimal(10)
    return Coupon(**values | fields)


def offer(session: Session, coupon: Coupon | None = None, **availability: Any) -> CouponOffer:
    return coupons.create(
        control_session=session,
        coupon=coupon or terms(),
        availability=Availability(**availability),
        actor=SYSTEM,
        now=NOW,
    )


def redeem(session: Session, tenant: Tenant, code: str = "SPRING", **more: Any) -> CouponRedemption:
    return coupons.redeem(
        control_session=session,
        code=code,
        tenant_id=tenant.id,
        actor=ADMIN,
        now=more.pop("now", NOW),
        **more,
    )


def subscribed(session: Session, starts_on: date = START) -> tuple[Subscription, Tenant]:
    subscription = make_subscription(session, starts_on=starts_on, now=seoul(starts_on))
    return subscription, session.get_one(Tenant, subscription.tenant_id)


def bill(session: Session, subscription: Subscription, on: date) -> Invoice:
    """Bills everything due on a day and returns the last invoice of it."""
    (*_, issued) = invoicing.bill(
        control_session=session, subscription_ids=[subscription.id], now=seoul(on)
    ).issued
    session.expire_all()
    return session.get_one(Invoice, issued)


def off(invoice: Invoice) -> list[int]:
    return [line.amount_minor for line in invoice.lines if line.kind == "discount"]


def assert_in_order(session: Session) -> None:
    session.flush()
    found = [
        each
        for invariant in INVARIANTS
        for each in offences(control_session=session, invariant=invariant, now=NOW)
    ]
    assert not found


class TestTerms:
    def test_are_never_changed(self, control_session: Session) -> None:
        made = offer(control_session)
        with pytest.raises(IntegrityError, match="cannot be changed"):
            control_session.execute(
                text("UPDATE coupon SET percent = 99 WHERE id = :id"), {"id": made.id}
            )

    def test_keep_a_retired_coupon_retired(self, control_session: Session) -> None:
        made = offer(control_session)
        coupons.retire(control_session=control_session, coupon_id=made.id, actor=SYSTEM, now=NOW)
        with pytest.raises(IntegrityError, match="cannot be changed"):
            control_session.execute(
                text("UPDATE coupon SET retired_at = NULL WHERE id = :id"), {"id": made.id}
            )

    @pytest.mark.parametrize(
        ("coupon", "field"),
        [
            (terms(code="a b"), "code"),
            (terms(name_ko=" "), "name_ko"),
            (terms(kind="half"), "kind"),
            (terms(percent=Decimal(0)), "percent"),
            (terms(percent=Decimal("100.1")), "percent"),
            (terms(percent=Decimal("NaN")), "percent"),
            (terms("amount", currency="KRW"), "amount"),
            (terms("amount", amount_minor=1000), "currency"),
            (terms("free_units", charges=("seats",)), "units"),
            (terms("free_units", units=Decimal(5)), "charges"),
            (terms("months_free", months=2), "duration"),
            (terms("months_free", duration="months"), "months"),
            (terms(duration="months"), "months"),
            (terms(months=3), "months"),
            (terms(priority=-1), "priority"),
            (terms(plans=("no_plan",)), "plans"),
            (terms(charges=("seats", "no_charge")), "charges"),
        ],
    )
    def test_that_contradict_themselves_name_their_field(
        self, control_session: Session, coupon: Coupon, field: str
    ) -> None:
        make_catalogue(control_session)
        with pytest.raises(CouponUnsound) as refusal:
            offer(control_session, coupon)
        assert refusal.value.field == field

    def test_take_no_code_that_was_used_before(self, control_session: Session) -> None:
        offer(control_session)
        with pytest.raises(CouponUnsound, match="used before"):
            offer(control_session)


class TestRedeeming:
    def test_finds_a_code_however_it_is_typed(self, control_session: Session) -> None:
        offer(control_session)
        _, tenant = subscribed(control_session)
        assert redeem(control_session, tenant, " spring ").coupon.redeemed == 1
        assert_in_order(control_session)

    def test_knows_no_other_code(self, control_session: Session) -> None:
        _, tenant = subscribed(control_session)
        with pytest.raises(CouponUnknown) as refusal:
            redeem(control_session, tenant, "SUMMER")
        assert refusal.value.field == "code"

    @pytest.mark.parametrize(
        ("availability", "words"),
        [
            ({"starts_at": NOW + timedelta(seconds=1)}, "not valid yet"),
            ({"expires_at": NOW}, "has expired"),
        ],
    )
    def test_keeps_to_its_dates(
        self, control_session: Session, availability: dict[str, datetime], words: str
    ) -> None:
        offer(control_session, **availability)
        _, tenant = subscribed(control_session)
        with pytest.raises(CouponRefused, match=words):
            redeem(control_session, tenant)

    def test_ends_with_its_retirement(self, control_session: Session) -> None:
        made = offer(control_session)
        coupons.retire(control_session=control_session, coupon_id=made.id, actor=SYSTEM, now=NOW)
        _, tenant = subscribed(control_session)
        with pytest.raises(CouponRefused, match="not offered any more"):
            redeem(control_session, tenant)

    def test_keeps_to_its_currency_and_plans(self, control_session: Session) -> None:
        _, tenant = subscribed(control_session)
        offer(control_session, terms("amount", code="DOLLARS", amount_minor=1, currency="USD"))
        with pytest.raises(CouponRefused, match="another currency"):
            redeem(control_session, tenant, "DOLLARS")
        offer(control_session, terms(code="BIG", plans=("studio",)))
        with pytest.raises(CouponRefused, match="another plan"):
            redeem(control_session, tenant, "BIG")

    def test_is_once_a_customer_unless_it_says_otherwise(self, control_session: Session) -> None:
        _, tenant = subscribed(control_session)
        offer(control_session)
        offer(control_session, terms(code="TWICE"), per_customer_max=2)
        redeem(control_session, tenant)
        with pytest.raises(CouponRefused, match="already"):
            redeem(control_session, tenant)
        redeem(control_session, tenant, "TWICE")
        redeem(control_session, tenant, "TWICE")
        with pytest.raises(CouponRefused, match="already"):
            redeem(control_session, tenant, "TWICE")

    def test_for_new_customers_is_refused_after_the_first_bill(
        self, control_session: Session
    ) -> None:
        offer(control_session, first_time_only=True)
        subscription, tenant = subscribed(control_session)
        _, newcomer = subscribed(control_session)
        bill(control_session, subscription, START)
        with pytest.raises(CouponRefused, match="new customers"):
            redeem(control_session, tenant)
        redeem(control_session, newcomer)

    def test_on_trial_waits_for_the_subscription(self, control_session: Session) -> None:
        offer(control_session)
        tenant = make_tenant(control_session)
        redemption = redeem(control_session, tenant)
        assert redemption.subscription_id is None
        tenant.state = "active"
        subscription = make_subscription(
            control_session, tenant=tenant, starts_on=date(2026, 3, 12), now=NOW
        )
        assert off(bill(control_session, subscription, date(2026, 3, 12)))
        control_session.refresh(redemption)
        assert redemption.subscription_id == subscription.id

    def test_is_first_come_first_served_among_a_hundred_at_once(self, scenario: Scenario) -> None:
        with transaction() as session:
            coupon_id = offer(session, max_redemptions=30).id
            tenants = [make_tenant(session, state="active").id for _ in range(100)]
        start = Barrier(20)

        def one(tenant_id: UUID) -> bool:
            if tenants.index(tenant_id) < 20:
                start.wait(timeout=30)
            try:
                with transaction() as session:
                    redeem(session, session.get_one(Tenant, tenant_id))
            except CouponRefused:
                return False
            return True

        with ThreadPoolExecutor(20) as threads:
            got = list(threads.map(one, tenants))
        with transaction() as session:
            rows = session.scalar(select(func.count()).select_from(CouponRedemption))
            assert (sum(got), rows, session.get_one(CouponOffer, coupon_id).redeemed) == (
                30,
                30,
                30,
            )
            assert_in_order(session)

    def test_one_customer_at_many_doors_has_it_once(self, scenario: Scenario) -> None:
        with transaction() as session:
            offer(session, max_redemptions=30)
            tenant_id = make_tenant(session, state="active").id

        def one(_: int) -> bool:
            try:
                with transaction() as session:
                    redeem(session, session.get_one(Tenant, tenant_id))
            except CouponRefused:
                return False
            return True

        with ThreadPoolExecutor(10) as threads:
            assert sum(threads.map(one, range(10))) == 1

    def test_the_database_itself_refuses_one_too_many(self, control_session: Session) -> None:
        made = offer(control_session, max_redemptions=1)
        with pytest.raises(IntegrityError, match="ck_coupon_used_up"):
            control_session.execute(
                text("UPDATE coupon SET redeemed = 2 WHERE id = :id"), {"id": made.id}
            )


class TestReleasing:
    def test_unused_gives_the_place_to_somebody_else(self, control_session: Session) -> None:
        offer(control_session, max_redemptions=1)
        (_, first), (_, second) = subscribed(control_session), subscribed(control_session)
        redemption = redeem(control_session, first)
        with pytest.raises(CouponRefused, match="used up"):
            redeem(control_session, second)
        release(control_session, redemption)
        redeem(control_session, second)
        assert_in_order(control_session)

    def test_after_use_keeps_what_was_taken_off_and_its_place(
        self, control_session: Session
    ) -> None:
        offer(control_session, terms(duration="forever"), max_redemptions=1)
        subscription, tenant = subscribed(control_session)
        redemption = redeem(control_session, tenant, now=seoul(START))
        assert off(bill(control_session, subscription, START))
        release(control_session, redemption)
        make_readings(
            control_session, tenant_id=tenant.id, start=START, end=date(2026, 4, 1), seats=3
        )
        assert off(bill(control_session, subscription, date(2026, 4, 1))) == []
        assert redemption.coupon.redeemed == 1
        assert_in_order(control_session)

    def test_asks_for_a_reason(self, control_session: Session) -> None:
        offer(control_session)
        _, tenant = subscribed(control_session)
        redemption = redeem(control_session, tenant)
        with pytest.raises(coupons.ReasonMissing):
            release(control_session, redemption, reason=" ")


def release(session: Session, redemption: CouponRedemption, reason: str = "by mistake") -> None:
    coupons.release(
        control_session=session,
        redemption_id=redemption.id,
        reason=reason,
        actor=ADMIN,
        now=NOW,
    )


class TestABill:
    def test_shows_what_a_coupon_took_off_and_how(self, control_session: Session) -> None:
        offer(control_session)
        subscription, tenant = subscribed(control_session)
        redemption = redeem(control_session, tenant, now=seoul(START))
        invoice = bill(control_session, subscription, START)
        charged = sum(line.amount_minor for line in invoice.lines if line.amount_minor > 0)
        (line,) = [line for line in invoice.lines if line.kind == "discount"]
        assert line.amount_minor == -charged // 10
        assert invoice.subtotal_minor == charged - charged // 10
        assert (line.name_ko, line.name_en) == ("할인: 봄맞이 할인", "Discount: Spring sale")
        assert line.evidence["redemption"] == str(redemption.id)
        assert discounts.recompute(line.evidence) == line.amount_minor
        use = control_session.scalars(select(CouponUse)).one()
        assert (use.line_id, use.amount_minor) == (line.id, -line.amount_minor)
        assert_in_order(control_session)

    def test_of_months_missed_uses_a_coupon_once_in_one_pass(
        self, control_session: Session
    ) -> None:
        offer(control_session)
        subscription, tenant = subscribed(control_session)
        make_readings(
            control_session, tenant_id=tenant.id, start=START, end=date(2026, 5, 1), seats=3
        )
        redeem(control_session, tenant, now=seoul(START))
        bill(control_session, subscription, date(2026, 5, 1))
        assert [len(off(each)) for each in every(control_session, subscription)] == [1, 0, 0]
        assert_in_order(control_session)

    def test_of_months_free_frees_them_and_their_usage(self, control_session: Session) -> None:
        offer(control_session, terms("months_free", duration="months", months=2))
        subscription, tenant = subscribed(control_session)
        make_readings(
            control_session, tenant_id=tenant.id, start=START, end=date(2026, 6, 1), seats=60
        )
        redeem(control_session, tenant, now=seoul(START))
        bill(control_session, subscription, date(2026, 6, 1))
        march, april, may, june = every(control_session, subscription)
        assert [march.total_minor, april.total_minor] == [0, 0]
        # May's base fee is due, April's seats are free; June pays for both.
        assert sum(off(may)) < 0 < may.subtotal_minor < june.subtotal_minor
        assert off(june) == []
        assert_in_order(control_session)

    def test_gives_free_units_at_their_price(self, control_session: Session) -> None:
        units = terms("free_units", units=Decimal(2), charges=("seats",))
        subscription, tenant = subscribed(control_session)
        offer(control_session, units)
        make_readings(
            control_session, tenant_id=tenant.id, start=START, end=date(2026, 4, 1), seats=60
        )
        bill(control_session, subscription, START)
        redeem(control_session, tenant)
        invoice = bill(control_session, subscription, date(2026, 4, 1))
        (seats,) = [line for line in invoice.lines if line.charge == "seats"]
        assert off(invoice) == [-2 * int(seats.unit_amount)]

    def test_voided_gives_the_coupon_back_to_the_next(self, control_session: Session) -> None:
        offer(control_session)
        subscription, tenant = subscribed(control_session)
        redeem(control_session, tenant, now=seoul(START))
        first = bill(control_session, subscription, START)
        invoicing.void(
            control_session=control_session,
            invoice_id=first.id,
            reason="wrong address",
            actor=ADMIN,
            now=seoul(START, 10),
        )
        assert_in_order(control_session)
        again = bill(control_session, subscription, START)
        assert off(again) == off(first) != []
        assert_in_order(control_session)

    def test_gives_back_for_unused_time_no_more_than_was_paid(
        self, control_session: Session
    ) -> None:
        offer(control_session, terms(percent=Decimal(40)))
        subscription, tenant = subscribed(control_session)
        redeem(control_session, tenant, now=seoul(START))
        first = bill(control_session, subscription, START)
        paid = first.subtotal_minor
        changes.cancel(
            when="now",
            control_session=control_session,
            tenant_id=tenant.id,
            credit=True,
            actor=ADMIN,
            now=seoul(START, 12),
        )
        last = bill(control_session, subscription, START)
        assert [line.kind for line in last.lines][:1] == ["credit"]
        (back,) = off(last)
        assert back == -off(first)[0]
        grant = control_session.scalars(select(CreditGrant)).one()
        assert grant.amount_minor == paid
        returned = next(line for line in last.lines if line.kind == "discount")
        assert discounts.recompute(returned.evidence) == back
        assert_in_order(control_session)

    def test_of_an_upgrade_costs_the_discounted_difference(self, control_session: Session) -> None:
        offer(control_session, terms(percent=Decimal(50), duration="forever"))
        subscription, tenant = subscribed(control_session)
        redeem(control_session, tenant, now=seoul(START))
        bill(control_session, subscription, START)
        changes.change_plan(
            control_session=control_session,
            tenant_id=tenant.id,
            plan_code="studio",
            when="now",
            actor=ADMIN,
            now=seoul(date(2026, 3, 16), 0),
        )
        make_readings(
            control_session, tenant_id=tenant.id, start=START, end=date(2026, 3, 16), seats=3
        )
        upgrade = bill(control_session, subscription, date(2026, 3, 16))
        paid_ahead = {
            line.kind: line.amount_minor
            for line in upgrade.lines
            if line.charge == "base" and line.kind != "discount"
        }
        # Half of the month, at half of each price.
        (returned, *_, discounted) = off(upgrade)
        assert returned == -paid_ahead["credit"] // 2
        assert discounted == -paid_ahead["charge"] // 2
        assert upgrade.subtotal_minor == sum(paid_ahead.values()) + returned + discounted
        assert_in_order(control_session)


def every(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on)
        )
    )


class TestTheCheck:
    def test_names_a_coupon_that_was_given_too_often(self, control_session: Session) -> None:
        made = offer(control_session, max_redemptions=5)
        _, tenant = subscribed(control_session)
        redeem(control_session, tenant)
        control_session.execute(
            text("UPDATE coupon SET redeemed = 2 WHERE id = :id"), {"id": made.id}
        )
        (found,) = self.offences(control_session)
        assert (found.kind, found.id) == ("coupon", str(made.id))
        assert "says 2 redeemed, but 1 are" in found.wrong

    def test_names_a_discount_that_nobody_redeemed(self, control_session: Session) -> None:
        offer(control_session)
        subscription, tenant = subscribed(control_session)
        redeem(control_session, tenant, now=seoul(START))
        invoice = bill(control_session, subscription, START)
        coupon_uses.give_back(control_session=control_session, invoice_id=invoice.id)
        assert {each.kind for each in self.offences(control_session)} == {
            "coupon_use",
            "invoice_line",
        }

    @staticmethod
    def offences(session: Session) -> list[Any]:
        (invariant,) = [each for each in INVARIANTS if each.code == "I4"]
        return list(offences(control_session=session, invariant=invariant, now=NOW))
