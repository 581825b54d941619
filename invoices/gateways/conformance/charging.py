"""Cases: a charge that is answered takes the money once, or says why it did not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from invoices.gateways.conformance.declared import CHARGES, Cases, needs
from invoices.gateways.conformance.purchases import AMOUNT, Purchase, paid, purchase, won
from invoices.gateways.conformance.till import Card, Till
from invoices.gateways.port import (
    Absent,
    Capability,
    DeclineClass,
    Declined,
    Prepared,
    Succeeded,
    Unknown,
)


class ChargeCases(Cases):
    """Charges with an answer."""

    needed = CHARGES

    def test_that_succeeds_tells_what_was_captured(self, till: Till) -> None:
        buying = purchase(till)
        result = buying.at(till.gateway)
        assert isinstance(result, Succeeded)
        assert (result.order_id, result.amount) == (buying.order_id, AMOUNT)
        assert result.refunded == won(0)
        assert abs(datetime.now(UTC) - result.approved_at) < timedelta(minutes=1)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs(Capability.LOOKUP_BY_PAYMENT)
    def test_that_succeeded_is_told_the_same_when_it_is_looked_up(self, till: Till) -> None:
        payment = paid(till)
        assert till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id) == payment

    @needs(Capability.LOOKUP_BY_ORDER)
    def test_that_succeeded_is_found_by_its_order(self, till: Till) -> None:
        payment = paid(till)
        assert till.gateway.lookup(order_id=payment.order_id) == payment

    @pytest.mark.parametrize(
        ("card", "expected"),
        [
            (Card.INSUFFICIENT, DeclineClass.RETRY_LATER),
            (Card.STOLEN, DeclineClass.NEW_METHOD_NEEDED),
            (Card.EXPIRED, DeclineClass.NEW_METHOD_NEEDED),
            (Card.SUSPECTED, DeclineClass.PERSON_MUST_LOOK),
        ],
    )
    def test_that_declines_says_what_it_asks_of_us(
        self, till: Till, card: Card, expected: DeclineClass
    ) -> None:
        buying = purchase(till, card)
        result = buying.at(till.gateway)
        assert isinstance(result, Declined), result
        assert result.decline_class is expected
        assert result.code
        assert result.message
        assert buying.at(till.gateway) == result
        assert list(till.captured(buying.order_id)) == []

    @needs(Capability.LOOKUP_BY_ORDER)
    def test_that_declined_is_looked_up_as_declined_or_as_never_made(self, till: Till) -> None:
        buying = purchase(till, Card.INSUFFICIENT)
        buying.at(till.gateway)
        assert isinstance(till.gateway.lookup(order_id=buying.order_id), Declined | Absent)

    @needs(Capability.ASKS_HOLDER)
    def test_that_wants_the_holder_present_sends_for_them(self, till: Till) -> None:
        buying = purchase(till, Card.ASKS_HOLDER)
        result = buying.at(till.gateway)
        assert isinstance(result, Declined)
        assert result.decline_class is DeclineClass.NEW_METHOD_NEEDED
        assert list(till.captured(buying.order_id)) == []

    def test_below_the_minimum_is_our_fault(self, till: Till) -> None:
        buying = replace(purchase(till), amount=won(1))
        result = buying.at(till.gateway)
        assert isinstance(result, Declined)
        assert result.decline_class is DeclineClass.OUR_FAULT

    @needs(Capability.BINDS_CUSTOMER)
    def test_of_another_customers_method_takes_nothing(self, till: Till) -> None:
        buying = purchase(till)
        stolen = replace(buying, method=replace(buying.method, customer_key="somebody-else"))
        assert isinstance(stolen.at(till.gateway), Declined)
        assert list(till.captured(buying.order_id)) == []

    def test_of_another_merchants_method_takes_nothing(self, till: Till) -> None:
        buying = purchase(till)
        assert not isinstance(buying.at(till.stranger), Succeeded)
        assert list(till.captured(buying.order_id)) == []

    def test_that_declined_recovers_with_a_new_attempt_only(self, till: Till) -> None:
        first = purchase(till, Card.DECLINES_ONCE)
        declined = first.at(till.gateway)
        assert isinstance(declined, Declined)
        assert first.at(till.gateway) == declined
        assert isinstance(first.next_attempt().at(till.gateway), Succeeded)

    def test_repeated_under_one_key_takes_the_money_once(self, till: Till) -> None:
        buying = purchase(till)
        assert len({buying.at(till.gateway) for _ in range(3)}) == 1
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    def test_sent_by_many_at_once_takes_the_money_once(self, till: Till) -> None:
        buying = purchase(till)
        with ThreadPoolExecutor(8) as pool:
            results = list(pool.map(lambda _: buying.at(till.gateway), range(24)))
        assert len({result for result in results if isinstance(result, Succeeded)}) == 1
        assert all(isinstance(result, Succeeded | Unknown) for result in results), results
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    def test_with_a_used_key_and_another_amount_stays_unknown(self, till: Till) -> None:
        buying = purchase(till)
        buying.at(till.gateway)
        assert isinstance(replace(buying, amount=won(55_000)).at(till.gateway), Unknown)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs(Capability.PREPARE)
    def test_that_is_only_prepared_takes_nothing_and_keeps_its_id(self, till: Till) -> None:
        buying = purchase(till)
        first = buying.prepare(till.gateway)
        assert isinstance(first, Prepared)
        assert buying.prepare(till.gateway) == first
        assert list(till.captured(buying.order_id)) == []
        assert not isinstance(buying.found(till.gateway), Succeeded)
        result = buying.at(till.gateway)
        assert isinstance(result, Succeeded)
        assert result.gateway_payment_id == first.gateway_payment_id

    @needs(Capability.PREPARE)
    def test_that_is_given_up_is_never_charged_any_more(self, till: Till) -> None:
        buying = purchase(till)
        known = buying.prepare(till.gateway)
        assert isinstance(known, Prepared)
        for _ in range(2):
            assert buying.given_up(till.gateway, known) == Absent()
        # Whoever slept meanwhile goes on with what they hold.
        assert not isinstance(buying.at(till.gateway), Succeeded)
        assert list(till.captured(buying.order_id)) == []
        assert till.gateway.lookup(gateway_payment_id=known.gateway_payment_id) == Absent()

    @needs(Capability.PREPARE)
    def test_that_was_charged_is_told_and_not_given_up(self, till: Till) -> None:
        buying = purchase(till)
        known = buying.prepare(till.gateway)
        assert isinstance(known, Prepared)
        assert isinstance(buying.at(till.gateway), Succeeded)
        assert isinstance(buying.given_up(till.gateway, known), Succeeded)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs(Capability.PREPARE)
    def test_that_never_was_needs_no_giving_up(self, till: Till) -> None:
        never = Prepared("pay_that_never_was")
        assert purchase(till).given_up(till.gateway, never) == Absent()


class UnansweredCases(Cases):
    """Charges with no clear answer: nothing but the same key, or a look, may settle them."""

    needed = CHARGES

    def test_is_found_and_told_again_under_its_key(self, till: Till) -> None:
        buying = purchase(till, Card.PAYS_THEN_HANGS)
        assert isinstance(buying.at(till.impatient), Unknown)
        result = self.answered(till, buying)
        assert list(till.captured(buying.order_id)) == [AMOUNT]
        assert result.order_id == buying.order_id

    @pytest.mark.parametrize("card", [Card.PAYS_THEN_DROPS, Card.PAYS_THEN_FAILS, Card.BUSY_ONCE])
    def test_is_unknown_at_first_and_told_under_the_same_key(self, till: Till, card: Card) -> None:
        buying = purchase(till, card)
        assert isinstance(buying.at(till.gateway), Unknown)
        self.answered(till, buying)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs((Capability.LOOKUP_BY_ORDER, Capability.PREPARE))
    def test_whose_key_replays_the_failure_is_settled_by_looking(self, till: Till) -> None:
        buying = purchase(till, Card.PAYS_AND_KEEPS_FAILING)
        for _ in range(3):
            assert isinstance(buying.at(till.gateway), Unknown)
        assert buying.found_paid(till.gateway).amount == AMOUNT
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs((Capability.LOOKUP_BY_ORDER, Capability.PREPARE))
    def test_whose_key_the_gateway_forgot_is_settled_by_looking_alone(self, till: Till) -> None:
        buying = purchase(till, Card.PAYS_THEN_DROPS)
        if Capability.PREPARE in till.gateway.capabilities:
            known = buying.prepare(till.gateway)
            assert isinstance(known, Prepared)
            assert isinstance(buying.at(till.gateway), Unknown)
            till.forget_keys()
            found = till.gateway.lookup(gateway_payment_id=known.gateway_payment_id)
        else:
            assert isinstance(buying.at(till.gateway), Unknown)
            till.forget_keys()
            found = till.gateway.lookup(order_id=buying.order_id)
        assert isinstance(found, Succeeded)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs(Capability.LOOKUP_BY_ORDER)
    def test_and_no_trace_of_its_order_is_absent(self, till: Till) -> None:
        assert till.gateway.lookup(order_id="order-that-never-was") == Absent()

    @needs(Capability.LOOKUP_BY_PAYMENT)
    def test_and_no_trace_of_its_payment_is_absent(self, till: Till) -> None:
        assert till.gateway.lookup(gateway_payment_id="pay_that_never_was") == Absent()

    @needs(Capability.LOOKUP_BY_PAYMENT)
    def test_cannot_be_looked_up_with_another_merchants_keys(self, till: Till) -> None:
        payment = paid(till)
        found = till.stranger.lookup(gateway_payment_id=payment.gateway_payment_id)
        assert isinstance(found, Absent | Unknown)

    def test_survives_the_death_of_the_gateway(self, till: Till) -> None:
        buying = purchase(till, Card.PAYS_THEN_DROPS)
        assert isinstance(buying.at(till.gateway), Unknown)
        till.kill_and_restart()
        self.answered(till, buying)
        assert list(till.captured(buying.order_id)) == [AMOUNT]

    @needs(Capability.LOOKUP_BY_PAYMENT)
    def test_that_succeeded_and_was_taken_back_later_does_not_look_paid(self, till: Till) -> None:
        payment = paid(till)
        till.reverse(payment.gateway_payment_id)
        found = till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id)
        assert isinstance(found, Succeeded | Declined)
        if isinstance(found, Succeeded):
            assert found.refunded == AMOUNT

    @staticmethod
    def answered(till: Till, buying: Purchase) -> Succeeded:
        """What the same key hears in the end is what a look-up tells."""
        deadline = datetime.now(UTC) + timedelta(seconds=20)
        while isinstance(result := buying.at(till.gateway), Unknown):
            assert datetime.now(UTC) < deadline, result
        assert isinstance(result, Succeeded), result
        if till.gateway.capabilities & {Capability.LOOKUP_BY_ORDER, Capability.PREPARE}:
            assert buying.found(till.gateway) == result
        return result
