"""Whoever pays is in again: by the payment's own transaction, with no worker and no timetable."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from invoices.models import Invoice
from jobs import collection
from jobs import dunning as step
from tenants import lifecycle
from tenants.models import Tenant
from tests.factories import make_invoice
from tests.invoices.collecting import gateway_at, register_card
from tests.web.forms import send, sign_in_staff
from tests.workspaces import Workspace


@pytest.fixture
def owed(workspace: Workspace, now: datetime) -> UUID:
    """An invoice of the workspace's company, which is shut out for it."""
    with control_session() as session:
        tenant = session.get_one(Tenant, workspace.tenant_id)
        tenant.state, tenant.converted_at = "active", now
        invoice_id = make_invoice(session, tenant=tenant, now=now).id
    clock.set_now(now + timedelta(days=settings().payment_term_days + 1))
    assert step.work() == 1
    with control_session() as session:
        lifecycle.suspend(
            control_session=session,
            tenant_id=workspace.tenant_id,
            reason="unpaid",
            actor=SYSTEM,
            now=clock.now(),
        )
    return invoice_id


class TestAPayment:
    def test_that_finance_records_opens_the_workspace(
        self, admin: Any, app: Any, owed: UUID
    ) -> None:
        assert admin.get("/workspace/drawings").status_code == 403
        finance = app.test_client()
        sign_in_staff(finance, "finance")
        page = f"/console/invoices/{owed}"
        paid = {"amount": "209000", "payer": "한빛정밀", "paid_on": "2026-03-10"}
        assert send(finance, page, paid, to=f"{page}/transfer").status_code == 303
        assert admin.get("/workspace/drawings").status_code == 200

    def test_by_card_opens_the_workspace_as_the_charge_succeeds(
        self, admin: Any, workspace: Workspace, owed: UUID, tmp_path: Path
    ) -> None:
        assert admin.get("/workspace/drawings").status_code == 403
        with gateway_at(tmp_path):
            with control_session() as session:
                tenant = session.get_one(Tenant, workspace.tenant_id)
                register_card(session, tenant, now=clock.now())
            assert collection.work() == 1
        with control_session() as session:
            assert session.get_one(Invoice, owed).state == "paid"
        assert admin.get("/workspace/drawings").status_code == 200
