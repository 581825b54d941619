"""From a deposit to an open workspace, by the real workers: nobody who paid waits outside."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID

from app.base.audit import SYSTEM
from app.base.config import settings
from app.base.db import control_session
from invoices import dunning, statement_import, statements
from invoices.models import Invoice
from tenants import lifecycle
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import make_invoice, make_staff
from tests.jobs.running import machinery
from tests.patience import eventually

# What the portal promises to whoever pays.
WITHIN_SECONDS = 5.0


def shut_out(now: datetime) -> Invoice:
    """An invoice that is overdue, and its tenant shut out for it."""
    with control_session() as session:
        invoice = make_invoice(session, now=now - timedelta(days=settings().payment_term_days + 2))
        session.flush()
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


def state_of(tenant_id: UUID) -> str:
    with control_session() as session:
        return session.get_one(Tenant, tenant_id).state


def test_the_doors_open_within_seconds_of_the_deposit(
    scenario: Scenario, now: datetime, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="3600"):
        invoice = shut_out(now)
        assert state_of(invoice.tenant_id) == "suspended"
        bring_statement(invoice, now)
        eventually(lambda: state_of(invoice.tenant_id) == "active", log, within=WITHIN_SECONDS)
