"""Moving subscribers to a newer version: with notice, at a period's start, told once."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM, AuditEvent
from app.base.errors import Invalid, NotFound
from app.base.messages import Message
from invoices import catalogue, changes, invoicing, plan_moves
from invoices.models import Invoice, InvoiceLine, Subscription, SubscriptionItem
from invoices.plan_moves import Move, Moves
from tests.factories import (
    make_admin,
    make_readings,
    make_subscription,
    make_tenant,
)
from tests.invoices.plans import TEAM, dearer

START = date(2026, 3, 10)
MOVE = Move(
    plan_code="team",
    currency="KRW",
    from_version=1,
    to_version=2,
    on=date(2026, 4, 20),
    notice_days=30,
)


@pytest.fixture
def subscriber(control_session: Session, now: datetime) -> Subscription:
    """A subscriber of the team plan from 10 March, on its first version."""
    return make_subscription(control_session, starts_on=START)


def schedule(session: Session, move: Move, now: datetime) -> Moves:
    """Publish a version with another, lower base fee and move everybody to it."""
    catalogue.publish(control_session=session, terms=dearer(TEAM, 170_000), actor=SYSTEM, now=now)
    found = Moves()
    for tenant_id in plan_moves.subscribers(control_session=session, move=move, now=now):
        plan_moves.schedule(
            control_session=session,
            move=move,
            tenant_id=tenant_id,
            actor=SYSTEM,
            now=now,
            found=found,
        )
    session.expire_all()
    return found


def mails(session: Session) -> list[Message]:
    return list(
        session.scalars(
            select(Message).where(Message.kind == "price_change").order_by(Message.recipient)
        )
    )


class TestScheduling:
    def test_changes_the_price_as_the_first_period_after_the_day_begins(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        found = schedule(control_session, MOVE, now)
        (moved,) = found.moved
        assert (moved.moves_on, found.left) == (date(2026, 5, 10), [])
        assert subscriber.next_change_at is not None
        base = control_session.scalars(
            select(SubscriptionItem)
            .where(SubscriptionItem.charge == "base")
            .order_by(SubscriptionItem.starts_at)
        ).all()
        assert [item.ends_at for item in base] == [subscriber.next_change_at, None]
        make_readings(
            control_session, tenant_id=subscriber.tenant_id, start=START, end=date(2026, 6, 10)
        )
        later = now + timedelta(days=92)
        invoicing.bill(control_session=control_session, subscription_ids=[subscriber.id], now=later)
        amounts = control_session.execute(
            select(func.lower(InvoiceLine.period), InvoiceLine.amount_minor)
            .join(Invoice, Invoice.id == InvoiceLine.invoice_id)
            .where(InvoiceLine.charge == "base")
            .order_by(InvoiceLine.period)
        ).all()
        assert [(day.month, amount) for day, amount in amounts] == [
            (3, 190_000),
            (4, 190_000),
            (5, 170_000),
            (6, 170_000),
        ]

    def test_takes_the_day_itself_where_a_period_begins_on_it(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        found = schedule(control_session, replace(MOVE, on=date(2026, 4, 10)), now)
        assert [each.moves_on for each in found.moved] == [date(2026, 4, 10)]

    def test_tells_each_admin_once_in_the_tenants_language(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        english = make_tenant(control_session, state="active", language="en", converted_at=now)
        make_admin(control_session, tenant=english)
        make_subscription(control_session, tenant=english, starts_on=START)
        schedule(control_session, MOVE, now)
        written = mails(control_session)
        assert sorted(mail.language for mail in written) == ["en", "en", "ko"]
        korean = next(mail for mail in written if mail.language == "ko")
        english_mail = next(mail for mail in written if mail.language == "en")
        for mail, words in (
            (
                korean,
                ["월 ₩190,000", "월 ₩170,000", "2026-05-10", "2026-05-09", "해지", "/portal/plan"],
            ),
            (
                english_mail,
                ["₩190,000 a month", "₩170,000 a month", "2026-05-10", "cancel", "/portal/plan"],
            ),
        ):
            assert [word for word in words if word not in mail.text] == []
        assert "추가 사용자" not in korean.text  # what stays the same is not announced
        again = schedule(control_session, MOVE, now)
        assert (again.moved, again.left) == ([], [])
        assert len(mails(control_session)) == 3

    def test_notes_who_and_why(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        schedule(control_session, MOVE, now)
        event = control_session.scalars(
            select(AuditEvent).where(AuditEvent.action == "subscription.plan_changed")
        ).one()
        assert event.why == "moved to version 2 with notice"
        assert event.tenant_id == subscriber.tenant_id

    def test_leaves_whoever_ends_or_changes_anyway(
        self, control_session: Session, subscriber: Subscription, now: datetime
    ) -> None:
        make_subscription(control_session, starts_on=START, ends_on=date(2026, 4, 10))
        changing = make_subscription(control_session, starts_on=START)
        changes.change_plan(
            control_session=control_session,
            tenant_id=changing.tenant_id,
            plan_code="starter",
            when="period_end",
            actor=SYSTEM,
            now=now,
        )
        found = schedule(control_session, MOVE, now)
        assert len(found.moved) == 1
        assert sorted(each.why for each in found.left) == [
            "Another change lies ahead.",
            "The subscription is not in force then.",
        ]
        assert len(mails(control_session)) == 1


class TestRefusals:
    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"on": date(2026, 4, 8)}, "on"),
            ({"notice_days": 42}, "on"),
            ({"to_version": 1}, "to"),
            ({"to_version": 3}, "plan"),
            ({"plan_code": "gold"}, "plan"),
            ({"currency": "USD"}, "plan"),
        ],
    )
    def test_a_day_too_near_or_a_version_that_is_not_there(
        self,
        control_session: Session,
        now: datetime,
        change: dict[str, object],
        field: str,
    ) -> None:
        make_subscription(control_session, starts_on=START)
        with pytest.raises((Invalid, NotFound)) as refused:
            schedule(control_session, replace(MOVE, **change), now)  # type: ignore[arg-type]
        assert refused.value.field == field
        assert mails(control_session) == []
