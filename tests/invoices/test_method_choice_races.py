"""Cards chosen, registered, removed and charged at once: one is the first, and nobody fails."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from invoices import method_choices, payment, payment_methods
from invoices.gateways.port import RegisteredMethod
from invoices.models import PaymentAttempt, PaymentMethod
from tenants.models import Tenant
from tests.conftest import Scenario
from tests.factories import NOW, make_card, make_invoice, make_tenant
from tests.invoices.test_reversal_races import all_wait, ended, in_a_transaction

Act = Callable[[Session], Any]


@pytest.fixture
def cards(scenario: Scenario) -> tuple[UUID, UUID, UUID]:
    """A company, the card that is charged first, and another one."""
    with transaction() as session:
        tenant = make_tenant(session, state="active", converted_at=NOW)
        other = make_card(session, tenant=tenant)
        other.is_default = False
        session.flush()
        first = make_card(session, tenant=tenant)
        return tenant.id, first.id, other.id


def chosen(tenant_id: UUID, method_id: UUID) -> Act:
    return lambda session: method_choices.make_default(
        control_session=session, tenant_id=tenant_id, method_id=method_id, actor=SYSTEM, now=NOW
    )


def allowed(tenant_id: UUID, method_id: UUID) -> Act:
    return lambda session: method_choices.allow_fallback(
        control_session=session, tenant_id=tenant_id, method_id=method_id, actor=SYSTEM, now=NOW
    )


def removed(tenant_id: UUID, method_id: UUID) -> Act:
    return lambda session: payment_methods.revoke(
        control_session=session, tenant_id=tenant_id, method_id=method_id, actor=SYSTEM, now=NOW
    )


def registered(tenant_id: UUID) -> Act:
    with transaction() as session:
        begun = payment_methods.begin_registration(
            control_session=session, tenant_id=tenant_id, now=NOW
        ).id
    card = RegisteredMethod(
        token="token", customer_key="customer", kind="card", masked="**** 4242", brand="sandbox"
    )
    return lambda session: payment_methods.complete_registration(
        control_session=session, registration_id=begun, registered=card, actor=SYSTEM, now=NOW
    )


def both(first: Act, second: Act) -> None:
    """The second begins before the first is committed, waits for it, and comes through."""
    with ThreadPoolExecutor(1) as other:
        with transaction() as session:
            first(session)
            waiting = other.submit(in_a_transaction, second)
            all_wait(1)
        ended(waiting)


def places(tenant_id: UUID) -> tuple[list[UUID], list[UUID]]:
    """Which cards are the first, and which may stand in."""
    with transaction() as session:
        found = payment_methods.methods(control_session=session, tenant_id=tenant_id)
    return [each.id for each in found if each.is_default], [
        each.id for each in found if each.is_fallback
    ]


def test_the_card_that_is_chosen_last_is_the_first(cards: tuple[UUID, UUID, UUID]) -> None:
    tenant_id, first, other = cards
    both(registered(tenant_id), chosen(tenant_id, other))
    assert places(tenant_id) == ([other], [])
    both(chosen(tenant_id, first), chosen(tenant_id, other))
    assert places(tenant_id) == ([other], [])


def test_a_card_registered_beside_a_choice_is_the_first(cards: tuple[UUID, UUID, UUID]) -> None:
    tenant_id, first, other = cards
    both(chosen(tenant_id, other), registered(tenant_id))
    (newest,), none = places(tenant_id)
    assert newest not in (first, other)
    assert none == []


def test_a_card_that_becomes_the_first_beside_its_permission_stands_in_for_none(
    cards: tuple[UUID, UUID, UUID],
) -> None:
    tenant_id, first, other = cards
    both(allowed(tenant_id, other), chosen(tenant_id, other))
    assert places(tenant_id) == ([other], [])
    both(allowed(tenant_id, first), removed(tenant_id, other))
    assert places(tenant_id) == ([first], [])


def test_a_charge_that_is_begun_beside_a_choice_is_one_charge(
    cards: tuple[UUID, UUID, UUID],
) -> None:
    tenant_id, first, other = cards
    with transaction() as session:
        invoice_id = make_invoice(session, tenant=session.get_one(Tenant, tenant_id)).id
    both(
        lambda session: payment.begin(
            control_session=session, invoice_id=invoice_id, now=NOW, real_now=NOW
        ),
        chosen(tenant_id, other),
    )
    with transaction() as session:
        assert (
            payment.begin(control_session=session, invoice_id=invoice_id, now=NOW, real_now=NOW)
            is None
        )
        attempt = session.scalars(select(PaymentAttempt)).one()
        assert (attempt.method_id, attempt.state) == (first, "open")
        assert session.get_one(PaymentMethod, other).is_default
