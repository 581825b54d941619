"""Reversals beside others who use the same credit: nobody waits in a circle, and all adds up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_engine
from app.base.db import control_session as transaction
from app.base.invariants import offences
from invoices import reversals, settlement
from invoices.checks import INVARIANTS
from invoices.models import CreditGrant, Invoice, Payment
from tests.conftest import Scenario
from tests.factories import NOW, make_invoice, make_staff
from tests.invoices.test_reversals import next_months, settled
from tests.invoices.test_settlement import receive
from tests.patience import PATIENCE_SECONDS, eventually

TOTAL = 209_000


@pytest.fixture(autouse=True)
def _the_books_hold(scenario: Scenario) -> Iterator[None]:
    """Whoever came first, every invariant stands at the end."""
    yield
    with transaction() as session:
        for rule in INVARIANTS:
            if rule.sql:
                assert offences(control_session=session, invariant=rule, now=clock.now()) == []


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def all_wait(for_how_many: int) -> None:
    """Returns once so many sessions wait for somebody else's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    def look() -> bool:
        with control_engine().connect() as connection:
            return connection.scalar(waiting) == for_how_many

    eventually(look, f"{for_how_many} sessions waiting for a lock")


def in_a_transaction(act: Callable[[Session], Any]) -> None:
    with transaction() as session:
        act(session)


def taken_back(payment_id: UUID, staff_id: UUID) -> Callable[[Session], Any]:
    return lambda session: reversals.take_back(
        control_session=session, payment_id=payment_id, reason="bounced", staff_id=staff_id, now=NOW
    )


def credit_used(session: Session, invoice_id: UUID) -> None:
    invoice = session.get_one(Invoice, invoice_id, with_for_update=True)
    assert settlement.use_credit(control_session=session, invoice=invoice, now=NOW)


def ended(*acts: Future[None]) -> None:
    for act in acts:
        act.result(timeout=PATIENCE_SECONDS)


def kept(invoice_id: UUID) -> Invoice:
    with transaction() as session:
        return session.get_one(Invoice, invoice_id)


class TestAReversal:
    def test_undoes_what_its_credit_settles_in_that_moment(
        self, scenario: Scenario, others: ThreadPoolExecutor
    ) -> None:
        with transaction() as session:
            first, paid = settled(session, TOTAL + 9_000)
            second = next_months(session, first)
            staff_id = make_staff(session, role="finance").id
            first_id, paid_id, second_id = first.id, paid.id, second.id
        with transaction() as session:
            credit_used(session, second_id)
            taking = others.submit(in_a_transaction, taken_back(paid_id, staff_id))
            all_wait(1)
        ended(taking)
        assert kept(first_id).open_minor == TOTAL
        assert kept(second_id).paid_minor == 0

    def test_crosswise_with_another_waits_for_it_and_no_longer(
        self, scenario: Scenario, others: ThreadPoolExecutor
    ) -> None:
        with transaction() as session:
            staff_id = make_staff(session, role="finance").id
            first = make_invoice(session)
            bounced = receive(session, first, 4_000)
            one = receive(session, first, TOTAL - 4_000 + 9_000)
            second = next_months(session, first)
            credit_used(session, second.id)
            another = receive(session, second, second.open_minor + 4_000)
            taken_back(bounced.id, staff_id)(session)
            credit_used(session, first.id)
            invoice_ids, payment_ids = (first.id, second.id), (one.id, another.id)
        # Each of the two left credit that settled the other's invoice.
        with transaction() as session:
            wanted = select(Payment.id).where(Payment.id.in_(payment_ids))
            session.execute(wanted.with_for_update())
            both = [
                others.submit(in_a_transaction, taken_back(payment_id, staff_id))
                for payment_id in payment_ids
            ]
            all_wait(2)
        ended(*both)
        assert [kept(invoice_id).paid_minor for invoice_id in invoice_ids] == [0, 0]


class TestCreditThatIsUsed:
    def test_of_two_customers_by_two_workers_is_used_by_one_after_the_other(
        self, scenario: Scenario, others: ThreadPoolExecutor
    ) -> None:
        with transaction() as session:
            one, another = (make_invoice(session) for _ in range(2))
            for invoice in (one, another):
                receive(session, invoice, 5 * TOTAL)
            # The first worker finds an invoice of each, the second the others, the other way round.
            owed = [
                next_months(session, one, 1),
                next_months(session, another, 1, late_days=9),
                next_months(session, another, 2),
                next_months(session, one, 2, late_days=9),
            ]
            assert [each.due_on for each in owed] == sorted(each.due_on for each in owed)
            owed_ids = [each.id for each in owed]
        with transaction() as session:
            session.execute(select(CreditGrant.id).with_for_update())
            both = [others.submit(self.worked) for _ in range(2)]
            all_wait(2)
        assert [each.result(timeout=PATIENCE_SECONDS) for each in both] == [2, 2]
        assert {kept(invoice_id).state for invoice_id in owed_ids} == {"paid"}

    def worked(self) -> int:
        with transaction() as session:
            return settlement.use_credits(control_session=session, now=NOW, limit=2)
