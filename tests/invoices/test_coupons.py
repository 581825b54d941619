"""Coupons as they are offered, redeemed and released, by a hundred customers at once too."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta
from decimal import Decimal
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import APP_ROLE, role_url
from app.base.db import control_session as transaction
from app.base.money import Money
from invoices import coupons, credit_notes, invoicing, write_offs
from invoices.coupon_terms import CouponUnsound
from invoices.coupons import CouponRefused, CouponUnknown
from invoices.discounts import Coupon
from invoices.models import (
    CouponOffer,
    CouponRedemption,
    Invoice,
)
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import (
    NOW,
    make_catalogue,
    make_readings,
    make_staff,
    make_subscription,
    make_tenant,
)
from tests.invoices.couponed import (
    ADMIN,
    START,
    assert_in_order,
    bill,
    off,
    offer,
    redeem,
    release,
    seoul,
    subscribed,
    terms,
)


def settle(session: Session, invoice: Invoice, became: str) -> None:
    """Ends an unpaid invoice in one of the ways in which nobody pays it."""
    how: dict[str, Any] = {
        "control_session": session,
        "invoice_id": invoice.id,
        "reason": "closed down",
        "now": NOW,
    }
    staff_id = make_staff(session, role="finance").id
    if became == "credited":
        whole = Money(invoice.total_minor, invoice.currency)
        credit_notes.issue(**how, amount=whole, keep=False, staff_id=staff_id)
    elif became == "written_off":
        write_offs.write_off(**how, staff_id=staff_id)
    else:
        invoicing.void(**how, actor=ADMIN)


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

    @pytest.mark.parametrize(
        ("became", "new"), [("credited", False), ("written_off", False), ("void", True)]
    )
    def test_for_new_customers_counts_every_bill_that_was_not_voided(
        self, control_session: Session, became: str, new: bool
    ) -> None:
        offer(control_session, first_time_only=True)
        subscription, tenant = subscribed(control_session)
        invoice = bill(control_session, subscription, START)
        settle(control_session, invoice, became)
        assert invoice.state == became
        if new:
            redeem(control_session, tenant)
        else:
            with pytest.raises(CouponRefused, match="new customers"):
                redeem(control_session, tenant)

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
        # Our own pools have far fewer connections: the others would wait there, not at the coupon.
        connections = create_engine(role_url(APP_ROLE), pool_size=100, max_overflow=0)
        start = Barrier(100)
        servers: set[int] = set()

        def one(tenant_id: UUID) -> bool:
            try:
                with Session(connections) as session, session.begin():
                    tenant = session.get_one(Tenant, tenant_id)
                    servers.add(session.scalar(text("SELECT pg_backend_pid()")))
                    start.wait(timeout=300)
                    redeem(session, tenant)
            except CouponRefused:
                return False
            return True

        try:
            with ThreadPoolExecutor(100) as threads:
                got = list(threads.map(one, tenants))
        finally:
            connections.dispose()
        assert len(servers) == 100
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
