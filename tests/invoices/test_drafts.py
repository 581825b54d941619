"""Drafts on a real database: grace, brake, release by one person or two, and rehearsal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base.audit import AuditEvent
from app.base.messages import Message
from invoices import braking, drafts, invoicing, rehearsal
from invoices.braking import Brake
from invoices.models import BilledSpan, CreditGrant, InvoiceLine, Subscription
from tests.factories import make_readings, make_subscription
from tests.invoices.drafting import (
    FINANCE,
    START,
    bill,
    broken_rules,
    invoices_of,
    locks_of,
    seoul,
    set_to,
    states_of,
)

__all__ = ["set_to"]


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

    def test_holds_from_as_many_times_the_usual_as_is_set(
        self,
        control_session: Session,
        spiking: Subscription,
        set_to: Callable[..., None],
    ) -> None:
        set_to(brake_factor=100)
        bill(control_session, spiking, at=seoul(date(2026, 6, 30)))
        assert states_of(control_session, spiking) == ["issued"] * 6

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

    def test_is_thrown_away_in_the_order_of_locks_in_which_it_is_made_anew(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> None:
        set_to(invoice_grace_hours=24)
        made = make_subscription(control_session, starts_on=START)
        bill(control_session, made, at=seoul(START))
        (draft,) = invoices_of(control_session, made)
        found = locks_of(
            control_session,
            lambda: invoicing.void(
                control_session=control_session,
                invoice_id=draft.id,
                reason="wrong",
                actor=FINANCE,
                now=seoul(START),
            ),
        )
        assert [table for table, _ in found][:2] == ["subscription", "invoice"]

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
