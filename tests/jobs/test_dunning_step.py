"""The step of debts: whoever is outside without a debt is let in, whatever kept them there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from jobs import dunning as step
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import NOW, make_invoice, make_tenant

LATE = NOW + timedelta(days=settings().payment_term_days + 1)
pytestmark = pytest.mark.usefixtures("scenario")


@pytest.fixture(autouse=True)
def the_day_after_the_due_date(set_clock: Callable[..., None]) -> None:
    set_clock(LATE)


def state_of(tenant_id: UUID) -> str:
    with control_session() as session:
        return session.get_one(Tenant, tenant_id).state


def is_due() -> bool:
    with control_session() as session:
        return step.due(session, LATE)


def outside(reason: str | None) -> UUID:
    """A company that is past due, or suspended for that reason, and owes nothing."""
    with control_session() as session:
        tenant = make_tenant(session, state="active", converted_at=NOW)
        by = {"control_session": session, "tenant_id": tenant.id, "actor": SYSTEM, "now": NOW}
        lifecycle.mark_past_due(**by)
        if reason:
            lifecycle.suspend(reason=reason, **by)
        return tenant.id


@pytest.mark.parametrize("reason", [None, "unpaid"])
def test_lets_a_company_in_that_owes_nothing(reason: str | None) -> None:
    tenant_id = outside(reason)
    assert is_due()
    assert step.work() == 1
    assert state_of(tenant_id) == "active"
    assert not is_due()
    assert step.work() == 0


def test_leaves_shut_what_staff_closed() -> None:
    tenant_id = outside("staff")
    assert not is_due()
    assert step.work() == 0
    assert state_of(tenant_id) == "suspended"


def test_marks_a_debtor_and_lets_nobody_in_for_it() -> None:
    with control_session() as session:
        tenant_id = make_invoice(session).tenant_id
    assert is_due()
    assert step.work() == 1
    assert state_of(tenant_id) == "past_due"
    assert step.work() == 0
