"""Usage that comes when no bill is to come any more is billed all the same, once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta

import pytest
from sqlalchemy import ColumnElement, and_, delete, insert, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from invoices import changes, invoicing, late_usage, rehearsal, verifying
from invoices.models import CreditGrant, Invoice, Subscription, UsageTotal
from jobs import invoicing as step
from tenants.models import Tenant
from tests.invoices.drafting import set_to
from tests.invoices.metered import (
    FINANCE,
    bill,
    broken_rules,
    lines_of,
    push,
    seoul,
    subscribe,
)

__all__ = ["set_to"]

LEFT_ON = date(2026, 3, 10)
FIRST_LOOK, SECOND_LOOK = date(2026, 4, 10), date(2026, 5, 10)


@pytest.fixture
def ended(control_session: Session) -> Subscription:
    """90 calls in February; 10 in March until the customer left on the 10th; all of it billed."""
    subscription = subscribe(control_session)
    push(control_session, subscription, date(2026, 3, 5), 10)
    changes.cancel(
        control_session=control_session,
        tenant_id=subscription.tenant_id,
        when="now",
        actor=FINANCE,
        now=seoul(LEFT_ON, 0),
    )
    bill(control_session, subscription, LEFT_ON)
    assert (subscription.state, subscription.next_bill_on) == ("cancelled", None)
    return subscription


def claimed(session: Session, on: date) -> bool:
    """Whether the billing run finds anything to do on a day."""
    session.expire_all()
    return invoicing.due(session, seoul(on))


def differences(session: Session) -> list[object]:
    session.expire_all()
    return [each for verdict in verifying.verify_all(control_session=session)
            for each in verdict.differences]  # fmt: skip


def replaced(session: Session, which: ColumnElement[bool], **values: object) -> None:
    """Puts another row in the place of one: nobody may change what was billed."""
    (kept,) = session.execute(select(UsageTotal.__table__).where(which)).mappings().all()
    session.execute(delete(UsageTotal).where(UsageTotal.id == kept["id"]))
    session.execute(insert(UsageTotal), {**kept, **values})


class TestAnEndedSubscription:
    def test_gets_a_last_bill_of_what_came_late(
        self, control_session: Session, ended: Subscription
    ) -> None:
        assert ended.next_correction_on == FIRST_LOOK
        push(control_session, ended, date(2026, 3, 6), 20)
        assert not claimed(control_session, FIRST_LOOK - timedelta(days=1))
        assert claimed(control_session, FIRST_LOOK)
        bill(control_session, ended, FIRST_LOOK)
        assert lines_of(control_session, ended)[2:] == [[("adjustment", "calls", 20, 2_000)]]
        last = control_session.scalars(
            select(Invoice).where(Invoice.supplied_on == FIRST_LOOK)
        ).one()
        assert (last.state, last.subtotal_minor) == ("issued", 2_000)
        assert (last.period.lower, last.period.upper) == (date(2026, 3, 1), LEFT_ON)
        assert broken_rules(control_session) == []
        assert differences(control_session) == []

    def test_is_billed_for_it_once(self, control_session: Session, ended: Subscription) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        bill(control_session, ended, FIRST_LOOK)
        bill(control_session, ended, FIRST_LOOK)
        bill(control_session, ended, SECOND_LOOK)
        assert len(lines_of(control_session, ended)) == 3
        assert ended.next_correction_on == date(2026, 6, 10)

    def test_gets_a_credit_where_less_was_used(
        self, control_session: Session, ended: Subscription
    ) -> None:
        # As it stands when five of the events that were billed are not there any more.
        replaced(control_session, UsageTotal.quantity == 10, quantity=15, transactions=15)
        bill(control_session, ended, FIRST_LOOK)
        assert lines_of(control_session, ended)[2] == [
            ("adjustment", "calls", -5, -500),
            ("carried", "balance", 1, 500),
        ]
        grant = control_session.scalars(select(CreditGrant)).one()
        assert (grant.amount_minor, grant.currency) == (500, "KRW")

    def test_gets_no_bill_where_nothing_changed(
        self, control_session: Session, ended: Subscription
    ) -> None:
        bill(control_session, ended, FIRST_LOOK)
        assert len(lines_of(control_session, ended)) == 2
        assert ended.next_correction_on == SECOND_LOOK

    def test_is_left_alone_when_its_usage_cannot_change_any_more(
        self, control_session: Session, ended: Subscription
    ) -> None:
        for look in (FIRST_LOOK, SECOND_LOOK, date(2026, 6, 10)):
            bill(control_session, ended, look)
        assert ended.next_correction_on is None
        assert not claimed(control_session, date(2027, 1, 1))

    def test_loses_nothing_when_the_run_was_away_for_months(
        self, control_session: Session, ended: Subscription
    ) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        bill(control_session, ended, date(2026, 9, 1))
        assert lines_of(control_session, ended)[2:] == [[("adjustment", "calls", 20, 2_000)]]
        assert differences(control_session) == []
        assert not claimed(control_session, date(2027, 1, 1))

    def test_is_not_billed_once_its_data_goes(
        self, control_session: Session, ended: Subscription
    ) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        tenant = control_session.get_one(Tenant, ended.tenant_id)
        tenant.state, tenant.suspended_at = "destroying", None
        control_session.flush()
        assert not claimed(control_session, FIRST_LOOK)

    def test_is_in_the_rehearsal(self, control_session: Session, ended: Subscription) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        found = rehearsal.rehearse(control_session=control_session, as_of=FIRST_LOOK)
        assert [(each.bill_on, each.total_minor) for each in found.bills] == [(FIRST_LOOK, 2_200)]


class TestALastBill:
    def test_waits_out_its_grace_and_stays_one(
        self, control_session: Session, ended: Subscription, set_to: Callable[..., None]
    ) -> None:
        set_to(invoice_grace_hours=48)
        push(control_session, ended, date(2026, 3, 6), 20)
        bill(control_session, ended, FIRST_LOOK)
        push(control_session, ended, date(2026, 3, 7), 5)
        bill(control_session, ended, FIRST_LOOK + timedelta(days=2))
        last = control_session.scalars(
            select(Invoice).where(Invoice.supplied_on == FIRST_LOOK)
        ).one()
        assert (last.state, last.subtotal_minor) == ("issued", 2_500)

    def test_is_made_anew_when_it_is_voided(
        self, control_session: Session, ended: Subscription
    ) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        bill(control_session, ended, FIRST_LOOK)
        last = control_session.scalars(
            select(Invoice).where(Invoice.supplied_on == FIRST_LOOK)
        ).one()
        invoicing.void(
            control_session=control_session,
            invoice_id=last.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(date(2026, 4, 12)),
        )
        push(control_session, ended, date(2026, 3, 7), 5)
        bill(control_session, ended, date(2026, 4, 12))
        assert lines_of(control_session, ended)[2:] == [[("adjustment", "calls", 25, 2_500)]]
        assert broken_rules(control_session) == []

    def test_of_a_regular_period_is_made_anew_too(
        self, control_session: Session, ended: Subscription
    ) -> None:
        final = control_session.scalars(select(Invoice).where(Invoice.supplied_on == LEFT_ON)).one()
        invoicing.void(
            control_session=control_session,
            invoice_id=final.id,
            reason="wrong",
            actor=FINANCE,
            now=seoul(date(2026, 3, 12)),
        )
        bill(control_session, ended, date(2026, 3, 12))
        assert lines_of(control_session, ended)[1:] == [[("charge", "calls", 10, 1_000)]]

    def test_cannot_be_written_twice(self, control_session: Session, ended: Subscription) -> None:
        push(control_session, ended, date(2026, 3, 6), 20)
        bill(control_session, ended, FIRST_LOOK)
        twice = control_session.scalars(select(UsageTotal).where(UsageTotal.revision == 1)).one()
        other = and_(UsageTotal.revision == 0, UsageTotal.starts_at != twice.starts_at)
        with pytest.raises(IntegrityError, match="uq_usage_total_once"):
            replaced(
                control_session, other, starts_at=twice.starts_at, ends_at=twice.ends_at,
                item_id=twice.item_id, revision=1,
            )  # fmt: skip


class TestAPausedSubscription:
    def test_is_billed_for_what_came_late(self, control_session: Session) -> None:
        subscription = subscribe(control_session)
        changes.pause(
            control_session=control_session,
            tenant_id=subscription.tenant_id,
            actor=FINANCE,
            now=seoul(LEFT_ON, 0),
            why="a break",
        )
        bill(control_session, subscription, LEFT_ON)
        push(control_session, subscription, date(2026, 3, 6), 20)
        bill(control_session, subscription, FIRST_LOOK)
        assert lines_of(control_session, subscription)[2:] == [[("adjustment", "calls", 20, 2_000)]]

    def test_that_goes_on_loses_nothing_to_a_run_that_was_away(
        self, control_session: Session
    ) -> None:
        subscription = subscribe(control_session)
        who = {"control_session": control_session, "tenant_id": subscription.tenant_id}
        changes.pause(**who, actor=FINANCE, now=seoul(LEFT_ON, 0), why="a break")
        bill(control_session, subscription, LEFT_ON)
        push(control_session, subscription, date(2026, 3, 6), 20)
        changes.resume(**who, actor=FINANCE, now=seoul(date(2026, 8, 3), 0), why="back")
        bill(control_session, subscription, date(2026, 9, 10))
        first, *_ = lines_of(control_session, subscription)[2:]
        assert ("adjustment", "calls", 20, 2_000) in first

    def test_loses_nothing_that_stands_as_a_draft_when_the_next_bill_comes(
        self, control_session: Session, set_to: Callable[..., None]
    ) -> None:
        subscription = subscribe(control_session)
        who = {"control_session": control_session, "tenant_id": subscription.tenant_id}
        changes.pause(**who, actor=FINANCE, now=seoul(LEFT_ON, 0), why="a break")
        bill(control_session, subscription, LEFT_ON)
        push(control_session, subscription, date(2026, 3, 6), 20)
        changes.resume(**who, actor=FINANCE, now=seoul(date(2026, 6, 3), 0), why="back")
        set_to(invoice_grace_hours=2160)
        bill(control_session, subscription, date(2026, 6, 10))
        drafted = select(Invoice.id).where(Invoice.state == "draft")
        (before,) = control_session.scalars(drafted)
        # By the day of the next bill that usage may not change any more.
        bill(control_session, subscription, date(2026, 7, 3))
        assert before in control_session.scalars(drafted).all()
        *_, late, regular = lines_of(control_session, subscription)
        assert late == [("adjustment", "calls", 20, 2_000)]
        assert regular == [("charge", "calls", 0, 0)]


class TestWhereABillComesInTime:
    @pytest.mark.parametrize(
        ("next_bill_on", "looks"),
        [
            (date(2026, 3, 1), None),
            (date(2026, 5, 11), None),
            (date(2026, 5, 12), date(2026, 3, 1)),
            (None, date(2026, 3, 1)),
        ],
    )
    def test_nobody_looks_before_it(self, next_bill_on: date | None, looks: date | None) -> None:
        found = late_usage.look_on(
            ended_at=seoul(date(2026, 2, 1), 0),
            next_bill_on=next_bill_on,
            after=date(2026, 2, 1),
            timezone="Asia/Seoul",
        )
        assert found == looks


def test_the_step_finds_it(control_session: Session, ended: Subscription) -> None:
    push(control_session, ended, date(2026, 3, 6), 20)
    control_session.flush()
    assert step.STEP.due(control_session, seoul(FIRST_LOOK))
    moment: datetime = seoul(FIRST_LOOK)
    assert invoicing.claim(control_session=control_session, now=moment) == [ended.id]
