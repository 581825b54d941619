"""Payments that the gateway knows before they are charged: the id comes first, or nothing does."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy.orm import Session

from app.base import clock
from app.base.db import control_session as transaction
from invoices import payment
from invoices.gateways import registry
from invoices.gateways.port import Absent, Declined, Prepared, Succeeded, Unknown
from invoices.models import PaymentAttempt
from invoices.payment import Order
from jobs import charging
from tests.conftest import Scenario
from tests.factories import NOW
from tests.fakes.stripe.running import RunningStripe, running
from tests.scenarios.test_prepared_charge_killed import add_account, owing


@pytest.fixture(scope="module")
def stripe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStripe]:
    with running(directory=tmp_path_factory.mktemp("stripe")) as simulator:
        yield simulator


@pytest.fixture
def account(scenario: Scenario, stripe: RunningStripe) -> Iterator[None]:
    registry.forget()
    with transaction() as session:
        add_account(session, stripe)
    yield
    registry.forget()


def begun(card: str) -> Order:
    """An attempt at a card of that behaviour, begun and committed."""
    with transaction() as session:
        invoice_id = owing(session, card).id
    with transaction() as session:
        order = payment.begin(
            control_session=session, invoice_id=invoice_id, now=NOW, real_now=clock.real_now()
        )
    assert order is not None
    return order


def attempt_of(session: Session, order: Order) -> PaymentAttempt:
    return session.get_one(PaymentAttempt, order.attempt_id)


def settle(order: Order, result: payment.ChargeResult | payment.LookupResult) -> str:
    with transaction() as session:
        return payment.record(
            control_session=session, attempt_id=order.attempt_id, result=result, now=NOW
        ).state


@pytest.mark.usefixtures("account")
class TestAPayment:
    def test_has_its_id_stored_before_it_is_charged(self) -> None:
        order = begun("pays_then_drops")
        with pytest.raises(ValueError, match="prepare it first"):
            payment.perform(order=order)
        assert isinstance(charging.charge(order), Unknown)
        with transaction() as session:
            stored = attempt_of(session, order).gateway_payment_id
            reopened = payment.reopen(control_session=session, attempt_id=order.attempt_id)
        assert stored is not None
        assert reopened.prepared_id == stored
        found = charging.find_out(reopened, real_now=clock.real_now())
        assert isinstance(found, Succeeded)
        assert found.gateway_payment_id == stored
        assert settle(order, found) == "succeeded"

    def test_without_an_id_was_never_charged_and_nobody_needs_to_be_asked(
        self, stripe: RunningStripe
    ) -> None:
        order = begun("pays")
        stripe.kill()
        late = order.key_expires_at + timedelta(days=30)
        assert charging.find_out(order, real_now=late) == Absent()
        stripe.start()
        assert settle(order, Absent()) == "declined"

    def test_whose_key_ran_out_is_looked_up_by_its_id_and_not_sent_again(self) -> None:
        order = begun("pays_and_keeps_failing")
        assert isinstance(charging.charge(order), Unknown)
        with transaction() as session:
            reopened = payment.reopen(control_session=session, attempt_id=order.attempt_id)
        late = order.key_expires_at + timedelta(days=30)
        assert isinstance(charging.find_out(reopened, real_now=late), Succeeded)

    def test_that_cannot_be_prepared_is_told_as_that_and_takes_nothing(
        self, stripe: RunningStripe
    ) -> None:
        stripe.tell("faults", kind="drop", path="/v1/payment_intents")
        order = begun("pays")
        assert isinstance(charging.charge(order), Unknown)
        with transaction() as session:
            assert attempt_of(session, order).gateway_payment_id is None
        assert isinstance(charging.find_out(order, real_now=clock.real_now()), Succeeded)

    def test_keeps_its_id_when_it_is_declined(self) -> None:
        order = begun("declines:stolen_card")
        result = charging.charge(order)
        assert isinstance(result, Declined)
        assert settle(order, result) == "declined"
        with transaction() as session:
            assert attempt_of(session, order).gateway_payment_id == result.gateway_payment_id


@pytest.mark.usefixtures("account")
class TestWhoeverSleptTooLong:
    def test_keeps_no_id_on_an_attempt_that_was_settled_meanwhile(self) -> None:
        order = begun("pays")
        prepared = payment.prepare(order=order)
        assert isinstance(prepared, Prepared)
        assert settle(order, Absent()) == "declined"
        with transaction() as session:
            kept = payment.keep_prepared(control_session=session, order=order, prepared=prepared)
            assert isinstance(kept, Unknown)
            assert attempt_of(session, order).gateway_payment_id is None

    def test_cannot_charge_what_was_given_up_after_the_keys_time(
        self, stripe: RunningStripe
    ) -> None:
        order = begun("pays")
        prepared = payment.prepare(order=order)
        assert isinstance(prepared, Prepared)
        with transaction() as session:
            asleep = payment.keep_prepared(control_session=session, order=order, prepared=prepared)
            reopened = payment.reopen(control_session=session, attempt_id=order.attempt_id)
        assert isinstance(asleep, Order)
        stripe.tell("keys/forget")
        late = order.key_expires_at + timedelta(days=1)
        assert charging.find_out(reopened, real_now=late) == Absent()
        assert settle(order, Absent()) == "declined"
        assert isinstance(payment.perform(order=asleep), Unknown)
        told = stripe.ask("GET", f"/v1/payment_intents/{prepared.gateway_payment_id}")
        assert (told["status"], told["amount_received"]) == ("canceled", 0)

    def test_is_not_given_up_while_the_gateway_is_silent(self, stripe: RunningStripe) -> None:
        order = begun("pays")
        prepared = payment.prepare(order=order)
        assert isinstance(prepared, Prepared)
        with transaction() as session:
            ready = payment.keep_prepared(control_session=session, order=order, prepared=prepared)
        assert isinstance(ready, Order)
        stripe.tell("faults", kind="fail_before", path="/cancel")
        late = order.key_expires_at + timedelta(days=1)
        assert isinstance(charging.find_out(ready, real_now=late), Unknown)

    def test_puts_no_second_payment_in_place_of_the_first(self) -> None:
        order = begun("pays")
        first = payment.prepare(order=order)
        assert isinstance(first, Prepared)
        with transaction() as session:
            ready = payment.keep_prepared(control_session=session, order=order, prepared=first)
            assert isinstance(ready, Order)
            again = payment.keep_prepared(control_session=session, order=order, prepared=first)
            assert again == ready
            other = Prepared(gateway_payment_id="pi_of_somebody_else")
            kept = payment.keep_prepared(control_session=session, order=order, prepared=other)
            assert isinstance(kept, Unknown)
            assert attempt_of(session, order).gateway_payment_id == first.gateway_payment_id
