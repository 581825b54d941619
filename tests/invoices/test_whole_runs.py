"""Runs above a limit: released by one person or two, whole, in however many chunks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from invoices import invoicing, runs
from invoices.models import RunRelease, Subscription
from tests.factories import make_readings, make_staff, make_subscription, make_tenant
from tests.invoices.drafting import (
    START,
    bill,
    broken_rules,
    locks_of,
    seoul,
    set_to,
    states_of,
)

__all__ = ["set_to"]


class TestARunAboveTheLimit:
    @pytest.fixture
    def run(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> tuple[list[Subscription], datetime]:
        """Three customers' drafts of one day, over ₩627,000 together, with their grace over."""
        set_to(invoice_grace_hours=24, run_release_limit="KRW=500000")
        tenants = [make_tenant(control_session, state="active") for _ in range(3)]
        made = [
            make_subscription(control_session, tenant=tenant, starts_on=START) for tenant in tenants
        ]
        bill(control_session, *made, at=seoul(START))
        return made, seoul(START + timedelta(days=2))

    def test_waits_for_two_people(
        self, control_session: Session, run: tuple[list[Subscription], datetime]
    ) -> None:
        made, later = run
        for each in made:  # one at a time: what is left must not seem small enough
            bill(control_session, each, at=later)
        assert {state for each in made for state in states_of(control_session, each)} == {"draft"}
        assert not invoicing.due(control_session, later)
        (standing,) = runs.standing(control_session=control_session)
        assert (standing.invoices, standing.total_minor, standing.needs_second, standing.held) == (
            3,
            627_000,
            True,
            0,
        )
        asker, second = (make_staff(control_session, role="finance") for _ in range(2))
        release = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=asker.id,
            now=later,
        )
        assert not invoicing.due(control_session, later)
        with pytest.raises(runs.SecondPersonNeeded):
            runs.approve(
                control_session=control_session,
                release_id=release.id,
                staff_id=asker.id,
                now=later,
            )
        runs.approve(
            control_session=control_session, release_id=release.id, staff_id=second.id, now=later
        )
        assert invoicing.due(control_session, later)
        bill(control_session, *made, at=later)
        assert {state for each in made for state in states_of(control_session, each)} == {"issued"}
        assert broken_rules(control_session) == []

    def test_is_let_go_in_the_order_in_which_its_drafts_are_composed_anew(
        self, control_session: Session, run: tuple[list[Subscription], datetime]
    ) -> None:
        asker, second = (make_staff(control_session, role="finance") for _ in range(2))
        who = {"control_session": control_session, "now": run[1]}
        release = runs.ask(bill_on=START, currency="KRW", staff_id=asker.id, **who)
        found = locks_of(
            control_session,
            lambda: runs.approve(release_id=release.id, staff_id=second.id, **who),
        )
        # The release in a way that leaves it to be referred to by who holds the drafts.
        assert found == [
            ("run_release", "FOR NO KEY UPDATE"),
            ("invoice", "ORDER BY invoice.id FOR UPDATE OF invoice"),
        ]

    def test_the_database_refuses_the_same_person_twice(
        self, control_session: Session, run: tuple[list[Subscription], datetime]
    ) -> None:
        staff = make_staff(control_session, role="finance")
        release = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=staff.id,
            now=run[1],
        )
        with pytest.raises(IntegrityError, match="second_person"):
            control_session.execute(
                text("UPDATE run_release SET approved_by = asked_by, approved_at = now()")
            )
        assert release.approved_by is None

    def test_the_database_refuses_to_change_what_was_asked_for(
        self, control_session: Session, run: tuple[list[Subscription], datetime]
    ) -> None:
        staff = make_staff(control_session, role="finance")
        runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=staff.id,
            now=run[1],
        )
        with pytest.raises(IntegrityError, match="cannot be changed"):
            control_session.execute(text("UPDATE run_release SET needs_second = false"))

    def test_below_the_limit_one_person_lets_it_go_before_its_grace_is_over(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> None:
        set_to(invoice_grace_hours=240, run_release_limit="KRW=500000")
        small = make_subscription(control_session, starts_on=START)
        bill(control_session, small, at=seoul(START))
        staff = make_staff(control_session, role="finance")
        release = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=staff.id,
            now=seoul(START, 10),
        )
        assert not release.needs_second
        bill(control_session, small, at=seoul(START, 11))
        assert states_of(control_session, small) == ["issued"]
        assert len(control_session.scalars(select(RunRelease.id)).all()) == 1


class TestARunInChunks:
    """Bills of one day that are composed a few at a time, with no grace left to wait for."""

    @pytest.fixture
    def three(self, control_session: Session) -> list[Subscription]:
        """Three customers whose bills of the day come to ₩627,000 together."""
        tenants = [make_tenant(control_session, state="active") for _ in range(3)]
        return [
            make_subscription(control_session, tenant=each, starts_on=START) for each in tenants
        ]

    def states(self, session: Session, made: list[Subscription]) -> list[str]:
        return [state for each in made for state in states_of(session, each)]

    def work(self, session: Session, at: datetime) -> int:
        """This function will take one claim after another until nothing is due any more."""
        taken = 0
        while claimed := invoicing.claim(control_session=session, now=at):
            invoicing.bill(control_session=session, subscription_ids=claimed, now=at)
            taken += 1
            assert taken < 50, "the run never comes to an end"
        return taken

    @pytest.mark.parametrize("grace_hours", [0, 24])
    def test_that_comes_to_more_than_the_limit_waits_for_two_people_whole(
        self,
        control_session: Session,
        three: list[Subscription],
        set_to: Callable[..., None],
        grace_hours: int,
    ) -> None:
        set_to(invoice_grace_hours=grace_hours, run_release_limit="KRW=500000", invoicing_chunk=1)
        later = seoul(START + timedelta(days=2))
        assert self.work(control_session, later) >= 3
        assert self.states(control_session, three) == ["draft"] * 3
        (standing,) = runs.standing(control_session=control_session)
        assert (standing.total_minor, standing.needs_second) == (627_000, True)
        asker, second = (make_staff(control_session, role="finance") for _ in range(2))
        release = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=asker.id,
            now=later,
        )
        runs.approve(
            control_session=control_session, release_id=release.id, staff_id=second.id, now=later
        )
        self.work(control_session, later)
        assert self.states(control_session, three) == ["issued"] * 3
        assert broken_rules(control_session) == []

    def test_within_the_limit_is_issued_when_all_of_it_is_composed(
        self, control_session: Session, three: list[Subscription], set_to: Callable[..., None]
    ) -> None:
        set_to(run_release_limit="KRW=627000", invoicing_chunk=1)
        for each in three[:2]:
            bill(control_session, each, at=seoul(START))
        assert self.states(control_session, three) == ["draft"] * 2
        (standing,) = runs.standing(control_session=control_session)
        assert (standing.gathers, standing.needs_second) == (True, False)
        self.work(control_session, seoul(START))
        assert self.states(control_session, three) == ["issued"] * 3
        assert not invoicing.due(control_session, seoul(START))
        assert broken_rules(control_session) == []

    def test_in_a_currency_without_a_limit_waits_for_nobody(
        self, control_session: Session, three: list[Subscription], set_to: Callable[..., None]
    ) -> None:
        set_to(run_release_limit="USD=1")
        bill(control_session, three[0], at=seoul(START))
        assert states_of(control_session, three[0]) == ["issued"]

    def test_counts_what_of_its_day_was_issued_before(
        self, control_session: Session, three: list[Subscription], set_to: Callable[..., None]
    ) -> None:
        bill(control_session, *three[:2], at=seoul(START))
        set_to(run_release_limit="KRW=500000")
        bill(control_session, three[2], at=seoul(START))
        assert self.states(control_session, three) == ["issued", "issued", "draft"]
        (standing,) = runs.standing(control_session=control_session)
        assert (standing.total_minor, standing.issued_minor, standing.needs_second) == (
            209_000,
            418_000,
            True,
        )
        staff = make_staff(control_session, role="finance")
        asked = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=staff.id,
            now=seoul(START),
        )
        assert asked.needs_second
        self.work(control_session, seoul(START, 10))
        assert self.states(control_session, three) == ["issued", "issued", "draft"]

    def test_is_not_let_go_by_one_person_while_it_is_small(
        self, control_session: Session, three: list[Subscription], set_to: Callable[..., None]
    ) -> None:
        set_to(run_release_limit="KRW=500000")
        staff = make_staff(control_session, role="finance")
        bill(control_session, three[0], at=seoul(START))
        release = runs.ask(
            control_session=control_session,
            bill_on=START,
            currency="KRW",
            staff_id=staff.id,
            now=seoul(START),
        )
        assert not release.needs_second
        # These were read before the release and are written after it: it does not speak of them.
        bill(control_session, *three[1:], at=seoul(START, 8))
        self.work(control_session, seoul(START))
        assert self.states(control_session, three) == ["draft"] * 3
        assert broken_rules(control_session) == []

    def test_waits_some_hours_for_who_lacks_readings_and_then_counts_it_all_the_same(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> None:
        prompt, late = (
            make_subscription(
                control_session,
                tenant=make_tenant(control_session, state="active"),
                starts_on=START,
            )
            for _ in range(2)
        )
        bill(control_session, prompt, late, at=seoul(START))
        day = date(2026, 2, 28)
        make_readings(control_session, tenant_id=prompt.tenant_id, start=START, end=day, seats=14)
        set_to(run_release_limit="KRW=300000", run_wait_hours=6)
        self.work(control_session, seoul(day))
        assert states_of(control_session, prompt) == ["issued", "draft"]
        assert not invoicing.due(control_session, seoul(day, 14))
        self.work(control_session, seoul(day, 15))
        assert states_of(control_session, prompt) == ["issued", "issued"]
        make_readings(control_session, tenant_id=late.tenant_id, start=START, end=day, seats=14)
        control_session.execute(text("UPDATE subscription SET retry_at = NULL"))
        self.work(control_session, seoul(day, 16))
        assert states_of(control_session, late) == ["issued", "draft"]
        assert broken_rules(control_session) == []

    def test_does_not_wait_for_who_was_left_behind_on_an_earlier_day(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> None:
        left_behind = make_subscription(
            control_session, tenant=make_tenant(control_session, state="active"), starts_on=START
        )
        bill(control_session, left_behind, at=seoul(START))
        set_to(run_release_limit="KRW=500000")
        self.work(control_session, seoul(date(2026, 2, 28)))
        newcomer = make_subscription(
            control_session,
            tenant=make_tenant(control_session, state="active"),
            starts_on=date(2026, 3, 5),
        )
        self.work(control_session, seoul(date(2026, 3, 5)))
        assert states_of(control_session, left_behind) == ["issued"]
        assert states_of(control_session, newcomer) == ["issued"]

    def test_is_not_made_too_large_by_a_bill_that_the_brake_holds(
        self, control_session: Session, three: list[Subscription], set_to: Callable[..., None]
    ) -> None:
        set_to(run_release_limit="KRW=500000", brake_lines_per_day=0)
        bill(control_session, three[0], at=seoul(START))
        set_to(run_release_limit="KRW=500000", brake_lines_per_day=1000)
        bill(control_session, *three[1:], at=seoul(START))
        assert self.states(control_session, three) == ["draft", "issued", "issued"]
