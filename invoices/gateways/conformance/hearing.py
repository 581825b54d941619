"""Cases: webhooks, which come twice, late, in any order, and from strangers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.base.errors import Invalid
from invoices.gateways.conformance.declared import CHARGES, FOUND_LATER, Cases, needs
from invoices.gateways.conformance.purchases import AMOUNT, paid, purchase, won
from invoices.gateways.conformance.refunding import refunded
from invoices.gateways.conformance.till import Card, Delivery, Till
from invoices.gateways.port import (
    Absent,
    Capability,
    EventKind,
    Gateway,
    GatewayEvent,
    Succeeded,
    Trust,
    Unknown,
    WebhookRefused,
)


class WebhookCases(Cases):
    """Webhooks about a payment, as a refund brings them at every gateway that sends any."""

    needed = (*CHARGES, Capability.WEBHOOKS, Capability.REFUND, Capability.LOOKUP_BY_PAYMENT)

    def test_names_the_payment_and_how_far_it_is_trusted(self, till: Till) -> None:
        payment, delivery = refunded_and_told(till)
        event = heard(till.gateway, delivery)
        assert event.gateway_payment_id == payment.gateway_payment_id
        assert event.order_id in (payment.order_id, None)
        assert abs(datetime.now(UTC) - event.occurred_at) < timedelta(minutes=5)
        signed = Capability.SIGNED_WEBHOOKS in till.gateway.capabilities
        assert (event.trust is Trust.SIGNED) is signed

    @needs(Capability.CHARGE_WEBHOOKS)
    def test_of_a_charge_says_that_it_succeeded(self, till: Till) -> None:
        told_of_charge(till, paid(till))

    @needs(Capability.CHARGE_WEBHOOKS, FOUND_LATER)
    def test_before_the_answer_to_the_charge_can_be_matched_to_it(self, till: Till) -> None:
        """The answer is not recorded yet, so no row of ours holds the gateway's id."""
        buying = purchase(till, Card.PAYS_THEN_HANGS)
        assert isinstance(buying.at(till.impatient), Unknown)
        payment = buying.found_paid(till.gateway)
        event = heard(till.gateway, deliveries_about(till, payment)[0])
        matched = (event.order_id, event.gateway_payment_id)
        prepared = Capability.PREPARE in till.gateway.capabilities
        assert matched[0] == buying.order_id or (
            prepared and matched[1] == payment.gateway_payment_id
        )

    def test_delivered_again_is_the_same_event(self, till: Till) -> None:
        payment, _ = refunded_and_told(till)
        till.deliver_again(payment.gateway_payment_id)
        # A gateway may tell of one refund in several messages: which of them came last, and so
        # came again, is its own affair.
        events = [heard(till.gateway, each) for each in deliveries_about(till, payment)]
        assert any(event in events[:place] for place, event in enumerate(events))

    @needs(Capability.REFUND_IN_PART)
    def test_in_any_order_leads_to_what_the_gateway_says_now(self, till: Till) -> None:
        payment = paid(till)
        refunded(till, payment, won(10_000))
        till.reverse(payment.gateway_payment_id)
        last = self.told_of_all(till, payment)
        events = [heard(till.gateway, delivery) for delivery in reversed(last)]
        assert {e.gateway_payment_id for e in events} == {payment.gateway_payment_id}
        # Of each event one: whoever stores them by their id applies each once.
        bodies = {delivery.body for delivery in last}
        assert len({event.event_id for event in events}) == len(bodies)
        found = till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id)
        assert isinstance(found, Succeeded)
        assert found.refunded == AMOUNT

    @staticmethod
    def told_of_all(till: Till, payment: Succeeded) -> list[Delivery]:
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while True:
            told = deliveries_about(till, payment)
            if len({delivery.body for delivery in told}) > 1:
                return told
            assert datetime.now(UTC) < deadline, "the second change was never told"

    @needs(Capability.DISPUTES)
    def test_of_a_dispute_says_so(self, till: Till) -> None:
        payment = paid(till)
        till.dispute(payment.gateway_payment_id)
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while EventKind.PAYMENT_DISPUTED not in {
            heard(till.gateway, d).kind for d in deliveries_about(till, payment)
        }:
            assert datetime.now(UTC) < deadline, "the dispute was never told"

    def test_that_was_altered_is_refused_or_only_a_hint(self, till: Till) -> None:
        payment, delivery = refunded_and_told(till)
        for body in (delivery.body + b" ", delivery.body.replace(b"110000", b"1100000")):
            if body != delivery.body:
                suspect(till.gateway, Delivery(delivery.headers, body))
        found = till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id)
        assert isinstance(found, Succeeded)
        assert found.amount == AMOUNT

    def test_that_is_unreadable_is_refused_and_breaks_nothing(self, till: Till) -> None:
        _payment, delivery = refunded_and_told(till)
        for body in (b"", b"[]", b"{}", b"null", b"\xff\xfe", b"[" * 100_000, b'{"data": 1}'):
            with pytest.raises((WebhookRefused, Invalid)):
                heard(till.gateway, Delivery(delivery.headers, body))

    @needs(Capability.SIGNED_WEBHOOKS)
    def test_without_its_signature_or_with_another_is_refused(self, till: Till) -> None:
        _payment, delivery = refunded_and_told(till)
        signatures = [name for name in delivery.headers if "signature" in name.lower()]
        assert signatures, "no header of this name carries a signature"
        for name in signatures:
            others = {k: v for k, v in delivery.headers.items() if k != name}
            for headers in (
                others,
                {**others, name: ""},
                {**others, name: "v1,AAAA"},
                {**others, name: delivery.headers[name][:-4] + "AAA="},
            ):
                with pytest.raises(WebhookRefused):
                    heard(till.gateway, Delivery(headers, delivery.body))

    @needs(Capability.SIGNED_WEBHOOKS)
    @pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
    def test_from_another_time_is_refused(self, till: Till, age: timedelta) -> None:
        _payment, delivery = refunded_and_told(till)
        with pytest.raises(WebhookRefused):
            heard(till.gateway, delivery, now=datetime.now(UTC) + age)

    def test_of_another_merchant_is_refused_or_leads_nowhere(self, till: Till) -> None:
        _payment, delivery = refunded_and_told(till)
        event = suspect(till.stranger, delivery)
        if event is not None and event.gateway_payment_id:
            found = till.stranger.lookup(gateway_payment_id=event.gateway_payment_id)
            assert isinstance(found, Absent | Unknown)


def heard(gateway: Gateway, delivery: Delivery, now: datetime | None = None) -> GatewayEvent:
    """This function will take a webhook as the door for them does."""
    return gateway.parse_webhook(
        headers=delivery.headers, raw_body=delivery.body, now=now or datetime.now(UTC)
    )


def suspect(gateway: Gateway, delivery: Delivery) -> GatewayEvent | None:
    """This function will hold that a message that nobody signed is not taken for signed."""
    try:
        event = heard(gateway, delivery)
    except (WebhookRefused, Invalid):
        return None
    assert event.trust is not Trust.SIGNED
    return event


def deliveries_about(till: Till, payment: Succeeded) -> list[Delivery]:
    """This function will return the deliveries about a payment, once there is one."""
    return [Delivery(*d) for d in till.webhooks_about(payment.gateway_payment_id)]


def told_of_charge(till: Till, payment: Succeeded) -> None:
    """This function will wait until the gateway has told that a payment succeeded."""
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while EventKind.PAYMENT_SUCCEEDED not in {
        heard(till.gateway, each).kind for each in deliveries_about(till, payment)
    }:
        assert datetime.now(UTC) < deadline, "the payment was never told"


def refunded_and_told(till: Till) -> tuple[Succeeded, Delivery]:
    """This function will return a payment and the newest webhook about its refund."""
    payment = paid(till)
    if Capability.CHARGE_WEBHOOKS in till.gateway.capabilities:
        # First: what comes later would else be the newest now and then.
        told_of_charge(till, payment)
    refunded(till, payment, None)
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while True:
        for delivery in reversed(deliveries_about(till, payment)):
            if heard(till.gateway, delivery).kind is EventKind.PAYMENT_REFUNDED:
                return payment, delivery
        assert datetime.now(UTC) < deadline, "the refund was never told"
