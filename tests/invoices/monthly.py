"""A subscription that is billed month by month, and what its bills say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import Actor
from app.base.invariants import Offence, offences
from invoices import invoicing
from invoices.checks import INVARIANTS
from invoices.models import (
    Invoice,
    Subscription,
)
from tests.factories import make_readings, make_subscription

START = date(2026, 1, 31)


FINANCE = Actor("staff", "finance")


def seoul(day: date, hour: int = 9) -> datetime:
    """An hour of a day in Seoul."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def bill(session: Session, *subscriptions: Subscription, on: date) -> invoicing.Outcome:
    return invoicing.bill(
        control_session=session,
        subscription_ids=[each.id for each in subscriptions],
        now=seoul(on),
    )


def invoices_of(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on, Invoice.number)
        )
    )


def paper(invoice: Invoice) -> list[tuple[Any, ...]]:
    """What an invoice asks for, apart from when it was written and under which number."""
    return [
        (
            line.charge,
            line.period,
            line.quantity,
            line.amount_minor,
            line.tax_minor,
            line.readings_sha256,
        )
        for line in invoice.lines
    ]


def broken_rules(session: Session) -> list[Offence]:
    session.flush()
    session.expire_all()
    return [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]


def subscribe(control_session: Session) -> Subscription:
    """This function will start a team plan on 31 January, with readings until the end of May."""
    started = make_subscription(control_session, starts_on=START, now=seoul(START))
    make_readings(
        control_session,
        tenant_id=started.tenant_id,
        start=START,
        end=date(2026, 5, 31),
        seats=14,
        gigabytes=Decimal("337.5"),
    )
    return started
