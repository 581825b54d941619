"""A customer with traces at every door is destroyed: only what the law keeps still names them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from app.base import files
from app.base.db import control_session
from app.base.messages import Message
from invoices import forgetting
from jobs.destruction import STEP
from tenants import destruction
from tenants.models import DestructionRun, Erasure, Tenant
from tests.scenarios.marked_customer import MARKS, files_of, leave_marks, places_of
from tests.workspaces import end_trial_and_retention

# Each of them holds a mark before: a door that this test forgets would prove nothing.
DOORS = {
    *("application.company", "application.contact_name", "application.message"),
    *("visit_event.utm", "tenant.name", "tenant.billing_profile"),
    *("tenant_admin.email", "tenant_admin.name", "tenant_admin.phone"),
    *("access_entry.address", "access_entry.agent", "business_status.representative"),
    *("message.text", "message.recipient", "event.properties"),
    *("invoice.buyer", "payment.payer", "bank_transfer.payer", "bank_transfer.memo"),
    *("virtual_account.holder", "virtual_account.number", "payment_method.masked"),
    *("card_registration.customer_key", "document.data", "consent.details"),
    *("vat_decision.file_name", "tax_invoice.data", "document_bundle.filters"),
}


def test_nothing_but_what_the_law_keeps_bears_a_mark(
    scenario: Any, now: datetime, set_clock: Any
) -> None:
    set_clock(now)
    customer = leave_marks(now)
    with control_session() as session:
        before = places_of(session, MARKS)
    assert {f"public.{door}" for door in DOORS} <= before
    assert {"bundles", "tenants"} <= files_of(MARKS)
    end_trial_and_retention(customer, now=now)
    with control_session() as session:
        session.execute(update(Message).where(Message.state == "due").values(state="sent"))
        assert destruction.begin(control_session=session, tenant_id=customer.tenant_id, now=now)
    with control_session() as session:
        session.execute(update(Message).where(Message.state == "due").values(state="sent"))
    at = now + timedelta(minutes=1)
    set_clock(at)
    assert STEP.work() == 1
    with control_session() as session:
        # The gateway of their card has not confirmed that it is forgotten there.
        assert session.scalars(select(Tenant.state)).one() == "destroying"
        assert session.scalars(select(DestructionRun.last_error)).one().count("payment_method")
        session.execute(update(DestructionRun).values(retry_at=None))
    set_clock(at + forgetting.GATEWAY_TOLD_FOR + timedelta(minutes=1))
    assert STEP.work() == 1
    with control_session() as session:
        assert session.scalars(select(Tenant.state)).one() == "destroyed"
        left = places_of(session, (*MARKS, customer.slug))
        verified = session.scalars(select(Erasure.verified)).one()
    assert {place for place in left if not place.startswith("statutory.")} == set()
    assert "statutory.paper.data" in left
    assert not any(verified.values())
    assert files_of(MARKS) == {"statutory"}
    assert files.is_empty(prefix=f"tenants/{customer.tenant_id}")
