"""The cases that every gateway must pass, whoever wrote its adapter.

A test class inherits `GatewayCases` and offers a `till`: the adapter under test together with the
means to make its other side misbehave.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from app.base.money import Money
from invoices.gateways.port import (
    Absent,
    ChargeResult,
    DeclineClass,
    Declined,
    Gateway,
    Refunded,
    RegisteredMethod,
    RegistrationRefused,
    Succeeded,
    Trust,
    Unknown,
    WebhookRefused,
)


def won(amount: int) -> Money:
    return Money(amount, "KRW")


AMOUNT = won(110_000)


class Till(Protocol):
    """One account at a gateway whose other side does as it is told."""

    gateway: Gateway
    impatient: Gateway  # the same account with a read time-out of well under a second

    def browser_returns(self, *, customer_key: str, card: str) -> dict[str, str]:
        """Registers the card of that behaviour in a browser; returns what comes back with it."""

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        """Leaves the registration page without a card."""

    def webhooks_about(self, gateway_payment_id: str) -> list[tuple[dict[str, str], bytes]]:
        """Waits for a delivery about the payment; returns all there were, headers and body."""

    def deliver_again(self, event_id: str) -> None:
        """Makes the gateway deliver an event once more."""

    def kill_and_restart(self) -> None:
        """kill -9, and a new start, of the gateway's side."""


@dataclass(frozen=True)
class Purchase:
    """The words of one charge attempt."""

    method: RegisteredMethod
    order_id: str
    idempotency_key: str
    amount: Money = AMOUNT

    def at(self, gateway: Gateway) -> ChargeResult:
        return gateway.charge(
            token=self.method.token,
            customer_key=self.method.customer_key,
            order_id=self.order_id,
            amount=self.amount,
            tax_minor=self.amount.amount_minor // 11,
            name="Tenantry 2026-11",
            idempotency_key=self.idempotency_key,
            attempt_id=self.idempotency_key,
        )

    def next_attempt(self) -> Purchase:
        return replace(self, order_id=_order_id(), idempotency_key=uuid.uuid4().hex)


def _order_id() -> str:
    return f"order-{uuid.uuid4().hex}"


def purchase(till: Till, card: str) -> Purchase:
    customer_key = str(uuid.uuid4())
    params = till.browser_returns(customer_key=customer_key, card=card)
    method = till.gateway.complete_registration(customer_key=customer_key, params=params)
    return Purchase(method=method, order_id=_order_id(), idempotency_key=uuid.uuid4().hex)


def paid(till: Till, card: str = "pays") -> Succeeded:
    result = purchase(till, card).at(till.gateway)
    assert isinstance(result, Succeeded), result
    return result


def all_paid(till: Till, order_id: str) -> list[Succeeded]:
    """Every payment under the order that moved money, by the gateway's own list."""
    now = datetime.now(UTC)
    listed = till.gateway.list_payments(
        start=now - timedelta(hours=1), end=now + timedelta(hours=1)
    )
    return [payment for payment in listed if payment.order_id == order_id]


class GatewayCases:
    class TestRegistration:
        def test_gives_a_method_whose_token_no_log_line_shows(self, till: Till) -> None:
            method = purchase(till, "pays").method
            assert method.kind == "card"
            assert method.masked.endswith("4242")
            assert method.token
            assert method.token not in repr(method)

        def test_that_was_cancelled_says_so(self, till: Till) -> None:
            params = till.browser_cancels(customer_key="customer-1")
            with pytest.raises(RegistrationRefused):
                till.gateway.complete_registration(customer_key="customer-1", params=params)

        def test_of_one_customer_cannot_be_completed_by_another(self, till: Till) -> None:
            params = till.browser_returns(customer_key="customer-1", card="pays")
            with pytest.raises(RegistrationRefused):
                till.gateway.complete_registration(customer_key="customer-2", params=params)

        def test_completed_twice_gives_the_same_method(self, till: Till) -> None:
            params = till.browser_returns(customer_key="customer-1", card="pays")
            complete = till.gateway.complete_registration
            first = complete(customer_key="customer-1", params=params)
            assert complete(customer_key="customer-1", params=params) == first

        @pytest.mark.parametrize(
            "params",
            [
                {},
                {"registration_id": "reg_00", "code": "guessed"},
                {"registration_id": "../payments", "code": "x"},
                {"registration_id": "reg_00\r\nHost: elsewhere", "code": "x"},
            ],
        )
        def test_with_made_up_parameters_is_refused(
            self, till: Till, params: dict[str, str]
        ) -> None:
            with pytest.raises(RegistrationRefused):
                till.gateway.complete_registration(customer_key="customer-1", params=params)

        def test_revoked_can_be_revoked_again_but_not_charged(self, till: Till) -> None:
            buying = purchase(till, "pays")
            for _ in range(2):
                till.gateway.revoke(
                    token=buying.method.token, customer_key=buying.method.customer_key
                )
            result = buying.at(till.gateway)
            assert isinstance(result, Declined)
            assert result.decline_class is DeclineClass.NEW_METHOD_NEEDED

    class TestCharge:
        def test_that_succeeds_tells_what_was_captured(self, till: Till) -> None:
            buying = purchase(till, "pays")
            result = buying.at(till.gateway)
            assert isinstance(result, Succeeded)
            assert (result.order_id, result.amount) == (buying.order_id, won(110_000))
            assert result.refunded == won(0)
            assert abs(datetime.now(UTC) - result.approved_at) < timedelta(minutes=1)
            assert till.gateway.lookup(gateway_payment_id=result.gateway_payment_id) == result

        @pytest.mark.parametrize(
            ("card", "expected"),
            [
                ("insufficient", DeclineClass.RETRY_LATER),
                ("stolen", DeclineClass.NEW_METHOD_NEEDED),
                ("expired", DeclineClass.NEW_METHOD_NEEDED),
                ("suspected", DeclineClass.PERSON_MUST_LOOK),
            ],
        )
        def test_that_declines_says_what_it_asks_of_us(
            self, till: Till, card: str, expected: DeclineClass
        ) -> None:
            buying = purchase(till, card)
            result = buying.at(till.gateway)
            assert isinstance(result, Declined)
            assert result.decline_class is expected
            assert result.message
            assert buying.at(till.gateway) == result
            assert till.gateway.lookup(order_id=buying.order_id) == result
            assert all_paid(till, buying.order_id) == []

        def test_below_the_minimum_is_our_fault(self, till: Till) -> None:
            buying = replace(purchase(till, "pays"), amount=won(99))
            result = buying.at(till.gateway)
            assert isinstance(result, Declined)
            assert result.decline_class is DeclineClass.OUR_FAULT

        def test_of_another_customers_method_takes_nothing(self, till: Till) -> None:
            buying = purchase(till, "pays")
            stolen = replace(buying, method=replace(buying.method, customer_key="somebody-else"))
            assert isinstance(stolen.at(till.gateway), Declined)
            assert all_paid(till, buying.order_id) == []

        def test_that_declined_recovers_with_a_new_attempt_only(self, till: Till) -> None:
            first = purchase(till, "declines_once")
            declined = first.at(till.gateway)
            assert isinstance(declined, Declined)
            assert first.at(till.gateway) == declined
            assert isinstance(first.next_attempt().at(till.gateway), Succeeded)

        def test_repeated_under_one_key_takes_the_money_once(self, till: Till) -> None:
            buying = purchase(till, "pays")
            results = {buying.at(till.gateway) for _ in range(3)}
            assert len(results) == 1
            assert len(all_paid(till, buying.order_id)) == 1

        def test_sent_by_many_at_once_takes_the_money_once(self, till: Till) -> None:
            buying = purchase(till, "pays")
            with ThreadPoolExecutor(8) as pool:
                results = list(pool.map(lambda _: buying.at(till.gateway), range(24)))
            told = {result for result in results if isinstance(result, Succeeded)}
            assert len(told) == 1
            assert all(isinstance(result, Succeeded | Unknown) for result in results)
            assert all_paid(till, buying.order_id) == list(told)

        def test_with_a_used_key_and_another_amount_stays_unknown(self, till: Till) -> None:
            buying = purchase(till, "pays")
            buying.at(till.gateway)
            assert isinstance(replace(buying, amount=won(5_500)).at(till.gateway), Unknown)
            assert [p.amount for p in all_paid(till, buying.order_id)] == [won(110_000)]

    class TestAChargeWithNoClearAnswer:
        def test_is_found_by_its_order_and_told_again_under_its_key(self, till: Till) -> None:
            buying = purchase(till, "pays_then_hangs")
            assert isinstance(buying.at(till.impatient), Unknown)
            found = looked_up(till, buying.order_id)
            assert buying.at(till.gateway) == found
            assert all_paid(till, buying.order_id) == [found]

        @pytest.mark.parametrize("card", ["pays_then_drops", "pays_then_fails", "busy_once"])
        def test_is_unknown_at_first_and_told_under_the_same_key(
            self, till: Till, card: str
        ) -> None:
            buying = purchase(till, card)
            assert isinstance(buying.at(till.gateway), Unknown)
            second = buying.at(till.gateway)
            assert isinstance(second, Succeeded)
            assert all_paid(till, buying.order_id) == [second]

        def test_whose_key_replays_the_failure_is_settled_by_looking(self, till: Till) -> None:
            buying = purchase(till, "pays_and_keeps_failing")
            for _ in range(3):
                assert isinstance(buying.at(till.gateway), Unknown)
            found = till.gateway.lookup(order_id=buying.order_id)
            assert isinstance(found, Succeeded)
            assert all_paid(till, buying.order_id) == [found]

        def test_and_no_trace_at_the_gateway_is_absent(self, till: Till) -> None:
            assert till.gateway.lookup(order_id="order-that-never-was") == Absent()
            assert till.gateway.lookup(gateway_payment_id="pay_that_never_was") == Absent()

        def test_survives_the_death_of_the_gateway(self, till: Till) -> None:
            buying = purchase(till, "pays_then_hangs")
            assert isinstance(buying.at(till.impatient), Unknown)
            found = looked_up(till, buying.order_id)
            till.kill_and_restart()
            assert buying.at(till.gateway) == found
            assert all_paid(till, buying.order_id) == [found]

    class TestRefund:
        def test_of_the_whole_leaves_nothing(self, till: Till) -> None:
            payment = paid(till)
            result = self.refunded(till, payment, None)
            assert (result.amount, result.remaining) == (won(110_000), won(0))
            after = till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id)
            assert after == replace(payment, refunded=won(110_000))

        def test_in_parts_adds_up_and_never_exceeds_the_payment(self, till: Till) -> None:
            payment = paid(till)
            assert self.refunded(till, payment, won(10_000)).remaining == won(100_000)
            too_much = self.refund(till, payment, won(100_001))
            assert isinstance(too_much, Declined)
            assert too_much.decline_class is DeclineClass.OUR_FAULT
            assert self.refunded(till, payment, None).amount == won(100_000)
            assert isinstance(self.refund(till, payment, None), Declined)

        def test_repeated_under_one_key_gives_back_once(self, till: Till) -> None:
            payment = paid(till)
            first = self.refund(till, payment, won(10_000), key="refund-1")
            assert self.refund(till, payment, won(10_000), key="refund-1") == first
            after = till.gateway.lookup(order_id=payment.order_id)
            assert isinstance(after, Succeeded)
            assert after.refunded == won(10_000)

        def test_races_never_give_back_more_than_was_paid(self, till: Till) -> None:
            payment = paid(till)
            with ThreadPoolExecutor(6) as pool:
                results = list(
                    pool.map(lambda _: self.refund(till, payment, won(40_000)), range(6))
                )
            assert sum(isinstance(result, Refunded) for result in results) == 2
            after = till.gateway.lookup(order_id=payment.order_id)
            assert isinstance(after, Succeeded)
            assert after.refunded == won(80_000)

        @staticmethod
        def refund(
            till: Till, payment: Succeeded, amount: Money | None, key: str | None = None
        ) -> object:
            return till.gateway.refund(
                gateway_payment_id=payment.gateway_payment_id,
                amount=amount,
                reason="The customer left",
                idempotency_key=f"{payment.gateway_payment_id} {key or uuid.uuid4().hex}",
            )

        def refunded(self, till: Till, payment: Succeeded, amount: Money | None) -> Refunded:
            result = self.refund(till, payment, amount)
            assert isinstance(result, Refunded), result
            return result

    class TestListing:
        def test_holds_each_payment_of_the_time_span_and_no_other(self, till: Till) -> None:
            first, second = paid(till), paid(till)
            later = second.approved_at + timedelta(microseconds=1)
            listed = list(till.gateway.list_payments(start=first.approved_at, end=later))
            assert [first, second] == [p for p in listed if p in (first, second)]
            before = till.gateway.list_payments(start=first.approved_at, end=second.approved_at)
            assert second not in list(before)

        def test_goes_on_past_one_page(self, till: Till) -> None:
            buying = purchase(till, "pays")
            start = datetime.now(UTC)
            with ThreadPoolExecutor(8) as pool:
                made = set(pool.map(lambda _: buying.next_attempt().at(till.gateway), range(105)))
            end = datetime.now(UTC) + timedelta(seconds=1)
            assert set(till.gateway.list_payments(start=start, end=end)) == made

    class TestWebhook:
        def test_names_the_payment_and_how_far_it_is_trusted(self, till: Till) -> None:
            payment = paid(till)
            headers, body = till.webhooks_about(payment.gateway_payment_id)[0]
            event = till.gateway.parse_webhook(
                headers=headers, raw_body=body, now=datetime.now(UTC)
            )
            assert event.gateway_payment_id == payment.gateway_payment_id
            assert event.order_id == payment.order_id
            assert event.trust is Trust.SIGNED
            assert event.kind == "payment_succeeded"

        def test_delivered_again_is_the_same_event(self, till: Till) -> None:
            payment = paid(till)
            parse = till.gateway.parse_webhook
            headers, body = till.webhooks_about(payment.gateway_payment_id)[0]
            first = parse(headers=headers, raw_body=body, now=datetime.now(UTC))
            till.deliver_again(first.event_id)
            headers, body = till.webhooks_about(payment.gateway_payment_id)[-1]
            assert parse(headers=headers, raw_body=body, now=datetime.now(UTC)) == first

        def test_that_was_altered_is_refused(self, till: Till) -> None:
            headers, body = till.webhooks_about(paid(till).gateway_payment_id)[0]
            self.refuse(till, headers, body + b" ")
            for name in headers:
                if name.lower().startswith("webhook-"):
                    self.refuse(till, {k: v for k, v in headers.items() if k != name}, body)
                    self.refuse(till, {**headers, name: headers[name] + "0"}, body)

        @pytest.mark.parametrize("age", [timedelta(minutes=6), timedelta(minutes=-6)])
        def test_from_another_time_is_refused(self, till: Till, age: timedelta) -> None:
            headers, body = till.webhooks_about(paid(till).gateway_payment_id)[0]
            self.refuse(till, headers, body, now=datetime.now(UTC) + age)

        @staticmethod
        def refuse(
            till: Till, headers: dict[str, str], body: bytes, now: datetime | None = None
        ) -> None:
            with pytest.raises(WebhookRefused):
                till.gateway.parse_webhook(
                    headers=headers, raw_body=body, now=now or datetime.now(UTC)
                )


def looked_up(till: Till, order_id: str) -> Succeeded:
    """This function will look the order up until the gateway has got round to it."""
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    while datetime.now(UTC) < deadline:
        found = till.gateway.lookup(order_id=order_id)
        if isinstance(found, Succeeded):
            return found
    raise AssertionError("the charge never reached the gateway")
