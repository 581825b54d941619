"""Two at once: whoever comes second is told so, and the money is booked once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import func, select

from app.base import clock
from app.base.audit import SYSTEM
from app.base.db import control_session as transaction
from app.base.errors import Conflict
from app.base.money import Money
from invoices import evidence, payment, payment_methods, transfers
from invoices.gateways.port import RegisteredMethod
from invoices.models import Invoice, Payment, PaymentAttempt, PaymentMethod, VatEvidence
from jobs import collection
from jobs import evidence as evidence_step
from jobs import payment as reaper
from tests.conftest import Scenario
from tests.factories import NOW, make_invoice, make_staff, make_tenant
from tests.invoices.collecting import charges, gateway_at, owing
from tests.sandbox.running import RunningSandbox

TIMES = 6


@pytest.fixture
def sandbox(
    scenario: Scenario, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningSandbox]:
    with gateway_at(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


def at_once(act: Callable[[int], Any], times: int = TIMES) -> list[Any]:
    """Runs the act in so many threads that start together; a refusal is a result."""
    start = Barrier(times)

    def one(number: int) -> Any:
        start.wait(timeout=10)
        try:
            return act(number)
        except Conflict as refusal:
            return refusal

    with ThreadPoolExecutor(times) as threads:
        return list(threads.map(one, range(times)))


def count(model: Any) -> int:
    with transaction() as session:
        return session.scalar(select(func.count()).select_from(model)) or 0


def transferred(invoice_id: UUID, staff_id: UUID) -> str:
    with transaction() as session:
        total = session.get_one(Invoice, invoice_id).total_minor
        transfers.record_transfer(
            control_session=session,
            invoice_id=invoice_id,
            amount=Money(total, "KRW"),
            payer="대한설계",
            paid_on=NOW.date(),
            staff_id=staff_id,
            now=NOW,
        )
    return "transfer"


class TestADoubleClick:
    def test_on_transfer_received_counts_once(self, scenario: Scenario) -> None:
        with transaction() as session:
            invoice_id = make_invoice(session).id
            staff_id = make_staff(session, role="finance").id
        outcomes = at_once(lambda _: transferred(invoice_id, staff_id))
        assert sum(outcome == "transfer" for outcome in outcomes) == 1
        assert sum(isinstance(outcome, transfers.NotOpen) for outcome in outcomes) == TIMES - 1
        assert count(Payment) == 1

    def test_on_a_card_page_leaves_one_default_card(self, scenario: Scenario) -> None:
        with transaction() as session:
            tenant_id = make_tenant(session, state="active").id
            begun = [
                payment_methods.begin_registration(
                    control_session=session, tenant_id=tenant_id, now=NOW
                ).id
                for _ in range(3)
            ]

        def complete(number: int) -> UUID:
            with transaction() as session:
                card = RegisteredMethod(
                    token=f"token-{number}",
                    customer_key="customer",
                    kind="card",
                    masked="**** 4242",
                    brand="sandbox",
                )
                return payment_methods.complete_registration(
                    control_session=session,
                    registration_id=begun[number % 3],
                    registered=card,
                    actor=SYSTEM,
                    now=NOW,
                ).id

        at_once(complete)
        assert count(PaymentMethod) == 3
        with transaction() as session:
            defaults = select(func.count()).where(PaymentMethod.is_default)
            assert session.scalar(defaults) == 1


class TestACharge:
    def test_begun_by_many_is_begun_once(self, sandbox: RunningSandbox) -> None:
        with transaction() as session:
            invoice_id = owing(session).id

        def begin(_: int) -> payment.Order | None:
            with transaction() as session:
                return payment.begin(
                    control_session=session,
                    invoice_id=invoice_id,
                    now=NOW,
                    real_now=clock.real_now(),
                )

        assert sum(order is not None for order in at_once(begin)) == 1
        assert count(PaymentAttempt) == 1

    def test_beside_a_transfer_pays_once(
        self, sandbox: RunningSandbox, set_clock: Callable[[Any], None]
    ) -> None:
        set_clock(NOW)
        for _ in range(3):
            with transaction() as session:
                invoice_id = owing(session).id
                staff_id = make_staff(session, role="finance").id

            def pay(number: int) -> Any:
                return transferred(invoice_id, staff_id) if number else collection.work()  # noqa: B023

            at_once(pay, times=2)
            with transaction() as session:
                paid = session.scalars(
                    select(Payment).where(Payment.invoice_id == invoice_id)
                ).one()
                gateways = {charge["order_id"][:32] for charge in charges(sandbox)}
                assert (invoice_id.hex in gateways) == (paid.gateway == "sandbox")

    def test_collected_by_many_workers_is_charged_once_and_has_one_evidence(
        self, sandbox: RunningSandbox, set_clock: Callable[[Any], None]
    ) -> None:
        set_clock(NOW)
        with transaction() as session:
            invoices = [owing(session, card).id for card in ("pays", "pays_then_drops", "pays")]
        at_once(lambda _: [step.work() for step in (collection, reaper, evidence_step)])
        for step in (reaper, evidence_step):
            while step.work():
                continue
        assert len(charges(sandbox)) == len(invoices)
        assert count(Payment) == len(invoices)
        assert count(VatEvidence) == len(invoices)
        with transaction() as session:
            assert not evidence_step.due(session, clock.now())
            assert not collection.due(session, clock.now())
            assert not reaper.due(session, clock.now())


class TestEvidence:
    def test_chosen_by_many_is_chosen_once(self, scenario: Scenario) -> None:
        with transaction() as session:
            invoice_id = make_invoice(session).id
            staff_id = make_staff(session, role="finance").id
        transferred(invoice_id, staff_id)

        def choose(_: int) -> VatEvidence | None:
            with transaction() as session:
                return evidence.choose(control_session=session, invoice_id=invoice_id, now=NOW)

        assert sum(chosen is not None for chosen in at_once(choose)) == 1
        assert count(VatEvidence) == 1
