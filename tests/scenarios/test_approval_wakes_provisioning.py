"""From the approval's commit to a tenant on trial: nobody waits for a sweep."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from uuid import UUID

from app.base.db import control_session
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.jobs.running import machinery
from tests.patience import eventually
from tests.tenants.approved import approve


def trialing(tenant_id: UUID) -> bool:
    with control_session() as session:
        return session.get_one(Tenant, tenant_id).state == "trialing"


def test_an_approval_is_heard_of_without_any_sweep(
    scenario: Scenario, now: datetime, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="3600"):
        first = approve(now=now)
        eventually(lambda: trialing(first), log)
        second = approve(now=now)
        # No sweep for an hour: only the notification can have brought it.
        eventually(lambda: trialing(second), log)
