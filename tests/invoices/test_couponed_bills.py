"""What coupons take off real bills, and what the check says of those that were given too often."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base.invariants import offences
from invoices import changes, coupon_uses, discounts, invoicing
from invoices.checks import INVARIANTS
from invoices.models import (
    CouponUse,
    CreditGrant,
)
from tests.factories import (
    NOW,
    make_readings,
)
from tests.invoices.couponed import (
    ADMIN,
    START,
    assert_in_order,
    bill,
    every,
    off,
    offer,
    redeem,
    seoul,
    subscribed,
    terms,
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
