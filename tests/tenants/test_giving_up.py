"""A tenant that could not be made is given up: nothing of it stays, and its applicant is told."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import pytest
from sqlalchemy import select, update

from app.base.audit import Actor, AuditEvent
from app.base.db import control_session as transaction
from app.base.errors import Invalid
from app.base.invariants import offences
from app.base.messages import Message
from jobs.provisioning import STEP
from tenants import giving_up, provisioning, reconcile
from tenants.checks import INVARIANTS
from tenants.models import Application, Cluster, Erasure, ProvisioningRun, Tenant, TenantAdmin
from tests.factories import make_application, make_staff
from tests.tenants.approved import approve, provision
from tests.tenants.stops import Stopped, stop_at

pytestmark = pytest.mark.usefixtures("scenario")
REASON = "We can't set up a workspace for you at the moment. Please apply again next week."


def approved(now: datetime) -> UUID:
    with transaction() as session:
        application_id = make_application(session, state="approved").id
    return approve(now=now, application_id=application_id)


def ask(tenant_id: UUID, now: datetime, reason: str = REASON) -> None:
    with transaction() as session:
        actor = Actor.staff(make_staff(session, role="admin").id)
        giving_up.ask(
            control_session=session, tenant_id=tenant_id, reason=reason, actor=actor, now=now
        )


def give_up(tenant_id: UUID, now: datetime) -> None:
    ask(tenant_id, now)
    assert STEP.work() == 1


class TestGivingUp:
    @pytest.mark.parametrize("step", ["reserve", "database", "seed"])
    def test_leaves_nothing_wherever_the_making_stopped(self, now: datetime, step: str) -> None:
        tenant_id = approved(now)
        what = "recorded" if step == "reserve" else "performed"
        with pytest.raises(Stopped):
            provision(tenant_id, now=now, after_step=stop_at(step, what))
        give_up(tenant_id, now)
        with transaction() as session:
            tenant = session.get_one(Tenant, tenant_id)
            assert (tenant.state, tenant.application_id) == ("destroyed", None)
            assert tenant.name.startswith("erased-")
            assert session.scalars(select(TenantAdmin)).all() == []
            assert session.scalars(select(Cluster.reserved)).one() == 0
            assert reconcile.findings(control_session=session) == []
            assert session.scalars(select(Application.state)).one() == "rejected"
            mail = session.scalars(
                select(Message).where(Message.kind == "application_rejected")
            ).one()
            assert "apply again next week" in mail.text
            line = session.scalars(select(Erasure)).one()
            assert line.approver.startswith("staff ")
            assert not any(line.verified.values())
            actions = set(session.scalars(select(AuditEvent.action)))
            assert {"provisioning.given_up", "provisioning.undone", "tenant.destroyed"} <= actions
            for rule in INVARIANTS:
                assert offences(control_session=session, invariant=rule, now=now) == [], rule.code

    def test_of_a_tenant_on_trial_is_refused(self, now: datetime) -> None:
        tenant_id = approved(now)
        provision(tenant_id, now=now)
        with pytest.raises(provisioning.RunFinished):
            ask(tenant_id, now)
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "trialing"

    def test_needs_a_reason_before_anything_is_undone(self, now: datetime) -> None:
        tenant_id = approved(now)
        with pytest.raises(Stopped):
            provision(tenant_id, now=now, after_step=stop_at("role", "performed"))
        with pytest.raises(Invalid):
            ask(tenant_id, now, reason=" ")
        provision(tenant_id, now=now)

    def test_ends_a_worker_that_is_at_it(self, now: datetime) -> None:
        tenant_id = approved(now)

        def given_up_meanwhile(step: str, what: str) -> None:
            if (step, what) == ("verify", "performed"):
                ask(tenant_id, now)

        with pytest.raises(provisioning.RunMoved):
            provision(tenant_id, now=now, after_step=given_up_meanwhile)
        assert STEP.work() == 1
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "destroyed"
            assert reconcile.findings(control_session=session) == []

    def test_needs_no_room_on_any_cluster(self, now: datetime) -> None:
        tenant_id = approved(now)
        with transaction() as session:
            session.execute(update(Cluster).values(capacity=0))
        give_up(tenant_id, now)
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "destroyed"

    def test_goes_on_after_a_worker_that_was_killed_halfway(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tenant_id = approved(now)
        with pytest.raises(Stopped):
            provision(tenant_id, now=now, after_step=stop_at("seed", "performed"))
        ask(tenant_id, now)
        undo = provisioning.undo

        def undone_then_killed(**values: object) -> None:
            undo(**values)  # type: ignore[arg-type]
            raise Stopped

        monkeypatch.setattr(provisioning, "undo", undone_then_killed)
        with pytest.raises(Stopped):
            giving_up.perform(transaction=transaction, tenant_id=tenant_id, now=now)
        monkeypatch.undo()
        assert STEP.work() == 1
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "destroyed"
            assert session.get_one(ProvisioningRun, tenant_id).given_up is None

    def test_is_not_tried_again_afterwards(self, now: datetime) -> None:
        tenant_id = approved(now)
        give_up(tenant_id, now)
        with transaction() as session:
            session.execute(update(ProvisioningRun).values(attempts=0))
            due = session.scalars(select(ProvisioningRun).where(provisioning.due_condition()))
            assert due.all() == []
