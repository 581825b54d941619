"""A contract that is agreed on and begins later keeps the data until then."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import Actor, AuditEvent
from app.base.db import control_session as transaction
from invoices import catalogue, invoicing, subscriptions
from invoices.models import Subscription
from invoices.subscriptions import ConversionConsent
from jobs.lifecycle import STEP
from tenants import destruction, lifecycle, rescue
from tenants.models import DestructionRun, Tenant
from tests.factories import make_catalogue, make_tenant
from tests.workspaces import warn

DAY = timedelta(days=1)
AHEAD = 20


def agree(session: Session, tenant: Tenant, now: datetime, *, ahead: int = AHEAD) -> Subscription:
    """Staff writes down that the customer agreed to begin so many days from now."""
    starts_on = now.date() + ahead * DAY
    version = catalogue.current(control_session=session, plan_code="team", currency="KRW")
    shown = subscriptions.conversion_terms(
        version=version, language="ko", method="transfer", starts_on=starts_on
    )
    agreed = subscriptions.convert(
        control_session=session,
        tenant_id=tenant.id,
        plan_code="team",
        currency="KRW",
        consent=ConversionConsent(
            accepted=True,
            text_sha256=shown.sha256,
            language="ko",
            method="transfer",
            channel="staff",
            given_by="Their director, by mail",
        ),
        actor=Actor("staff", "somebody"),
        now=now,
        starts_on=starts_on,
    )
    session.flush()
    session.refresh(tenant)
    return agreed


def shut(session: Session, now: datetime) -> Tenant:
    """A tenant whose trial ended, and whose retention ends in an hour; it was warned."""
    make_catalogue(session, now=now - 100 * DAY)
    tenant = make_tenant(
        session, state="suspended", now=now - 90 * DAY, destroy_after=now + timedelta(hours=1)
    )
    warn(session, tenant)
    return tenant


class TestAContractAhead:
    def test_ends_the_retention_and_opens_the_workspace_on_its_day(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = shut(control_session, now)
        agreed = agree(control_session, tenant, now)
        assert (tenant.state, tenant.destroy_after) == ("suspended", None)
        later = now + 19 * DAY
        assert not destruction.due(control_session=control_session, now=later, limit=9)
        assert not destruction.begin(
            control_session=control_session, tenant_id=tenant.id, now=later
        )
        invoicing.bill(
            control_session=control_session, subscription_ids=[agreed.id], now=now + AHEAD * DAY
        )
        control_session.refresh(tenant)
        assert tenant.state == "active"
        actions = control_session.scalars(
            select(AuditEvent.action).where(AuditEvent.tenant_id == tenant.id)
        ).all()
        assert "tenant.retention_ended" in actions

    def test_calls_a_destruction_off_that_has_begun(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = shut(control_session, now)
        over = now + timedelta(hours=2)
        assert destruction.begin(control_session=control_session, tenant_id=tenant.id, now=over)
        agree(control_session, tenant, over)
        assert (tenant.state, tenant.suspend_reason) == ("suspended", "trial_ended")
        assert tenant.destroy_after is None
        assert control_session.get(DestructionRun, tenant.id) is None

    def test_comes_too_late_once_the_data_is_gone(
        self, control_session: Session, now: datetime
    ) -> None:
        tenant = shut(control_session, now)
        over = now + timedelta(hours=2)
        assert destruction.begin(control_session=control_session, tenant_id=tenant.id, now=over)
        run = control_session.get_one(DestructionRun, tenant.id)
        run.steps_done = [{"step": rescue.POINT_OF_NO_RETURN, "at": over.isoformat()}]
        control_session.flush()
        with pytest.raises(lifecycle.TenantGone):
            agree(control_session, tenant, over)

    def test_outlives_a_trial_and_a_retention_that_end_before_its_day(
        self, scenario: Any, now: datetime, set_clock: Any
    ) -> None:
        with transaction() as session:
            make_catalogue(session, now=now)
            tenant = make_tenant(session, now=now, trial_ends_at=now + DAY)
            agree(session, tenant, now)
            assert tenant.state == "trialing"
        set_clock(now + 2 * DAY)
        STEP.work()
        with transaction() as session:
            tenant = session.scalars(select(Tenant)).one()
            assert (tenant.state, tenant.suspend_reason) == ("suspended", "trial_ended")
            tenant.destroy_after = now + 5 * DAY  # a retention of three days
            warn(session, tenant)
        set_clock(now + 6 * DAY)
        STEP.work()
        with transaction() as session:
            tenant = session.scalars(select(Tenant)).one()
            assert (tenant.state, tenant.destroy_after) == ("suspended", None)
            assert not STEP.due(session, now + 6 * DAY)
