"""A pause and what else shuts a workspace: neither hides the other, and none is a way out."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.ids import uuid7
from app.base.money import Money
from invoices import changes, transfers
from invoices.models import Invoice
from tenants import lifecycle, pauses
from tenants.pauses import ClosedAlready
from tests.factories import make_staff
from tests.invoices.test_changes import ADMIN, START, Story, lines, seoul

AT = date(2026, 3, 11)


@pytest.fixture
def story(control_session: Session) -> Story:
    found = Story(control_session)
    found.run(START)
    return found


def shut(story: Story, reason: str, day: date = AT) -> None:
    story.tenant.past_due_at = seoul(day) if reason == "unpaid" else None
    lifecycle.suspend(
        control_session=story.session,
        tenant_id=story.tenant.id,
        reason=reason,
        actor=ADMIN,
        now=seoul(day),
    )


def paid(story: Story, day: date) -> None:
    """Everything that is owed comes by bank transfer, and what that opens is opened."""
    owed = story.session.scalars(select(Invoice).where(Invoice.state == "issued")).all()
    for invoice in owed:
        transfers.record_transfer(
            control_session=story.session,
            invoice_id=invoice.id,
            amount=Money(invoice.total_minor, invoice.currency),
            payer="Hanbit",
            paid_on=day,
            staff_id=make_staff(story.session).id,
            now=seoul(day),
        )
    story.session.expire_all()


class TestAPauseOfAShutWorkspace:
    @pytest.mark.parametrize(
        ("reason", "first"), [("unpaid", "Pay the open invoices first"), ("staff", "Our staff")]
    )
    def test_is_refused_and_says_what_comes_first(
        self, story: Story, reason: str, first: str
    ) -> None:
        shut(story, reason)
        with pytest.raises(ClosedAlready, match=first):
            story.do(changes.pause, AT, why="no money")
        assert story.subscription.state == "active"
        assert (story.tenant.state, story.tenant.suspend_reason) == ("suspended", reason)
        # It goes on being charged, as the contract says, and nothing is given back.
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april)[0] == ("charge", "base", 31_000)

    def test_is_possible_once_it_is_paid(self, story: Story) -> None:
        shut(story, "unpaid")
        paid(story, AT)
        assert story.tenant.state == "active"
        story.do(changes.pause, AT, why="a quiet month")
        assert (story.tenant.state, story.tenant.suspend_reason) == ("suspended", "paused")

    def test_s_debtor_is_let_in_by_the_end_of_it_once_nothing_is_owed(self, story: Story) -> None:
        story.tenant.state, story.tenant.past_due_at = "past_due", seoul(AT)
        story.session.flush()
        story.do(changes.pause, AT, why="a quiet month")
        paid(story, date(2026, 3, 20))
        assert story.tenant.suspend_reason == "paused"
        story.do(changes.resume, date(2026, 4, 1))
        assert (story.tenant.state, story.tenant.past_due_at) == ("active", None)

    def test_s_debtor_who_has_not_paid_is_past_due_again(self, story: Story) -> None:
        story.tenant.state, story.tenant.past_due_at = "past_due", seoul(AT)
        story.session.flush()
        story.do(changes.pause, AT, why="a quiet month")
        story.do(changes.resume, date(2026, 6, 1))
        assert (story.tenant.state, story.tenant.past_due_at) == ("past_due", seoul(AT))


class TestTheEndOfAPauseThatHidNothing:
    """Rows of a time when a pause of a shut workspace was let through."""

    def stuck(self, story: Story, reason: str) -> None:
        story.do(changes.pause, AT, why="a quiet month")
        story.run(AT)
        story.tenant.suspend_reason = reason
        story.tenant.past_due_at = seoul(AT) if reason == "unpaid" else None
        story.session.flush()

    @pytest.mark.parametrize("reason", ["unpaid", "staff"])
    def test_charges_again_and_leaves_shut_what_something_else_shut(
        self, story: Story, reason: str
    ) -> None:
        self.stuck(story, reason)
        story.do(changes.resume, date(2026, 4, 1), hour=0)
        assert story.subscription.state == "active"
        assert (story.tenant.state, story.tenant.suspend_reason) == ("suspended", reason)
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april)[0] == ("charge", "base", 31_000)

    def test_charges_again_where_a_payment_opened_it_meanwhile(self, story: Story) -> None:
        self.stuck(story, "unpaid")
        paid(story, date(2026, 3, 20))
        assert (story.tenant.state, story.subscription.state) == ("active", "paused")
        story.do(changes.resume, date(2026, 4, 1), hour=0)
        assert (story.tenant.state, story.subscription.state) == ("active", "active")
        (april,) = story.run(date(2026, 4, 1))
        assert lines(april)[0] == ("charge", "base", 31_000)


def test_of_nobody_is_refused(control_session: Session) -> None:
    with pytest.raises(lifecycle.NoSuchTenant):
        pauses.pause(control_session=control_session, tenant_id=uuid7(), actor=ADMIN, now=seoul(AT))
