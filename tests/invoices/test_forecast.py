"""The forecast against what the billing run then does: one code, so one answer."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from invoices import changes, forecast, invoicing, items, schedule
from invoices.catalogue_default import DEFAULT_PLANS
from invoices.models import SubscriptionItem
from invoices.schedule import Billed, Item
from invoices.subscriptions import NoSubscription
from tests.invoices.test_changes import ADMIN, LARGE, START, Story, lines, seoul


@pytest.fixture
def story(control_session: Session) -> Story:
    begun = Story(control_session, LARGE)
    begun.run(START)
    return begun


def coming(story: Story, until: date) -> list[tuple[date, int, int]]:
    return [
        (bill.bill_on, bill.subtotal_minor, bill.tax_minor)
        for bill in forecast.coming_bills(
            control_session=story.session, subscription=story.subscription, until=until
        )
    ]


class TestTheFuture:
    def test_is_what_the_run_then_bills(self, story: Story) -> None:
        story.do(changes.change_plan, date(2026, 3, 11), plan_code="tiny", when="now")
        story.do(changes.change_plan, date(2026, 3, 12), plan_code="large", when="period_end")
        told = coming(story, date(2026, 6, 30))
        for month in (3, 4, 5, 6):
            story.run(date(2026, month, 12))
        done = [(i.supplied_on, i.subtotal_minor, i.tax_minor) for i in story.invoices()[1:]]
        assert told == done
        assert [day for day, _, _ in told] == [
            date(2026, 3, 11),
            date(2026, 4, 1),
            date(2026, 5, 1),
            date(2026, 6, 1),
        ]

    def test_names_what_usage_will_decide(self, control_session: Session) -> None:
        story = Story(control_session, DEFAULT_PLANS[0])
        first, second = forecast.coming_bills(
            control_session=control_session,
            subscription=story.subscription,
            until=date(2026, 4, 1),
        )
        assert (first.by_usage, first.total_minor) == ((), 53_900)
        assert [each.names[1] for each in second.by_usage] == [
            "Additional seats (above 3 seats included)",
            "Additional storage (above 10 GB included)",
        ]
        assert second.total_minor == 53_900


class TestThePast:
    """What was billed is cut off before one looks ahead; nothing that is to come goes with it."""

    def left(self, story: Story) -> list[Item]:
        """What is left of the items, having the same bills ahead as the whole has."""
        session, subscription = story.session, story.subscription
        ids = [subscription.id]
        found, _prices = items.of_subscriptions(control_session=session, subscription_ids=ids)
        whole = found[subscription.id]
        billed = items.billed(control_session=session, subscription_ids=ids)
        left, of_left = items.ahead(control_session=session, subscription=subscription, items=whole)
        assert self.bills(left, of_left) == self.bills(whole, billed)
        return left

    def bills(self, of: list[Item], billed: Billed) -> list[tuple[Any, ...]]:
        agenda = schedule.agenda(
            items=of, billed=billed, timezone="Asia/Seoul", today=date(2026, 9, 30)
        )
        return [
            (bill.bill_on, span.item.item_id, span.kind, span.start, span.end)
            for bill in agenda.bills
            for span in bill.spans
        ]

    def test_is_cut_off_where_it_was_billed_without_a_gap(self, story: Story) -> None:
        for month in (4, 5, 6):
            story.run(date(2026, month, 1))
        assert {item.starts_at for item in self.left(story)} == {seoul(date(2026, 7, 1), 0)}

    def test_is_looked_at_whole_where_a_bill_is_missing(self, story: Story) -> None:
        (april,), _may = (story.run(date(2026, month, 1)) for month in (4, 5))
        invoicing.void(
            control_session=story.session,
            invoice_id=april.id,
            reason="A mistake.",
            actor=ADMIN,
            now=seoul(date(2026, 5, 2)),
        )
        assert {item.starts_at for item in self.left(story)} == {seoul(START, 0)}

    def test_is_looked_at_whole_where_something_ended(self, story: Story) -> None:
        story.run(date(2026, 4, 1))
        story.do(
            changes.change_quantity,
            date(2026, 4, 11),
            charge="licences",
            quantity=Decimal(3),
            when="now",
        )
        story.do(changes.change_plan, date(2026, 4, 20), plan_code="tiny", when="now")
        assert any(item.ends_at for item in self.left(story))
        story.run(date(2026, 5, 1))
        assert any(item.ends_at for item in self.left(story))


class TestAPreview:
    def test_shows_the_bill_of_today_and_the_next_both_ways(self, story: Story) -> None:
        day = date(2026, 3, 11)
        seen = forecast.preview(
            control_session=story.session,
            subscription=story.subscription,
            change=lambda: story.do(
                changes.change_quantity, day, charge="licences", quantity=Decimal(3), when="now"
            ),
            now=seoul(day),
        )
        assert seen.today is not None
        assert seen.before is not None
        assert seen.after is not None
        assert seen.today.subtotal_minor == 2 * 6_200 * 21 // 31
        assert seen.before.subtotal_minor == 93_000 + 6_200
        assert seen.after.subtotal_minor == 93_000 + 3 * 6_200
        assert (seen.before.bill_on, seen.after.bill_on) == (date(2026, 4, 1),) * 2

    def test_leaves_nothing_behind(self, story: Story) -> None:
        count = select(func.count()).select_from(SubscriptionItem)
        before = story.session.scalar(count)
        forecast.preview(
            control_session=story.session,
            subscription=story.subscription,
            change=lambda: story.do(
                changes.change_plan, date(2026, 3, 11), plan_code="tiny", when="now"
            ),
            now=seoul(date(2026, 3, 11)),
        )
        assert story.session.scalar(count) == before
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april) == [("charge", "base", 93_000), ("charge", "licences", 6_200)]

    def test_of_a_refused_change_says_why_and_leaves_nothing(self, story: Story) -> None:
        with pytest.raises(NoSubscription):
            forecast.preview(
                control_session=story.session,
                subscription=story.subscription,
                change=lambda: changes.change_plan(
                    control_session=story.session,
                    tenant_id=story.subscription.id,  # no tenant's id
                    plan_code="tiny",
                    when="now",
                    actor=ADMIN,
                    now=seoul(START),
                ),
                now=seoul(START),
            )
        (april,) = story.run(date(2026, 4, 1))
        assert april.subtotal_minor == 99_200
