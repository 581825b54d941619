from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.errors import Conflict, Invalid
from app.base.messages import Message
from app.base.states import IllegalMove
from jobs.lifecycle import STEP
from tenants import destruction, lifecycle, reminders, rescue, retention
from tenants.models import DestructionRun, Tenant, TenantAdmin
from tests.factories import make_admin, make_staff, make_tenant
from tests.workspaces import warn

DAY = timedelta(days=1)
MONEY = Actor.job("payment")


def call(session: Session, function: Any, tenant: Tenant, now: datetime, **more: Any) -> Any:
    values = {"control_session": session, "tenant_id": tenant.id, "now": now, "actor": MONEY}
    found = function(**(values | more))
    session.refresh(tenant)
    return found


def mails(session: Session, tenant: Tenant, kind: str) -> list[Message]:
    return list(
        session.scalars(
            select(Message)
            .where(Message.regarding_id == tenant.id, Message.kind == kind)
            .order_by(Message.created_at)
        )
    )


def run(session: Session, now: datetime) -> int:
    return reminders.remind(control_session=session, now=now, limit=100)


class TestATrial:
    def test_is_announced_seven_three_and_one_day_before_its_end_once_each(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, now=now)
        sent = {}
        for hours in range(0, 14 * 24):
            if written := run(control_session, now + timedelta(hours=hours)):
                sent[hours / 24] = written
        assert sent == {7: 1, 11: 1, 13: 1}
        assert [mail.subject for mail in mails(control_session, tenant, "trial_ends")] == [
            f"[{tenant.slug}] 체험이 {days}일 안에 끝나요" for days in (7, 3, 1)
        ]

    def test_is_announced_at_the_nearest_level_only_after_days_without_jobs(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, now=now)
        assert run(control_session, now + 13.5 * DAY) == 1
        assert run(control_session, now + 13.6 * DAY) == 0
        assert len(mails(control_session, tenant, "trial_ends")) == 1

    def test_that_is_extended_is_announced_anew(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, now=now)
        assert run(control_session, now + 13.5 * DAY) == 1
        tenant.trial_ends_at = now + 20 * DAY
        control_session.flush()
        assert run(control_session, now + 13.5 * DAY) == 1
        assert run(control_session, now + 19.5 * DAY) == 1

    def test_that_is_short_is_not_announced_on_its_first_day(
        self, control_session: Session, now: datetime
    ) -> None:
        make_tenant(control_session, now=now, trial_ends_at=now + 5 * DAY)
        assert run(control_session, now) == 0
        assert run(control_session, now + 2 * DAY) == 1

    def test_is_announced_to_every_administrator_but_the_disabled(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, now=now)
        make_admin(control_session, tenant=tenant)
        make_admin(control_session, tenant=tenant).disabled_at = now
        control_session.flush()
        assert run(control_session, now + 7 * DAY) == 2

    def test_that_has_run_out_shuts_the_workspace_and_starts_the_retention(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, now=now)
        end = now + 14 * DAY
        due = {"control_session": control_session, "limit": 10}
        assert tenant.id not in lifecycle.due_for_suspension(now=end - timedelta(seconds=1), **due)
        assert tenant.id in lifecycle.due_for_suspension(now=end, **due)
        for moved in (True, False):
            assert moved == lifecycle.suspend_due(
                control_session=control_session, tenant_id=tenant.id, now=end
            )
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "trial_ended")
        assert tenant.destroy_after == end + 90 * DAY
        (mail,) = mails(control_session, tenant, "suspended")
        assert "2026-06-22" in mail.text

    def test_converts_with_its_limits(self, control_session: Session, now: datetime) -> None:
        tenant = make_tenant(control_session, now=now)
        more = {"plan_code": "studio", "limits": {"seats": 99}}
        call(control_session, lifecycle.convert, tenant, now, **more)
        assert (tenant.state, tenant.plan_code, tenant.converted_at) == ("active", "studio", now)
        assert (tenant.limits, tenant.limits_version) == ({"seats": 99}, 2)
        with pytest.raises(Conflict):
            call(control_session, lifecycle.convert, tenant, now, **more)

    def test_that_has_ended_still_converts(self, control_session: Session, now: datetime) -> None:
        tenant = make_tenant(control_session, state="suspended", destroy_after=now)
        call(control_session, lifecycle.convert, tenant, now, plan_code="team", limits={})
        assert (tenant.state, tenant.suspended_at, tenant.destroy_after) == ("active", None, None)


class TestADebtor:
    def owing(self, session: Session, now: datetime) -> Tenant:
        tenant = make_tenant(session, state="active", converted_at=now, now=now)
        assert call(session, lifecycle.mark_past_due, tenant, now)
        assert not call(session, lifecycle.mark_past_due, tenant, now)
        return tenant

    def test_is_shut_out_by_no_clock_alone(self, control_session: Session, now: datetime) -> None:
        tenant = self.owing(control_session, now)
        much_later = now + 400 * DAY
        assert not lifecycle.suspend_due(
            control_session=control_session, tenant_id=tenant.id, now=much_later
        )
        assert tenant.state == "past_due"

    @pytest.mark.parametrize("suspended", [False, True])
    def test_who_pays_is_let_in_again(
        self, control_session: Session, now: datetime, suspended: bool
    ) -> None:
        tenant = self.owing(control_session, now)
        if suspended:
            call(control_session, lifecycle.suspend, tenant, now, reason="unpaid")
        assert call(control_session, lifecycle.unblock, tenant, now)
        assert (tenant.state, tenant.past_due_at, tenant.suspended_at) == ("active", None, None)
        assert not call(control_session, lifecycle.unblock, tenant, now)

    def test_s_data_is_destroyed_only_when_staff_says_so(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = self.owing(control_session, now)
        staff = make_staff(control_session)
        by = {"actor": Actor.staff(staff.id), "why": "nobody answers"}
        with pytest.raises(retention.NotSuspended):
            call(control_session, retention.schedule_destruction, tenant, now, **by)
        call(control_session, lifecycle.suspend, tenant, now, reason="unpaid")
        call(control_session, retention.schedule_destruction, tenant, now, **by)
        warn(control_session, tenant)
        later = now + 90 * DAY
        assert destruction.begin(control_session=control_session, tenant_id=tenant.id, now=later)
        approver = control_session.get_one(DestructionRun, tenant.id).approver
        assert approver == f"staff {staff.id}"

    def test_whose_contract_ends_is_kept_for_the_retention_and_opened_by_no_payment(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = self.owing(control_session, now)
        for reason in ("unpaid", "cancelled", "unpaid", "cancelled"):
            call(control_session, lifecycle.suspend, tenant, now, reason=reason)
        assert (tenant.suspend_reason, tenant.destroy_after) == ("cancelled", now + 90 * DAY)
        assert len(mails(control_session, tenant, "suspended")) == 2
        assert not call(control_session, lifecycle.unblock, tenant, now)

    def test_who_pays_after_the_erasure_began_raises_nothing_and_opens_nothing(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="destroying")
        assert not call(control_session, lifecycle.unblock, tenant, now)
        assert not call(control_session, lifecycle.mark_past_due, tenant, now)


class TestWhatStaffShut:
    def test_is_opened_by_staff_and_by_no_payment(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="active", converted_at=now)
        staff = {"actor": Actor.staff(make_staff(control_session).id)}
        call(control_session, lifecycle.suspend, tenant, now, reason="staff", **staff)
        assert tenant.destroy_after is None
        assert not call(control_session, lifecycle.unblock, tenant, now)
        assert call(control_session, lifecycle.unblock, tenant, now, **staff)
        assert tenant.state == "active"

    def test_goes_back_to_its_trial(self, control_session: Session, now: datetime) -> None:
        tenant = make_tenant(control_session)
        staff = {"actor": Actor.staff(make_staff(control_session).id)}
        call(control_session, lifecycle.suspend, tenant, now, reason="staff", **staff)
        call(control_session, lifecycle.unblock, tenant, now, **staff)
        assert tenant.state == "trialing"

    def test_needs_a_known_reason_and_a_tenant_that_is_in(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session)
        with pytest.raises(Invalid):
            call(control_session, lifecycle.suspend, tenant, now, reason="because")
        approved = make_tenant(control_session, state="approved")
        with pytest.raises(IllegalMove):
            call(control_session, lifecycle.suspend, approved, now, reason="staff")


class TestARetention:
    def test_is_announced_thirty_seven_and_one_day_before_its_end(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="suspended", destroy_after=now + 90 * DAY)
        sent = [day for day in range(91) if run(control_session, now + day * DAY)]
        assert sent == [60, 83, 89]
        assert len(mails(control_session, tenant, "retention_ends")) == 3

    @pytest.mark.parametrize(
        ("reason", "way_out"),
        [("trial_ended", "convert to a plan"), ("unpaid", "pay what is open"), ("staff", "answer")],
    )
    def test_says_what_stops_it(
        self, control_session: Session, now: datetime, reason: str, way_out: str
    ) -> None:
        tenant = make_tenant(
            control_session,
            state="suspended",
            language="en",
            suspend_reason=reason,
            destroy_after=now + 90 * DAY,
        )
        run(control_session, now + 89 * DAY)
        (mail,) = mails(control_session, tenant, "retention_ends")
        ways = ("convert to a plan", "pay what is open", "answer this mail")
        assert [way for way in ways if way in mail.text] == [
            way for way in ways if way.startswith(way_out)
        ]

    def test_of_a_contract_that_is_paused_is_begun_by_nobody(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="suspended", suspend_reason="paused")
        with pytest.raises(retention.NotSuspended):
            call(control_session, retention.schedule_destruction, tenant, now, why="mistaken")
        assert tenant.destroy_after is None

    @pytest.mark.parametrize(
        ("fields", "begins"),
        [
            ({}, True),
            ({"legal_hold": True}, False),
            ({"destroy_after": None}, False),
            ({"destroy_after": datetime.fromisoformat("2027-01-01T00:00:00+00:00")}, False),
        ],
    )
    def test_ends_in_destruction_only_when_all_says_so_under_the_lock(
        self, control_session: Session, now: datetime, fields: dict[str, Any], begins: bool
    ) -> None:
        values = {"destroy_after": now} | fields
        tenant = make_tenant(control_session, state="suspended", **values)
        if tenant.destroy_after is not None:
            warn(control_session, tenant)
        found = destruction.due(control_session=control_session, now=now, limit=100)
        assert (tenant.id in found) == begins
        assert begins == destruction.begin(
            control_session=control_session, tenant_id=tenant.id, now=now
        )
        assert tenant.state == ("destroying" if begins else "suspended")

    def test_that_is_over_still_yields_to_a_conversion_and_once_the_data_is_gone_never(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="suspended", destroy_after=now)
        warn(control_session, tenant)
        assert tenant.id in destruction.due(control_session=control_session, now=now, limit=100)
        call(control_session, lifecycle.convert, tenant, now, plan_code="team", limits={})
        assert not destruction.begin(control_session=control_session, tenant_id=tenant.id, now=now)
        lost = make_tenant(control_session, state="suspended", destroy_after=now)
        warn(control_session, lost)
        assert destruction.begin(control_session=control_session, tenant_id=lost.id, now=now)
        run = control_session.get_one(DestructionRun, lost.id)
        run.steps_done = [{"step": rescue.POINT_OF_NO_RETURN, "at": now.isoformat()}]
        control_session.flush()
        with pytest.raises(lifecycle.TenantGone, match="erased"):
            call(control_session, lifecycle.convert, lost, now, plan_code="team", limits={})
        with pytest.raises(lifecycle.TenantGone):
            call(control_session, lifecycle.suspend, lost, now, reason="staff")

    def test_is_held_by_law_and_let_go_with_a_line_in_the_trail(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = make_tenant(control_session, state="suspended", destroy_after=now)
        for hold in (True, False):
            call(control_session, retention.set_legal_hold, tenant, now, hold=hold, why="court")
            assert tenant.legal_hold is hold
        actions = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.tenant_id == tenant.id)
        ).all()
        assert set(actions) == {"tenant.legal_hold_set", "tenant.legal_hold_lifted"}


class TestTheLastWarning:
    def over(self, session: Session, now: datetime) -> Tenant:
        return make_tenant(
            session, state="suspended", destroy_after=now, now=now - 90 * DAY, language="ko"
        )

    def begin(self, session: Session, tenant: Tenant, now: datetime) -> bool:
        begun = destruction.begin(control_session=session, tenant_id=tenant.id, now=now)
        session.refresh(tenant)
        return begun

    def due(self, session: Session, tenant: Tenant, now: datetime) -> bool:
        return tenant.id in destruction.due(control_session=session, now=now, limit=100)

    def moved_on(self, session: Session, tenant: Tenant) -> int:
        return len(
            session.scalars(
                select(AuditEvent).where(
                    AuditEvent.tenant_id == tenant.id, AuditEvent.action == destruction.MOVED_ON
                )
            ).all()
        )

    def test_that_never_went_out_moves_the_day_on_and_is_made_up_for(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = self.over(control_session, now)
        assert self.due(control_session, tenant, now)
        assert not self.begin(control_session, tenant, now)
        assert (tenant.state, tenant.destroy_after) == ("suspended", now + DAY)
        assert self.moved_on(control_session, tenant) == 1
        assert run(control_session, now) == 1
        (mail,) = mails(control_session, tenant, "retention_ends")
        mail.state, mail.sent_at = "sent", now + timedelta(minutes=3)
        control_session.flush()
        # Not a day yet: it neither begins nor moves on again.
        assert not self.due(control_session, tenant, now + DAY)
        assert not self.begin(control_session, tenant, now + DAY)
        assert tenant.destroy_after == now + DAY
        later = now + DAY + timedelta(minutes=3)
        assert self.due(control_session, tenant, later)
        assert self.begin(control_session, tenant, later)

    @pytest.mark.parametrize(("state", "waits"), [("due", True), ("failed", False)])
    def test_that_is_on_its_way_is_awaited_and_one_that_failed_counts_for_nothing(
        self, control_session: Session, now: datetime, state: str, waits: bool
    ) -> None:
        tenant = self.over(control_session, now)
        warn(control_session, tenant)
        control_session.execute(
            update(Message)
            .where(Message.regarding_id == tenant.id)
            .values(state=state, sent_at=None)
        )
        assert self.due(control_session, tenant, now) is not waits
        assert not self.begin(control_session, tenant, now)
        assert self.moved_on(control_session, tenant) == (0 if waits else 1)

    def test_of_another_date_counts_for_nothing(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = self.over(control_session, now - DAY)
        warn(control_session, tenant)
        tenant.destroy_after = now
        control_session.flush()
        assert not self.begin(control_session, tenant, now)

    def test_to_somebody_who_is_never_reached_does_not_keep_the_data_for_ever(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = self.over(control_session, now)
        for days in range(destruction.MOVED_ON_DAYS_MAX):
            assert not self.begin(control_session, tenant, now + days * DAY)
        assert self.begin(control_session, tenant, now + destruction.MOVED_ON_DAYS_MAX * DAY)


class TestTheStep:
    def test_moves_what_is_due_and_a_tenant_that_fails_stops_no_other(
        self, scenario: Any, now: datetime, set_clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from app.base.db import control_session as transaction

        with transaction() as session:
            ids = [make_tenant(session, now=now).id for _ in range(3)]
            over = make_tenant(session, state="suspended", destroy_after=now + 14 * DAY, now=now)
            warn(session, over)
            due = over.id
        set_clock(now + 15 * DAY)
        suspend_due = lifecycle.suspend_due

        def fails_for_one(*, tenant_id: Any, **more: Any) -> bool:
            if tenant_id == ids[0]:
                raise RuntimeError("one bad row")
            return suspend_due(tenant_id=tenant_id, **more)

        with monkeypatch.context() as broken:
            broken.setattr(lifecycle, "suspend_due", fails_for_one)
            assert STEP.work() == 3
            assert STEP.work() == 0
        with transaction() as session:
            assert STEP.due(session, now + 15 * DAY)
        assert STEP.work() == 1
        with transaction() as session:
            states = {row.id: row.state for row in session.scalars(select(Tenant))}
            assert not STEP.due(session, now + 15 * DAY)
        assert states == dict.fromkeys(ids, "suspended") | {due: "destroying"}


def test_every_administrator_is_named_to_themselves(
    control_session: Session, now: datetime
) -> None:
    tenant = make_tenant(control_session, now=now, language="en")
    admin = control_session.scalars(
        select(TenantAdmin).where(TenantAdmin.tenant_id == tenant.id)
    ).one()
    run(control_session, now + 7 * DAY)
    (mail,) = mails(control_session, tenant, "trial_ends")
    assert mail.recipient == admin.email
    assert "within 7 days" in mail.subject
