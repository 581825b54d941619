"""What changes debts beside money that comes in for them: nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_engine
from app.base.db import control_session as transaction
from app.base.money import Money
from invoices import dunning_holds, payment_methods, settlement
from invoices.gateways.port import RegisteredMethod
from invoices.models import Invoice
from invoices.settlement import Arrival
from tenants import lifecycle
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import make_staff
from tests.invoices.test_dunning_end import DAY, LATE, decline, mark, owing
from tests.invoices.test_reversal_races import all_wait, ended, in_a_transaction, kept
from tests.invoices.test_reversals import next_months
from tests.invoices.test_settlement import receive
from tests.patience import eventually

MUCH_LATER = LATE + 90 * DAY
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


def paid_up(invoice_id: UUID) -> Callable[[Session], Any]:
    """All that is open of an invoice comes in."""

    def act(session: Session) -> None:
        invoice = settlement.locked(session, invoice_id)
        settlement.receive(
            control_session=session,
            invoice_id=invoice_id,
            arrival=Arrival(
                kind="transfer",
                gateway="manual",
                gateway_payment_id=f"transfer-{invoice_id}",
                amount=Money(invoice.open_minor, invoice.currency),
                received_on=LATE.date(),
            ),
            actor=SYSTEM,
            now=MUCH_LATER,
        )

    return act


def state_of(tenant_id: UUID) -> str:
    with transaction() as session:
        return session.get_one(Tenant, tenant_id).state


def anybody_waits() -> bool:
    waiting = text(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    with control_engine().connect() as connection:
        return bool(connection.scalar(waiting))


@pytest.mark.parametrize("shut_out", [False, True])
def test_of_two_payments_at_once_the_one_that_ends_last_opens_the_doors(
    scenario: Scenario, shut_out: bool
) -> None:
    with transaction() as session:
        first = owing(session)
        second = next_months(session, first)
        tenant_id, ids = first.tenant_id, (first.id, second.id)
        session.flush()
        assert mark(session, MUCH_LATER) == 1
        if shut_out:
            lifecycle.suspend(
                control_session=session,
                tenant_id=tenant_id,
                reason="unpaid",
                actor=SYSTEM,
                now=MUCH_LATER,
            )
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            paid_up(ids[0])(session)
            paying = other.submit(in_a_transaction, paid_up(ids[1]))
            eventually(lambda: paying.done() or anybody_waits(), "the other payment")
        ended(paying)
    assert [kept(each).state for each in ids] == ["paid", "paid"]
    assert state_of(tenant_id) == "active"


def test_nobody_is_marked_past_due_for_what_is_being_paid(scenario: Scenario) -> None:
    with transaction() as session:
        invoice = owing(session)
        tenant_id, invoice_id = invoice.tenant_id, invoice.id
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            paid_up(invoice_id)(session)
            marking = other.submit(in_a_transaction, lambda beside: mark(beside, LATE))
            eventually(lambda: marking.done() or anybody_waits(), "whoever marks debtors")
        ended(marking)
    assert state_of(tenant_id) == "active"


def test_whoever_is_marked_while_they_pay_is_opened_by_that_payment(scenario: Scenario) -> None:
    with transaction() as session:
        invoice = owing(session)
        tenant_id, invoice_id = invoice.tenant_id, invoice.id
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            assert mark(session, LATE) == 1
            paying = other.submit(in_a_transaction, paid_up(invoice_id))
            eventually(lambda: paying.done() or anybody_waits(), "the payment")
        ended(paying)
    assert state_of(tenant_id) == "active"
