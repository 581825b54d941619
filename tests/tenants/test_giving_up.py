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


def give_up(tenant_id: UUID, now: datetime, reason: str = REASON) -> None:
    with transaction() as session:
        actor = Actor.staff(make_staff(session, role="admin").id)
    giving_up.give_up(
        transaction=transaction, tenant_id=tenant_id, reason=reason, actor=actor, now=now
    )


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
            assert {"provisioning.undone", "tenant.destroyed"} <= actions
            for rule in INVARIANTS:
                assert offences(control_session=session, invariant=rule, now=now) == [], rule.code

    def test_of_a_tenant_on_trial_is_refused(self, now: datetime) -> None:
        tenant_id = approved(now)
        provision(tenant_id, now=now)
        with pytest.raises(provisioning.RunFinished):
            give_up(tenant_id, now)
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "trialing"

    def test_needs_a_reason_before_anything_is_undone(self, now: datetime) -> None:
        tenant_id = approved(now)
        with pytest.raises(Stopped):
            provision(tenant_id, now=now, after_step=stop_at("role", "performed"))
        with pytest.raises(Invalid):
            give_up(tenant_id, now, reason=" ")
        provision(tenant_id, now=now)

    def test_that_a_worker_overtakes_leaves_the_tenant_to_it(
        self, now: datetime, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tenant_id = approved(now)
        undo = provisioning.undo

        def undone_and_begun_anew(**values: object) -> None:
            undo(**values)  # type: ignore[arg-type]
            provision(tenant_id, now=now)

        monkeypatch.setattr(provisioning, "undo", undone_and_begun_anew)
        with pytest.raises(giving_up.GoingOn):
            give_up(tenant_id, now)
        with transaction() as session:
            assert session.get_one(Tenant, tenant_id).state == "trialing"
            assert session.scalars(select(Application.state)).one() == "approved"

    def test_is_not_tried_again_afterwards(self, now: datetime) -> None:
        tenant_id = approved(now)
        give_up(tenant_id, now)
        with transaction() as session:
            session.execute(update(ProvisioningRun).values(attempts=0))
            due = session.scalars(select(ProvisioningRun).where(provisioning.due_condition()))
            assert due.all() == []
