"""Drafts on a real database: grace, brake, release by one person or two, and rehearsal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.config import settings
from app.base.invariants import offences
from app.base.messages import Message
from invoices import braking, drafts, invoicing, rehearsal, runs
from invoices.braking import Brake
from invoices.checks import INVARIANTS
from invoices.models import BilledSpan, CreditGrant, Invoice, InvoiceLine, RunRelease, Subscription
from tests.factories import make_readings, make_staff, make_subscription, make_tenant

START = date(2026, 1, 31)
FINANCE = Actor("staff", "finance")


def seoul(day: date, hour: int = 9) -> datetime:
    """An hour of a day in Seoul."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(hours=hour - 9)


def bill(session: Session, *subscriptions: Subscription, at: datetime) -> invoicing.Outcome:
    return invoicing.bill(
        control_session=session, subscription_ids=[each.id for each in subscriptions], now=at
    )


def invoices_of(session: Session, subscription: Subscription) -> list[Invoice]:
    session.expire_all()
    return list(
        session.scalars(
            select(Invoice)
            .where(Invoice.subscription_id == subscription.id)
            .order_by(Invoice.supplied_on, Invoice.created_at)
        )
    )


def states_of(session: Session, subscription: Subscription) -> list[str]:
    return [invoice.state for invoice in invoices_of(session, subscription)]


def broken_rules(session: Session) -> list[Any]:
    session.flush()
    session.expire_all()
    return [
        offence
        for rule in INVARIANTS
        for offence in offences(control_session=session, invariant=rule, now=seoul(START))
    ]


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Changes settings, by their names, for this test."""

    def change(**values: Any) -> None:
        for name, value in values.items():
            monkeypatch.setenv(f"TENANTRY_{name.upper()}", str(value))
        settings.cache_clear()

    yield change
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def subscription(control_session: Session) -> Subscription:
    """A team plan that started on the last day of January, with readings until the end of July."""
    started = make_subscription(control_session, starts_on=START, now=seoul(START))
    make_readings(
        control_session,
        tenant_id=started.tenant_id,
        start=START,
        end=date(2026, 7, 31),
        seats=14,
        gigabytes=Decimal("337.5"),
    )
    return started


class TestADraftInItsGrace:
    def test_has_no_number_no_mail_and_no_booking_until_the_grace_is_over(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        set_to(invoice_grace_hours=48)
        bill(control_session, subscription, at=seoul(START))
        (draft,) = invoices_of(control_session, subscription)
        assert (draft.state, draft.number, draft.total_minor) == ("draft", None, 209_000)
        assert draft.issue_at == seoul(START, 0) + timedelta(hours=48)
        assert control_session.scalars(select(Message.id)).all() == []
        assert not invoicing.due(control_session, draft.issue_at - timedelta(seconds=1))
        assert invoicing.due(control_session, draft.issue_at)
        assert invoicing.claim(control_session=control_session, now=draft.issue_at) == [
            subscription.id
        ]
        bill(control_session, subscription, at=draft.issue_at)
        (issued,) = invoices_of(control_session, subscription)
        assert (issued.id, issued.state, issued.number) == (draft.id, "issued", 1)
        assert len(control_session.scalars(select(Message.id)).all()) == 1
        assert broken_rules(control_session) == []

    def test_is_rated_anew_from_what_is_known_when_it_is_issued(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        bill(control_session, subscription, at=seoul(START))
        set_to(invoice_grace_hours=24)
        due_on = date(2026, 2, 28)
        bill(control_session, subscription, at=seoul(due_on))
        draft = invoices_of(control_session, subscription)[1]
        before = draft.total_minor
        control_session.execute(
            text("UPDATE reading SET quantity = 15 WHERE meter = 'seats' AND day = '2026-02-10'")
        )
        bill(control_session, subscription, at=seoul(due_on + timedelta(days=1)))
        issued = invoices_of(control_session, subscription)[1]
        assert (issued.state, issued.total_minor) == ("issued", before + 16_500)
        spans = control_session.scalars(
            select(BilledSpan.id).where(BilledSpan.invoice_id == issued.id)
        ).all()
        assert len(spans) == 3
        assert broken_rules(control_session) == []

    def test_later_bills_wait_behind_it_and_all_are_issued_in_order(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        set_to(invoice_grace_hours=24 * 40)
        for on in (START, date(2026, 2, 28)):
            bill(control_session, subscription, at=seoul(on))
        assert states_of(control_session, subscription) == ["draft", "draft"]
        bill(control_session, subscription, at=seoul(date(2026, 3, 12)))
        assert states_of(control_session, subscription) == ["issued", "draft"]
        bill(control_session, subscription, at=seoul(date(2026, 5, 10)))
        assert states_of(control_session, subscription) == ["issued"] * 3 + ["draft"]
        numbers = [each.number for each in invoices_of(control_session, subscription)[:3]]
        assert numbers == [1, 2, 3]
        assert broken_rules(control_session) == []

    def test_what_it_used_of_a_credit_is_used_once_however_often_it_is_composed(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        grant = CreditGrant(
            tenant_id=subscription.tenant_id,
            currency="KRW",
            amount_minor=50_000,
            source="promotion",
            granted_at=seoul(START),
        )
        control_session.add(grant)
        set_to(invoice_grace_hours=24)
        for hour in (1, 2, 3):
            control_session.execute(text("UPDATE subscription SET next_bill_on = '2026-01-31'"))
            bill(control_session, subscription, at=seoul(START, hour))
        control_session.refresh(grant)
        assert grant.used_minor == 50_000
        bill(control_session, subscription, at=seoul(START, 25))
        (issued,) = invoices_of(control_session, subscription)
        control_session.refresh(grant)
        assert (issued.subtotal_minor, grant.used_minor) == (140_000, 50_000)
        assert broken_rules(control_session) == []

    def test_is_taken_back_without_reading_a_whole_table(self, control_session: Session) -> None:
        # Each row that goes is looked for wherever something may refer to it.
        unindexed = control_session.execute(
            text(
                "SELECT c.conrelid::regclass::text, a.attname FROM pg_constraint c"
                " JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]"
                " WHERE c.contype = 'f' AND c.confrelid IN ('invoice'::regclass,"
                " 'invoice_line'::regclass) AND NOT EXISTS (SELECT FROM pg_index i"
                " WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])"
            )
        )
        assert unindexed.all() == []


class TestTheBrake:
    @pytest.fixture
    def spiking(self, control_session: Session) -> Subscription:
        """A customer whose fifth month has a hundred times the usual storage."""
        started = make_subscription(control_session, starts_on=START, now=seoul(START))
        for start, end, gigabytes in (
            (START, date(2026, 4, 30), 300),
            (date(2026, 4, 30), date(2026, 5, 31), 90_000),
            (date(2026, 5, 31), date(2026, 7, 31), 300),
        ):
            make_readings(
                control_session,
                tenant_id=started.tenant_id,
                start=start,
                end=end,
                seats=14,
                gigabytes=gigabytes,
            )
        return started

    def test_holds_a_bill_of_three_times_the_usual_and_those_behind_it(
        self, control_session: Session, spiking: Subscription
    ) -> None:
        bill(control_session, spiking, at=seoul(date(2026, 6, 30)))
        assert states_of(control_session, spiking) == ["issued"] * 4 + ["draft"] * 2
        held = invoices_of(control_session, spiking)[4]
        assert held.held is not None
        assert (held.held["rule"], held.held["bills"], held.issue_at) == ("jump", 4, None)
        (shown,) = drafts.held(control_session=control_session, limit=10)
        assert shown.invoice_id == held.id
        assert not invoicing.due(control_session, seoul(date(2026, 6, 30), 12))
        assert broken_rules(control_session) == []

    def test_says_so_once_in_the_audit_trail(
        self, control_session: Session, spiking: Subscription
    ) -> None:
        for on in (date(2026, 5, 31), date(2026, 6, 30)):
            bill(control_session, spiking, at=seoul(on))
        events = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.action == "invoice.held")
        ).all()
        assert len(events) == 1

    def test_lets_a_released_bill_pass_and_those_behind_it(
        self, control_session: Session, spiking: Subscription
    ) -> None:
        bill(control_session, spiking, at=seoul(date(2026, 6, 30)))
        held = invoices_of(control_session, spiking)[4]
        with pytest.raises(drafts.WhyMissing):
            drafts.release(
                control_session=control_session,
                invoice_id=held.id,
                why=" ",
                actor=FINANCE,
                now=seoul(date(2026, 6, 30)),
            )
        drafts.release(
            control_session=control_session,
            invoice_id=held.id,
            why="they imported their archive",
            actor=FINANCE,
            now=seoul(date(2026, 6, 30)),
        )
        assert invoicing.due(control_session, seoul(date(2026, 6, 30)))
        bill(control_session, spiking, at=seoul(date(2026, 6, 30)))
        assert states_of(control_session, spiking) == ["issued"] * 6
        assert broken_rules(control_session) == []

    def test_judges_a_released_bill_again_when_it_comes_to_another_total(
        self, control_session: Session, spiking: Subscription
    ) -> None:
        bill(control_session, spiking, at=seoul(date(2026, 5, 31)))
        held = invoices_of(control_session, spiking)[4]
        drafts.release(
            control_session=control_session,
            invoice_id=held.id,
            why="looked at",
            actor=FINANCE,
            now=seoul(date(2026, 5, 31)),
        )
        control_session.execute(
            text(
                "UPDATE reading SET quantity = 900000"
                " WHERE meter = 'storage_gb_days' AND day = '2026-05-10'"
            )
        )
        bill(control_session, spiking, at=seoul(date(2026, 5, 31)))
        assert states_of(control_session, spiking) == ["issued"] * 4 + ["draft"]

    def test_a_bill_thrown_away_is_made_anew_from_the_corrected_facts(
        self, control_session: Session, spiking: Subscription
    ) -> None:
        bill(control_session, spiking, at=seoul(date(2026, 5, 31)))
        held = invoices_of(control_session, spiking)[4]
        invoicing.void(
            control_session=control_session,
            invoice_id=held.id,
            reason="the meter ran wild",
            actor=FINANCE,
            now=seoul(date(2026, 5, 31)),
        )
        control_session.execute(
            text("UPDATE reading SET quantity = 300 WHERE meter = 'storage_gb_days'")
        )
        bill(control_session, spiking, at=seoul(date(2026, 5, 31)))
        assert sorted(states_of(control_session, spiking)) == ["issued"] * 5 + ["void"]
        assert broken_rules(control_session) == []

    def test_holds_a_subscription_that_gets_more_lines_a_day_than_it_may(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        set_to(brake_lines_per_day=5)
        bill(control_session, subscription, at=seoul(date(2026, 4, 30)))
        assert states_of(control_session, subscription) == ["issued", "issued", "draft", "draft"]
        held = invoices_of(control_session, subscription)[2]
        assert held.held == {"rule": "lines", "lines": 7, "most": 5}

    @pytest.mark.parametrize(
        ("total", "before", "held"),
        [
            (3_000_000, [1_000_000] * 6, True),
            (2_999_999, [1_000_000] * 6, False),
            (999_999, [1] * 6, False),  # below the floor
            (9_000_000, [1_000_000] * 2, False),  # too few to know what is usual
            (3_000_000, [1_000_000, 900_000_000, 1_000_000], True),  # an outlier is not the usual
            (4_000_000, [2_000_000] * 6 + [1] * 20, False),  # only the last six count
        ],
    )
    def test_compares_with_the_median_of_the_last_six(
        self, total: int, before: list[int], held: bool
    ) -> None:
        reason = braking.reason(
            brake=Brake(factor=Decimal(3), floor_minor=1_000_000, lines_a_day=100),
            total_minor=total,
            before_minor=before,
            lines=5,
            lines_today=0,
        )
        assert (reason is not None) == held


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


class TestRehearsing:
    def test_composes_what_the_run_then_bills_and_writes_nothing(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        found = rehearsal.rehearse(control_session=control_session, as_of=date(2026, 3, 31))
        assert invoices_of(control_session, subscription) == []
        assert [each.before_minor for each in sorted(found.bills, key=lambda x: x.bill_on)] == [
            None,
            209_000,
            found.totals()["KRW"][2] - 209_000,
        ]
        bill(control_session, subscription, at=seoul(date(2026, 3, 31)))
        billed = {each.supplied_on: each.total_minor for each in
                  invoices_of(control_session, subscription)}  # fmt: skip
        assert {each.bill_on: each.total_minor for each in found.bills} == billed
        assert found.totals()["KRW"][:2] == (3, sum(billed.values()))

    def test_names_first_what_the_brake_would_hold_and_what_lacks_readings(
        self, control_session: Session, subscription: Subscription
    ) -> None:
        bill(control_session, subscription, at=seoul(date(2026, 4, 30)))
        control_session.execute(
            text(
                "UPDATE reading SET quantity = 90000"
                " WHERE meter = 'storage_gb_days' AND day >= '2026-04-30' AND day < '2026-05-31'"
            )
        )
        quiet = make_subscription(control_session, starts_on=START)
        found = rehearsal.rehearse(control_session=control_session, as_of=date(2026, 5, 31))
        odd = [each for each in found.bills if each.odd]
        assert list(found.bills[: len(odd)]) == odd
        assert {each.tenant_id for each in odd} == {subscription.tenant_id, quiet.tenant_id}
        assert any(each.reason and each.reason["rule"] == "jump" for each in odd)
        assert any(each.waits_for.startswith("seats: 2026-01-31") for each in odd)

    def test_counts_the_drafts_that_stand(
        self,
        control_session: Session,
        subscription: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        set_to(invoice_grace_hours=24)
        bill(control_session, subscription, at=seoul(START))
        (only,) = rehearsal.rehearse(control_session=control_session, as_of=START).bills
        (draft,) = invoices_of(control_session, subscription)
        assert (only.draft_id, only.total_minor) == (draft.id, 209_000)
        lines = control_session.scalars(
            select(InvoiceLine.id).where(InvoiceLine.invoice_id == draft.id)
        ).all()
        assert len(lines) == 1
