"""From a deposit to an open workspace, by the real workers: nobody who paid waits outside."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from app.base import clock
from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from invoices import dunning, statement_import, statements
from invoices.models import Invoice
from tenants import lifecycle
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import PASSWORD, make_invoice, make_staff
from tests.jobs.running import machinery
from tests.patience import PATIENCE_SECONDS, eventually
from tests.web.forms import send
from tests.workspaces import Workspace, make_workspace

# Far longer than any machine needs, and far shorter than until the next sweep.
SWEEP_SECONDS = 60 * PATIENCE_SECONDS


def shut_out(workspace: Workspace, now: datetime) -> Invoice:
    """An invoice that is overdue, and its tenant shut out for it."""
    issued = now - timedelta(days=settings().payment_term_days + 2)
    with control_session() as session:
        tenant = session.get_one(Tenant, workspace.tenant_id)
        tenant.state, tenant.converted_at = "active", issued
        invoice = make_invoice(session, tenant=tenant, now=issued)
        dunning.mark_overdue(control_session=session, now=now, limit=9)
        lifecycle.suspend(
            control_session=session,
            tenant_id=invoice.tenant_id,
            reason="unpaid",
            actor=SYSTEM,
            now=now,
        )
        return invoice


def bring_statement(invoice: Invoice, now: datetime) -> None:
    text = f"거래일시,입금액,적요\n2026-03-20,{invoice.total_minor},{invoice.number_text}\n"
    with control_session() as session:
        statement_import.import_statement(
            control_session=session,
            file_name="march.csv",
            content=text.encode(),
            layout=statements.USUAL,
            staff_id=make_staff(session, role="finance").id,
            now=now,
        )


def enter(app: Any, workspace: Workspace) -> Any:
    """The browser of the company's administrator, who signed in before the doors were shut."""
    client = app.test_client()
    fields = {
        "workspace": workspace.slug,
        "email": workspace.admin_email,
        "password": PASSWORD,
    }
    assert send(client, "/workspace/sign-in", fields).status_code == 303
    return client


def test_a_deposit_opens_the_workspace_without_waiting_for_a_sweep_or_a_slot(
    scenario: Scenario, app: Any, now: datetime, tmp_path: Path
) -> None:
    """What is promised is seconds: only news of the commit itself is fast enough for that."""
    log = tmp_path / "log"
    clock.set_now(now)
    workspace = make_workspace(now=now)
    browser = enter(app, workspace)
    with machinery(scenario, log, TENANTRY_SWEEP_SECONDS=str(SWEEP_SECONDS)):
        invoice = shut_out(workspace, now)
        assert browser.get("/workspace/drawings").status_code == 403
        bring_statement(invoice, now)
        eventually(lambda: browser.get("/workspace/drawings").status_code == 200, log)
