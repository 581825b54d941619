"""What changes debts beside money that comes in for them: nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from invoices import dunning_holds, payment_methods, settlement
from invoices.gateways.port import RegisteredMethod
from invoices.models import Invoice
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import make_staff
from tests.invoices.test_dunning_end import LATE, decline, mark, owing
from tests.invoices.test_reversal_races import all_wait, ended, in_a_transaction, kept
from tests.invoices.test_settlement import receive

UNTIL = (LATE + timedelta(days=20)).date()


def held(tenant_id: UUID, staff_id: UUID) -> Callable[[Session], Any]:
    return lambda session: dunning_holds.hold(
        control_session=session,
        tenant_id=tenant_id,
        until=UNTIL,
        why="they pay next week",
        staff_id=staff_id,
        now=LATE,
    )


def lifted(tenant_id: UUID, staff_id: UUID) -> Callable[[Session], Any]:
    return lambda session: dunning_holds.lift(
        control_session=session, tenant_id=tenant_id, why="it came", staff_id=staff_id, now=LATE
    )


def registered(tenant_id: UUID, _: UUID) -> Callable[[Session], Any]:
    """The browser of the customer's administrator comes back from the card page."""
    with transaction() as session:
        begun = payment_methods.begin_registration(
            control_session=session, tenant_id=tenant_id, now=LATE
        ).id
    card = RegisteredMethod(
        token="token", customer_key="customer", kind="card", masked="**** 4242", brand="sandbox"
    )
    return lambda session: payment_methods.complete_registration(
        control_session=session, registration_id=begun, registered=card, actor=SYSTEM, now=LATE
    )


@pytest.mark.parametrize("act", [held, lifted, registered])
def test_what_changes_debts_waits_for_the_payment_that_opens_the_doors(
    scenario: Scenario, act: Callable[[UUID, UUID], Callable[[Session], Any]]
) -> None:
    with transaction() as session:
        invoice = owing(session)
        decline(session, invoice, "retry_later", LATE)
        mark(session, LATE)
        staff_id = make_staff(session, role="finance").id
        invoice_id, tenant_id = invoice.id, invoice.tenant_id
        if act is lifted:
            held(tenant_id, staff_id)(session)
    change = act(tenant_id, staff_id)
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            found: Invoice = settlement.locked(session, invoice_id)
            acting = other.submit(in_a_transaction, change)
            all_wait(1)
            receive(session, found, found.open_minor)
        ended(acting)
    assert kept(invoice_id).state == "paid"
    with transaction() as session:
        assert session.get_one(Tenant, tenant_id).state == "active"
