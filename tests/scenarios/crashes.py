"""Histories that a killed billing run must still bill exactly once, and what they should come to.

A history is drawn from its seed: several intervals, an item that ended early and is credited, a
commitment, a balance carried over, and first days that a three days' outage swallowed. What it
should come to is what one undisturbed run makes of it, rolled back.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_session
from app.base.invariants import offences
from invoices import catalogue, invoicing, periods
from invoices.charges import Charge
from invoices.checks import INVARIANTS
from invoices.models import (
    BilledSpan,
    CreditGrant,
    Invoice,
    InvoiceLine,
    NumberSeries,
    Subscription,
    SubscriptionItem,
)
from invoices.periods import QUARTERLY, Interval
from invoices.plan_terms import PlanTerms
from invoices.pricing import Pricing
from tests.factories import make_readings, make_subscription, make_tenant

TODAY = datetime(2026, 4, 30, 3, 0, tzinfo=UTC)
PLAN = "crash"
# The statements of a pass with drafts and credits in it are some forty.
STATEMENTS = 48
SECONDS_MAX = 0.4
Billed = tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Who bills what at once, and when each of the two is killed: at a statement, or after a time.

    A whole number is the statement before which it dies, a fraction the seconds after its start.
    """

    seed: int
    deaths: tuple[float | None, ...]


def schedules(count: int, *, first: int = 0) -> Iterator[Schedule]:
    """This function will draw schedules: each statement is somebody's last before long."""
    for seed in range(first, first + count):
        dice = random.Random(seed)
        other: float = dice.randint(2, STATEMENTS)
        if dice.random() < 0.5:
            other = round(dice.uniform(0.001, SECONDS_MAX), 4)
        yield Schedule(seed, (2 + seed * 7 % STATEMENTS, other))


def publish(session: Session) -> None:
    """The price list of all histories."""
    arrears = {"timing": "arrears", "name_ko": "사용", "name_en": "Usage"}
    flat = {"name_ko": "요금", "name_en": "Fee"}
    price = lambda amount: Pricing(model="flat", unit_amount=Decimal(amount))  # noqa: E731
    catalogue.publish(
        control_session=session,
        terms=PlanTerms(
            plan_code=PLAN,
            position=7,
            currency="KRW",
            name_ko="시험",
            name_en="Crash",
            seats_max=100,
            storage_bytes_max=10**12,
            charges=(
                Charge(
                    code="base", pricing=Pricing(model="per_unit", unit_amount=Decimal(90_001)),
                    **flat,
                ),
                Charge(code="support", pricing=price(77_777), interval=QUARTERLY, **flat),
                Charge(code="visits", pricing=price(9_999), interval=Interval(2, "week"), **flat),
                Charge(code="start", kind="setup", pricing=price(50_000), **flat),
                Charge(
                    code="seats", meter="seats", aggregation="peak",
                    pricing=Pricing(model="per_unit", unit_amount=Decimal(15_000)), **arrears,
                ),
                Charge(
                    code="minimum", kind="commitment", timing="arrears", pricing=price(400_000),
                    **flat,
                ),
            ),
        ),
        actor=SYSTEM,
        now=TODAY,
    )  # fmt: skip


def make(seed: int, count: int = 3) -> list[UUID]:
    """This function will write the histories of a seed and return their subscriptions."""
    dice = random.Random(f"history {seed}")
    with control_session() as session:
        publish(session)
        return [_one(session, dice) for _ in range(count)]


def _one(session: Session, dice: random.Random) -> UUID:
    # Some begin in the three days that nobody billed, others have months behind them.
    starts_on = TODAY.date() - timedelta(days=dice.choice([0, 1, 2, 3, 59, 89, 90]))
    made = make_subscription(
        session,
        tenant=make_tenant(session, state="active"),
        starts_on=starts_on,
        plan_code=PLAN,
    )
    make_readings(
        session,
        tenant_id=made.tenant_id,
        start=starts_on,
        end=TODAY.date() + timedelta(days=1),
        seats=dice.randint(1, 20),
    )
    if (TODAY.date() - starts_on).days > 20:
        _bill_the_first_days(session, made, starts_on)
        _change_quantity(session, made, TODAY.date() - timedelta(days=dice.randint(4, 19)), dice)
    if dice.random() < 0.5:
        session.add(
            CreditGrant(
                tenant_id=made.tenant_id,
                currency="KRW",
                amount_minor=dice.randint(1, 300_000),
                source="change",
                priority=0,
                granted_at=TODAY,
            )
        )
    return made.id


def _bill_the_first_days(session: Session, made: Subscription, starts_on: date) -> None:
    """What was paid ahead can be given back."""
    session.flush()
    invoicing.bill(
        control_session=session,
        subscription_ids=[made.id],
        now=max(
            periods.midnight(starts_on, made.timezone),
            periods.midnight(TODAY.date() - timedelta(days=21), made.timezone),
        ),
    )


def _change_quantity(session: Session, made: Subscription, on: date, dice: random.Random) -> None:
    at = periods.midnight(on, made.timezone) + timedelta(hours=dice.randint(0, 23))
    item = session.scalars(
        select(SubscriptionItem).where(
            SubscriptionItem.subscription_id == made.id, SubscriptionItem.charge == "base"
        )
    ).one()
    item.ends_at = at
    session.add(
        SubscriptionItem(
            subscription_id=made.id,
            price_id=item.price_id,
            charge="base",
            quantity=Decimal(dice.choice([0, 1, 2, 3])),
            starts_at=at,
            anchor_on=item.anchor_on,
            created_at=TODAY,
        )
    )
    made.next_bill_on = min(made.next_bill_on or on, on)
    session.flush()


def expected(subscription_ids: Sequence[UUID]) -> dict[UUID, Billed]:
    """This function will tell what one undisturbed run bills, and undo it."""
    with control_session() as session:
        while True:
            outcome = invoicing.bill(
                control_session=session, subscription_ids=subscription_ids, now=TODAY
            )
            if not outcome.issued:
                break
        found = {each: billed(session, each) for each in subscription_ids}
        session.rollback()
        return found


def billed(session: Session, subscription_id: UUID) -> Billed:
    """This function will return every line and every span that a subscription was billed."""
    lines = session.execute(
        select(
            Invoice.supplied_on,
            InvoiceLine.position,
            InvoiceLine.kind,
            InvoiceLine.charge,
            InvoiceLine.amount_minor,
            InvoiceLine.tax_minor,
            BilledSpan.kind,
            BilledSpan.span,
        )
        .join(InvoiceLine, InvoiceLine.invoice_id == Invoice.id)
        .outerjoin(BilledSpan, BilledSpan.line_id == InvoiceLine.id)
        .where(Invoice.subscription_id == subscription_id, Invoice.state != "void")
        .order_by(Invoice.supplied_on, InvoiceLine.position)
    )
    return tuple(tuple(row) for row in lines)


def differences(wanted: dict[UUID, Billed]) -> list[str]:
    """This function will name each subscription that was not billed exactly as it should be."""
    found = []
    with control_session() as session:
        for subscription_id, should_be in wanted.items():
            is_ = billed(session, subscription_id)
            missed = [line for line in should_be if line not in is_]
            twice = [line for line in is_ if line not in should_be or is_.count(line) > 1]
            if missed or twice or len(is_) != len(should_be):
                found.append(f"{subscription_id} missed {missed}, has too much {twice}")
    return found


def broken_rules() -> Iterable[str]:
    """This function will name what breaks an invariant, numbers without gaps among them."""
    with control_session() as session:
        for rule in INVARIANTS:
            for offence in offences(control_session=session, invariant=rule, now=TODAY):
                yield str(offence)
        numbers = session.scalars(
            select(Invoice.number).where(Invoice.number.is_not(None)).order_by(Invoice.number)
        ).all()
        following = session.scalars(select(NumberSeries.next_number)).one()
        if list(numbers) != list(range(1, following)):
            yield f"numbers have gaps below {following}"
