"""What is never prorated is paid for once a period, whatever is changed within it."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from invoices import amending, catalogue, changes
from invoices.models import Subscription, SubscriptionItem
from invoices.periods import YEARLY
from tests.invoices.test_changes import START, Story, fee, lines, plan, seoul

WHOLE = plan(
    "whole",
    fee("base", 31_000),
    fee("licence", 1_200_000, interval=YEARLY, proration="none"),
    fee("care", 5_000, timing="arrears", proration="none"),
)
YEAR_ONLY = plan("year", fee("licence", 1_200_000, interval=YEARLY, proration="none"))
BY_MONTH = plan("by_month", fee("base", 31_000), fee("licence", 100_000, proration="none"))
YEAR = ("charge", "licence", 1_200_000)
CARE = ("charge", "care", 5_000)


@pytest.fixture
def story(control_session: Session) -> Story:
    found = Story(control_session, WHOLE)
    assert YEAR in lines(found.run(START)[0])
    return found


def items(story: Story) -> list[SubscriptionItem]:
    story.session.expire_all()
    return list(
        story.session.scalars(
            select(SubscriptionItem).where(
                SubscriptionItem.subscription_id == story.subscription.id
            )
        )
    )


def told(story: Story, last: date) -> list[tuple[str, str, int]]:
    """All lines after the first bill, up to a day."""
    first, *_ = story.invoices()
    for _ in range(3):  # so many bills are made at once, and the rest by the next run
        story.run(last)
    later = [invoice for invoice in story.invoices() if invoice.id != first.id]
    return [line for invoice in later for line in lines(invoice)]


class TestAnotherBillingDay:
    def test_leaves_the_year_that_was_paid(self, story: Story) -> None:
        story.do(changes.change_billing_day, date(2026, 3, 11), billing_day=25)
        later = told(story, date(2027, 3, 1))
        assert later.count(YEAR) == 1  # on 1 March 2027, and not before
        assert ("credit", "base", -21_000) in later
        # Each month's care is asked for at its own end, the first of the month as before.
        assert later.count(CARE) == 12

    def test_is_refused_where_nothing_would_move(self, control_session: Session) -> None:
        story = Story(control_session, YEAR_ONLY)
        with pytest.raises(amending.NothingChanges) as refused:
            story.do(changes.change_billing_day, START, billing_day=25)
        assert refused.value.field == "billing_day"
        assert story.subscription.anchor_on == START


class TestAnotherPlan:
    def test_asks_for_no_part_of_a_year_at_the_price_of_all_of_it(
        self, control_session: Session
    ) -> None:
        story = Story(control_session, BY_MONTH)
        catalogue.publish(
            control_session=control_session, terms=WHOLE, actor=SYSTEM, now=seoul(START)
        )
        story.do(changes.change_plan, date(2026, 7, 10), plan_code="whole", when="now")
        for _ in range(3):
            story.run(date(2027, 8, 1))
        years = [
            line for each in story.invoices() for line in each.lines if line.charge == "licence"
        ]
        assert [(line.amount_minor, line.period.lower) for line in years[-3:]] == [
            (100_000, date(2026, 7, 1)),  # the month that was paid for is left to its end
            (1_200_000, date(2026, 8, 1)),
            (1_200_000, date(2027, 8, 1)),
        ]


class TestAPause:
    def test_within_the_year_asks_for_no_other(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 5, 11), why="a quiet month")
        story.run(date(2026, 6, 1))
        story.do(changes.resume, date(2026, 7, 11))
        later = told(story, date(2027, 3, 1))
        assert later.count(YEAR) == 1  # that of the year from March 2027 on
        # March to May, and July to February: each touched month once, none of the pause.
        assert later.count(CARE) == 3 + 8

    def test_within_a_month_asks_once_for_it(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 3, 5), why="a quiet week")
        story.run(date(2026, 3, 5))
        story.do(changes.resume, date(2026, 3, 20))
        assert told(story, date(2026, 4, 1)).count(CARE) == 1

    def test_twice_in_a_year_asks_for_no_other(self, story: Story) -> None:
        for day in (date(2026, 4, 11), date(2026, 6, 11)):
            story.do(changes.pause, day, why="a quiet week")
            story.run(day)
            story.do(changes.resume, day.replace(day=20))
        assert told(story, date(2027, 2, 28)).count(YEAR) == 0

    def test_beyond_the_year_asks_for_the_next_as_it_ends(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 5, 11), why="a quiet year")
        assert YEAR not in told(story, date(2027, 6, 10))
        story.do(changes.resume, date(2027, 6, 11))
        later = told(story, date(2027, 6, 11))
        assert later.count(YEAR) == 1
        assert told(story, date(2028, 2, 28)).count(YEAR) == 1

    def test_can_be_ended_for_good(self, story: Story) -> None:
        story.do(changes.pause, date(2026, 5, 11), why="a quiet month")
        story.run(date(2026, 5, 11))
        story.do(changes.cancel, date(2026, 5, 20), when="period_end")
        story.run(date(2026, 5, 20))
        assert (story.subscription.state, story.subscription.ends_on) == (
            "cancelled",
            date(2026, 5, 20),
        )
        assert told(story, date(2027, 6, 1)).count(YEAR) == 0

    def test_of_a_time_when_it_ended_everything_is_ended_too(self, story: Story) -> None:
        """Rows that say nothing of when the pause began, and where all ended with it."""
        story.do(changes.pause, date(2026, 5, 11), why="a quiet month")
        subscription = story.session.get_one(Subscription, story.subscription.id)
        base = {each.ends_at for each in items(story) if each.charge == "base"}
        for each in items(story):
            each.ends_at = max(base)  # type: ignore[type-var]
        subscription.paused_at = None
        story.session.flush()
        story.do(changes.resume, date(2026, 6, 11))
        live = {each.charge for each in items(story) if each.ends_at is None}
        assert live == {"base", "licence", "care"}
