"""Cases: money goes back once, and never more than came."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

from app.base.money import Money
from invoices.gateways.conformance.declared import CHARGES, Cases, needs
from invoices.gateways.conformance.purchases import AMOUNT, paid, won
from invoices.gateways.conformance.till import Till
from invoices.gateways.port import (
    Capability,
    DeclineClass,
    Declined,
    Refunded,
    RefundResult,
    Succeeded,
    Unknown,
)


class RefundCases(Cases):
    """Refunds in whole and in part."""

    needed = (*CHARGES, Capability.REFUND)

    def test_of_the_whole_leaves_nothing(self, till: Till) -> None:
        payment = paid(till)
        result = refunded(till, payment, None)
        assert (result.amount, result.remaining) == (AMOUNT, won(0))
        assert result.gateway_payment_id == payment.gateway_payment_id
        assert given_back(till, payment) in (AMOUNT, None)

    @needs(Capability.REFUND_IN_PART)
    def test_in_parts_adds_up_and_never_exceeds_the_payment(self, till: Till) -> None:
        payment = paid(till)
        assert refunded(till, payment, won(10_000)).remaining == won(100_000)
        too_much = refund(till, payment, won(100_001))
        assert isinstance(too_much, Declined)
        assert too_much.decline_class is DeclineClass.OUR_FAULT
        assert refunded(till, payment, None).amount == won(100_000)
        assert given_back(till, payment) in (AMOUNT, None)

    def test_of_what_is_refunded_already_moves_nothing_more(self, till: Till) -> None:
        payment = paid(till)
        first = refunded(till, payment, None)
        again = refund(till, payment, None)
        # A gateway may tell of the refund that there was; it must be told by the same id.
        if not isinstance(again, Declined):
            assert isinstance(again, Refunded), again
            assert again.gateway_refund_id == first.gateway_refund_id
        assert given_back(till, payment) in (AMOUNT, None)

    @needs(Capability.REFUND_IN_PART)
    def test_repeated_under_one_key_gives_back_once(self, till: Till) -> None:
        payment = paid(till)
        first = refund(till, payment, won(10_000), key="refund-1")
        assert isinstance(first, Refunded)
        assert refund(till, payment, won(10_000), key="refund-1") == first
        assert given_back(till, payment) in (won(10_000), None)

    @needs(Capability.REFUND_IN_PART)
    def test_races_never_give_back_more_than_was_paid(self, till: Till) -> None:
        payment = paid(till)
        with ThreadPoolExecutor(6) as pool:
            results = list(pool.map(lambda _: refund(till, payment, won(40_000)), range(6)))
        assert sum(isinstance(result, Refunded) for result in results) == 2, results
        assert all(isinstance(result, Refunded | Declined | Unknown) for result in results)
        assert given_back(till, payment) in (won(80_000), None)

    def test_of_another_merchants_payment_moves_nothing(self, till: Till) -> None:
        payment = paid(till)
        result = till.stranger.refund(
            gateway_payment_id=payment.gateway_payment_id,
            amount=None,
            reason="Not theirs",
            idempotency_key=uuid.uuid4().hex,
        )
        assert not isinstance(result, Refunded)
        assert given_back(till, payment) in (won(0), None)


def refund(
    till: Till, payment: Succeeded, amount: Money | None, key: str | None = None
) -> RefundResult:
    """This function will refund under a key of the payment's own, a new one unless it is named."""
    return till.gateway.refund(
        gateway_payment_id=payment.gateway_payment_id,
        amount=amount,
        reason="The customer left",
        idempotency_key=f"{payment.gateway_payment_id}-{key or uuid.uuid4().hex}",
    )


def refunded(till: Till, payment: Succeeded, amount: Money | None) -> Refunded:
    """This function will make a refund that is beyond doubt."""
    result = refund(till, payment, amount)
    assert isinstance(result, Refunded), result
    return result


def given_back(till: Till, payment: Succeeded) -> Money | None:
    """This function will say what went back by the gateway's word; None where it has none."""
    if Capability.LOOKUP_BY_PAYMENT not in till.gateway.capabilities:
        return None
    found = till.gateway.lookup(gateway_payment_id=payment.gateway_payment_id)
    assert isinstance(found, Succeeded), found
    assert found.amount == payment.amount
    return found.refunded
