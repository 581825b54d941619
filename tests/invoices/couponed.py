"""Coupons to offer, redeem and use up, and what bills say of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, Actor
from app.base.invariants import offences
from invoices import coupons, invoicing
from invoices.checks import INVARIANTS
from invoices.coupons import Availability
from invoices.discounts import Coupon
from invoices.models import (
    CouponOffer,
    CouponRedemption,
    Invoice,
    Subscription,
)
from tenants.models import Tenant
from tests.factories import (
    NOW,
    make_subscription,
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


def release(session: Session, redemption: CouponRedemption, reason: str = "by mistake") -> None:
    coupons.release(
        control_session=session,
        redemption_id=redemption.id,
        reason=reason,
        actor=ADMIN,
        now=NOW,
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


def every(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on)
        )
    )


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
