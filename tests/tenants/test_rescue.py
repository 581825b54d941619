"""A conversion or a payment wins over a destruction that has begun, until the very DROP."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, text, update

from app.base.accounts import WrongCredentials
from app.base.audit import Actor
from app.base.db import control_session, usage_session
from app.base.messages import Message
from jobs.destruction import PAPERS, STEP
from tenants import admins, destruction, lifecycle, metering, retention
from tenants.models import (
    Cluster,
    DestructionRun,
    Erasure,
    MeteringDay,
    ProvisioningRun,
    Tenant,
)
from tenants.trial_extension import extend_trial
from tests.factories import PASSWORD, make_staff
from tests.patience import eventually
from tests.tenants.stops import Stopped, stop_at
from tests.workspaces import Workspace, end_trial_and_retention, make_workspace

PAYMENT = Actor.job("payment")
BEFORE = ["settled", "close", "quarantine"]


@pytest.fixture
def doomed(scenario: Any, now: datetime, set_clock: Any) -> Workspace:
    """A tenant whose destruction has begun; its last mail is out."""
    set_clock(now)
    workspace = make_workspace(now=now - timedelta(days=120))
    end_trial_and_retention(workspace, now=now)
    _begin(workspace, now)
    return workspace


def _begin(workspace: Workspace, now: datetime) -> None:
    with control_session() as session:
        assert destruction.begin(control_session=session, tenant_id=workspace.tenant_id, now=now)
        session.execute(update(Message).where(Message.state == "due").values(state="sent"))


# The debt stands: without an invoice in these tests nothing else says so.
STILL_OWED = replace(PAPERS, look=lambda *_: None)


def go_on(
    workspace: Workspace, now: datetime, papers: destruction.Papers = PAPERS, **more: Any
) -> None:
    destruction.advance(
        transaction=control_session,
        usage_transaction=usage_session,
        tenant_id=workspace.tenant_id,
        now=lambda: now,
        papers=papers,
        **more,
    )


def convert(workspace: Workspace, now: datetime) -> None:
    with control_session() as session:
        _convert(session, workspace, now)


def _convert(session: Any, workspace: Workspace, now: datetime) -> None:
    lifecycle.convert(
        control_session=session,
        tenant_id=workspace.tenant_id,
        plan_code="team",
        limits={"seats": 9},
        actor=Actor.admin(workspace.admin_id),
        now=now,
    )


def assert_saved(workspace: Workspace) -> None:
    """It pays, its people and their work are there, and nothing is left of the destruction."""
    with control_session() as session:
        tenant = session.get_one(Tenant, workspace.tenant_id)
        assert (tenant.state, tenant.destroy_after, tenant.suspend_reason) == ("active", None, None)
        assert session.get(DestructionRun, workspace.tenant_id) is None
        assert not session.scalar(select(func.count()).select_from(Erasure))
    with workspace.session() as session:
        assert session.scalar(text("SELECT count(*) FROM member")) == 1
    assert STEP.work() == 0


def somebody_waits_for_a_lock() -> bool:
    with control_session() as session:
        return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


class TestAConversion:
    @pytest.mark.parametrize("step", BEFORE)
    def test_wins_after_every_step_before_the_drop(
        self, doomed: Workspace, now: datetime, step: str
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at(step, "recorded"))
        convert(doomed, now)
        assert_saved(doomed)

    def test_wins_although_the_worker_died_before_it_wrote_the_step_down(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "performed"))
        convert(doomed, now)
        assert_saved(doomed)

    def test_is_destroyed_later_like_anybody(self, doomed: Workspace, now: datetime) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        convert(doomed, now)
        end_trial_and_retention(doomed, now=now + timedelta(days=200))
        _begin(doomed, now + timedelta(days=200))
        go_on(doomed, now + timedelta(days=200))
        with control_session() as session:
            assert session.scalars(select(Tenant.state)).one() == "destroyed"

    def test_that_holds_the_lock_makes_the_drop_wait_and_find_nothing_to_destroy(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        ended: list[BaseException | None] = []

        def destroy() -> None:
            try:
                go_on(doomed, now)
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        with control_session() as session:
            _convert(session, doomed, now)
            session.flush()
            beside = threading.Thread(target=destroy)
            beside.start()
            eventually(somebody_waits_for_a_lock, "the destroyer waits for the conversion")
        beside.join(60)
        assert ended == [None]
        assert_saved(doomed)

    def test_that_comes_during_the_drop_waits_and_is_told_the_truth(
        self, doomed: Workspace, now: datetime
    ) -> None:
        ended: list[BaseException | None] = []

        def try_to_convert() -> None:
            try:
                convert(doomed, now)
                ended.append(None)
            except BaseException as error:
                ended.append(error)

        beside = threading.Thread(target=try_to_convert)

        def during(step: str, what: str) -> None:
            if (step, what) == ("database", "performed"):
                beside.start()
                eventually(somebody_waits_for_a_lock, "the conversion waits for the drop")

        go_on(doomed, now, after_step=during)
        beside.join(60)
        assert [type(error) for error in ended] == [lifecycle.TenantGone]
        with control_session() as session:
            assert session.scalars(select(Tenant.state)).one() == "destroyed"

    def test_is_refused_when_a_worker_died_right_after_the_drop(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("database", "performed"))
        with control_session() as session:
            run = session.get_one(DestructionRun, doomed.tenant_id)
            assert "database" not in [entry["step"] for entry in run.steps_done]
        with pytest.raises(lifecycle.TenantGone):
            convert(doomed, now)
        go_on(doomed, now)
        with control_session() as session:
            assert session.scalars(select(Tenant.state)).one() == "destroyed"

    def test_that_is_not_finished_leaves_the_destruction_to_go_on(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        with control_session() as session:
            _convert(session, doomed, now)
            session.rollback()  # the coupon was wrong
        go_on(doomed, now)
        with control_session() as session:
            assert session.scalars(select(Tenant.state)).one() == "destroyed"

    def test_needs_a_door_so_administrators_sign_in_until_the_drop(
        self, doomed: Workspace, now: datetime
    ) -> None:
        def opened() -> int:
            with control_session() as session:
                try:
                    found = admins.authenticate(
                        control_session=session, email=doomed.admin_email, password=PASSWORD
                    )
                except WrongCredentials:
                    return 0
                return len(found)

        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        assert opened() == 1
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("database", "recorded"))
        assert opened() == 0


class TestAnExtension:
    def test_of_the_trial_wins_as_well(self, doomed: Workspace, now: datetime) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        with control_session() as session:
            staff = Actor.staff(make_staff(session).id)
            extend_trial(
                control_session=session, tenant_id=doomed.tenant_id, days=7, actor=staff, now=now
            )
        with control_session() as session:
            assert session.get_one(Tenant, doomed.tenant_id).state == "trialing"
        with doomed.session() as session:
            assert session.scalar(text("SELECT count(*) FROM member")) == 1

    def test_comes_too_late_after_the_drop(self, doomed: Workspace, now: datetime) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("database", "recorded"))
        with control_session() as session, pytest.raises(lifecycle.TenantGone):
            extend_trial(
                control_session=session,
                tenant_id=doomed.tenant_id,
                days=7,
                actor=Actor.staff(make_staff(session).id),
                now=now,
            )


class TestALegalHold:
    def hold(self, workspace: Workspace, now: datetime, *, hold: bool) -> None:
        with control_session() as session:
            retention.set_legal_hold(
                control_session=session,
                tenant_id=workspace.tenant_id,
                hold=hold,
                actor=Actor.staff(make_staff(session).id),
                now=now,
                why="a court has asked for it",
            )

    def test_stops_what_has_begun_and_lets_it_begin_anew_when_it_is_lifted(
        self, doomed: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("quarantine", "recorded"))
        self.hold(doomed, now, hold=True)
        assert STEP.work() == 0
        with doomed.session() as session:
            assert session.scalar(text("SELECT count(*) FROM member")) == 1
        with control_session() as session:
            tenant = session.get_one(Tenant, doomed.tenant_id)
            assert (tenant.state, tenant.suspend_reason) == ("suspended", "trial_ended")
            assert destruction.due(control_session=session, now=now, limit=9) == []
        self.hold(doomed, now, hold=False)
        with control_session() as session:
            assert destruction.due(control_session=session, now=now, limit=9) == [doomed.tenant_id]

    def test_comes_too_late_after_the_drop(self, doomed: Workspace, now: datetime) -> None:
        with pytest.raises(Stopped):
            go_on(doomed, now, after_step=stop_at("database", "recorded"))
        with pytest.raises(lifecycle.TenantGone):
            self.hold(doomed, now, hold=True)


class TestAPayment:
    @pytest.fixture
    def debtor(self, scenario: Any, now: datetime, set_clock: Any) -> Workspace:
        """A debtor whose erasure staff decided on, and that has begun."""
        set_clock(now)
        workspace = make_workspace(now=now - timedelta(days=120))
        end_trial_and_retention(workspace, now=now)
        with control_session() as session:
            tenant = session.get_one(Tenant, workspace.tenant_id)
            tenant.suspend_reason = "unpaid"
            tenant.converted_at = now - timedelta(days=100)
            tenant.past_due_at = now - timedelta(days=95)
        _begin(workspace, now)
        return workspace

    def pay(self, workspace: Workspace, now: datetime) -> bool:
        with control_session() as session:
            return lifecycle.unblock(
                control_session=session, tenant_id=workspace.tenant_id, actor=PAYMENT, now=now
            )

    @pytest.mark.parametrize("step", BEFORE)
    def test_wins_after_every_step_before_the_drop(
        self, debtor: Workspace, now: datetime, step: str
    ) -> None:
        with pytest.raises(Stopped):
            go_on(debtor, now, STILL_OWED, after_step=stop_at(step, "recorded"))
        assert self.pay(debtor, now)
        assert_saved(debtor)

    def test_is_recorded_where_the_database_is_not_known_for_ours(
        self, debtor: Workspace, now: datetime
    ) -> None:
        with control_session() as session:
            session.execute(update(ProvisioningRun).values(run="another"))
        assert not self.pay(debtor, now)
        with control_session() as session:
            assert session.get_one(Tenant, debtor.tenant_id).state == "destroying"

    def test_leaves_no_day_unread_that_a_bill_would_wait_for(
        self, debtor: Workspace, now: datetime
    ) -> None:
        """The day before was read already; the one before it never, and was thrown away."""
        with control_session() as session:
            tenant = session.get_one(Tenant, debtor.tenant_id)
            tenant.trial_starts_at = now - timedelta(days=4)
            read = (now - timedelta(days=2)).date()
            session.add(MeteringDay(tenant_id=tenant.id, day=read, done_at=now))
        assert self.pay(debtor, now)
        with control_session() as session:
            metering.due_days(control_session=session, now=now)
        with control_session() as session:
            days = select(MeteringDay.day).where(MeteringDay.done_at.is_(None))
            listed = session.scalars(days.order_by(MeteringDay.day)).all()
        assert listed == [(now - timedelta(days=ago)).date() for ago in (4, 3, 1)]

    def test_after_the_drop_opens_nothing_and_raises_nothing(
        self, debtor: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(debtor, now, STILL_OWED, after_step=stop_at("database", "performed"))
        assert not self.pay(debtor, now)

    def test_while_the_cluster_is_silent_is_found_by_the_destruction_itself(
        self, debtor: Workspace, now: datetime
    ) -> None:
        with pytest.raises(Stopped):
            go_on(debtor, now, STILL_OWED, after_step=stop_at("quarantine", "recorded"))
        with control_session() as session:
            url = session.scalars(select(Cluster.url)).one()
            session.execute(update(Cluster).values(url="postgresql://127.0.0.1:1"))
        assert not self.pay(debtor, now)
        with control_session() as session:
            session.execute(update(Cluster).values(url=url))
        # It owes nothing: the step looks before it does anything.
        assert STEP.work() == 1
        assert_saved(debtor)
