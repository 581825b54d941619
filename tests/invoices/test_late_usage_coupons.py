"""What coupons took off usage goes with what is corrected of it, in both directions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import and_, delete, insert, select
from sqlalchemy.orm import Session

from invoices import coupon_uses, invoicing, verifying
from invoices.models import CouponRedemption, Invoice, InvoiceLine, Subscription, UsageTotal
from tenants import corrections, events
from tenants.models import Tenant
from tests.invoices.couponed import offer, redeem, release, terms
from tests.invoices.metered import FINANCE, START, bill, broken_rules, seoul, subscribe

USED_ON = date(2026, 2, 10)
MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)


@pytest.fixture
def billed(control_session: Session) -> Callable[..., Subscription]:
    """90 calls in February at ₩100 each, less a coupon; those beyond a hundred are ₩10."""

    def make(kind: str, minimum: int = 0, calls: int = 90, **fields: Any) -> Subscription:
        def redeemed(made: Subscription) -> None:
            coupon(control_session, made, kind=kind, **fields)
            push(control_session, made, calls, "timely")

        return subscribe(control_session, minimum=minimum, calls=0, before=redeemed)

    return make


def coupon(session: Session, subscription: Subscription, **fields: Any) -> CouponRedemption:
    made = offer(session, terms(**fields))
    return redeem(
        session,
        session.get_one(Tenant, subscription.tenant_id),
        made.code,
        now=seoul(START),
        starts_on=START,
    )


def push(
    session: Session,
    subscription: Subscription,
    count: int,
    name: str = "late",
    on: date = USED_ON,
) -> None:
    """Events that can be corrected, which are there from early March on."""
    sent = [
        {
            "id": f"{name}-{number}",
            "tenant": str(subscription.tenant_id),
            "type": "api.call",
            "time": seoul(on, 12).isoformat(),
        }
        for number in range(count)
    ]
    outcomes = events.accept(
        usage_session=session, control_session=session, events=sent, now=seoul(date(2026, 3, 5))
    )
    assert {each.outcome for each in outcomes} <= {"accepted"}


def void(session: Session, subscription: Subscription, count: int, by: datetime) -> None:
    """Takes back so many of the events that were billed."""
    for number in range(count):
        corrections.void(
            usage_session=session,
            control_session=session,
            tenant_id=subscription.tenant_id,
            event_id=f"timely-{number}",
            at=seoul(USED_ON, 12).isoformat(),
            reason="counted twice",
            actor=FINANCE,
            now=by,
        )


def of_bill(session: Session, subscription: Subscription, on: date) -> list[tuple[str, str, int]]:
    """The lines of a day's bill that stands, without charges of nothing."""
    session.expire_all()
    lines = session.scalars(
        select(InvoiceLine)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            Invoice.subscription_id == subscription.id,
            Invoice.supplied_on == on,
            Invoice.state != "void",
        )
        .order_by(InvoiceLine.position)
    )
    return [
        (line.kind, line.charge, line.amount_minor)
        for line in lines
        if line.kind != "charge" or line.amount_minor
    ]


def wrong(session: Session) -> list[Any]:
    session.expire_all()
    found: list[Any] = broken_rules(session)
    issued = session.scalars(select(Invoice.id).where(Invoice.issued_at.is_not(None))).all()
    for verdict in verifying.verify(control_session=session, invoice_ids=issued):
        found += [(verdict.number, each) for each in verdict.differences]
    return found


def corrected(session: Session, subscription: Subscription, on: date = APRIL) -> Any:
    """The evidence of the line that corrects a discount."""
    session.expire_all()
    (line,) = session.scalars(
        select(InvoiceLine)
        .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
        .where(
            Invoice.subscription_id == subscription.id,
            Invoice.supplied_on == on,
            InvoiceLine.evidence["rule"].astext == "discount_corrected",
        )
    )
    return line.evidence


class TestAFreeMonth:
    def test_gives_nothing_back_that_was_not_paid(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("months_free", duration="months", months=1)
        assert of_bill(control_session, made, MARCH) == [
            ("charge", "calls", 9_000),
            ("discount", "discount", -9_000),
        ]
        void(control_session, made, 5, seoul(date(2026, 3, 5)))
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", -500),
            ("discount", "calls", 500),
        ]
        assert wrong(control_session) == []

    def test_stays_free_for_what_comes_late(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("months_free", duration="months", months=1)
        push(control_session, made, 30)
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", 1_200),
            ("discount", "calls", -1_200),
        ]
        evidence = corrected(control_session, made)
        assert (evidence["was_minor"], evidence["is_minor"]) == (9_000, 10_200)
        assert wrong(control_session) == []


class TestAPercentage:
    def test_applies_to_the_difference(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("percentage", percent=Decimal(30), duration="forever")
        push(control_session, made, 15)  # ten at ₩100 and five at ₩10
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", 1_050),
            ("discount", "calls", -315),
        ]
        void(control_session, made, 90, seoul(date(2026, 4, 5)))
        bill(control_session, made, MAY)
        assert of_bill(control_session, made, MAY) == [
            ("adjustment", "calls", -8_550),
            ("discount", "calls", 2_565),
            ("carried", "balance", 5_985),
        ]
        assert wrong(control_session) == []

    def test_that_was_good_once_is_good_for_what_it_was_good_for(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("percentage", percent=Decimal(50), duration="once")
        push(control_session, made, 10)
        push(control_session, made, 2, "march", date(2026, 3, 2))
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("charge", "calls", 200),
            ("adjustment", "calls", 1_000),
            ("discount", "calls", -500),
        ]
        assert wrong(control_session) == []

    def test_that_had_nothing_to_be_taken_off_yet_is_taken_off_what_comes_late(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("percentage", calls=0, percent=Decimal(50), duration="forever")
        assert of_bill(control_session, made, MARCH) == []
        push(control_session, made, 10)
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", 1_000),
            ("discount", "calls", -500),
        ]
        assert wrong(control_session) == []
        redemption = control_session.scalars(select(CouponRedemption)).one()
        release(control_session, redemption)
        assert redemption.counted
        assert wrong(control_session) == []

    def test_redeemed_after_the_bill_is_not_of_its_period(self, control_session: Session) -> None:
        made = subscribe(control_session)
        tenant = control_session.get_one(Tenant, made.tenant_id)
        offer(control_session, terms(duration="forever"))
        redeem(control_session, tenant, now=seoul(date(2026, 3, 4)), starts_on=START)
        push(control_session, made, 10)
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [("adjustment", "calls", 1_000)]
        assert wrong(control_session) == []


class TestAnAmount:
    def test_gives_no_more_than_what_was_left_of_it(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("amount", amount_minor=9_400, currency="KRW", duration="once")
        push(control_session, made, 10)
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", 1_000),
            ("discount", "calls", -400),
        ]
        assert wrong(control_session) == []

    def test_is_taken_back_where_less_is_left_to_take_it_off(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("amount", amount_minor=8_000, currency="KRW", duration="once")
        void(control_session, made, 30, seoul(date(2026, 3, 5)))
        bill(control_session, made, APRIL)
        # ₩1,000 were paid, of which nothing is owed for the 60 calls that are left.
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", -3_000),
            ("discount", "calls", 2_000),
            ("carried", "balance", 1_000),
        ]
        assert wrong(control_session) == []
        (listed,) = coupon_uses.taken_off(
            control_session=control_session,
            tenant_id=made.tenant_id,
            redemption_ids=control_session.scalars(select(CouponRedemption.id)).all(),
        ).values()
        assert [(each.bill_on, each.amount_minor) for each in listed] == [
            (MARCH, 8_000),
            (APRIL, -2_000),
        ]

    def test_is_left_as_it_was_where_it_is_used_up(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("amount", amount_minor=8_000, currency="KRW", duration="once")
        push(control_session, made, 10)
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL) == [("adjustment", "calls", 1_000)]
        assert wrong(control_session) == []


class TestFreeUnits:
    def test_are_counted_anew(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("free_units", units=Decimal(100), charges=("calls",), duration="once")
        assert of_bill(control_session, made, MARCH)[1] == ("discount", "discount", -9_000)
        push(control_session, made, 30)
        bill(control_session, made, APRIL)
        # 120 calls come to ₩10,200; without a hundred of them to ₩2,000.
        assert of_bill(control_session, made, APRIL) == [
            ("adjustment", "calls", 1_200),
            ("discount", "calls", 800),
        ]
        (told,) = corrected(control_session, made)["coupons"]
        assert (told["was"]["units"], told["is"]["units"]) == ("90", "100")
        assert wrong(control_session) == []


class TestAMinimum:
    def test_that_was_discounted_gives_back_what_was_paid_of_it(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed(
            "percentage", minimum=20_000, percent=Decimal(50), duration="months", months=1
        )
        push(control_session, made, 5)
        bill(control_session, made, APRIL)
        # ₩500 more of usage and ₩500 less of the minimum, both at half their price.
        assert of_bill(control_session, made, APRIL)[1:] == [
            ("adjustment", "calls", 500),
            ("adjustment", "least", -500),
            ("discount", "calls", -250),
            ("discount", "least", 250),
        ]
        assert wrong(control_session) == []


class TestACorrection:
    def test_follows_the_one_before_and_one_that_was_voided_never_was(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("amount", amount_minor=9_400, currency="KRW", duration="once")
        push(control_session, made, 3)
        push(control_session, made, 1, "march", date(2026, 3, 2))
        bill(control_session, made, APRIL)
        assert of_bill(control_session, made, APRIL)[2] == ("discount", "calls", -300)
        april = control_session.scalars(select(Invoice).where(Invoice.supplied_on == APRIL)).one()
        invoicing.void(
            control_session=control_session,
            invoice_id=april.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(date(2026, 4, 2)),
        )
        push(control_session, made, 2, "later")
        bill(control_session, made, date(2026, 4, 3))
        assert of_bill(control_session, made, APRIL)[1:] == [
            ("adjustment", "calls", 500),
            ("discount", "calls", -400),
        ]
        push(control_session, made, 4, "last")
        bill(control_session, made, MAY)
        assert of_bill(control_session, made, MAY) == [("adjustment", "calls", 400)]
        assert wrong(control_session) == []

    def test_that_was_made_of_other_usage_is_named_with_its_discount(
        self, control_session: Session, billed: Callable[..., Subscription]
    ) -> None:
        made = billed("percentage", percent=Decimal(30), duration="forever")
        push(control_session, made, 10)
        bill(control_session, made, APRIL)
        assert wrong(control_session) == []
        which = and_(UsageTotal.revision == 1, UsageTotal.subscription_id == made.id)
        (kept,) = control_session.execute(select(UsageTotal.__table__).where(which)).mappings()
        control_session.execute(delete(UsageTotal).where(which))
        control_session.execute(
            insert(UsageTotal), {**kept, "quantity": Decimal(110), "transactions": 110}
        )
        assert {(2, "usage is"), (3, "coupon is_minor")} <= {
            (each.line, each.what) for _, each in wrong(control_session)
        }
