"""The words of a charge, and what cases ask about it again and again."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace

from app.base.money import Money
from invoices.gateways.conformance.till import Card, Till
from invoices.gateways.port import (
    Capability,
    ChargeResult,
    Gateway,
    LookupResult,
    Prepared,
    PrepareResult,
    RegisteredMethod,
    Succeeded,
)

WAIT_SECONDS = 20.0


def won(amount: int) -> Money:
    """This function will write an amount of won."""
    return Money(amount, "KRW")


AMOUNT = won(110_000)


def order_id() -> str:
    """This function will return an order that there never was before."""
    return f"order-{uuid.uuid4().hex}"


@dataclass(frozen=True)
class Purchase:
    """One charge attempt: the same words each time it is sent."""

    method: RegisteredMethod
    order_id: str
    idempotency_key: str
    amount: Money = AMOUNT

    def prepare(self, gateway: Gateway) -> PrepareResult:
        """This function will make the payment known, as the caller does before it charges."""
        return gateway.prepare(
            token=self.method.token,
            customer_key=self.method.customer_key,
            order_id=self.order_id,
            amount=self.amount,
            tax_minor=self.amount.amount_minor // 11,
            name="Tenantry 2026-11",
            idempotency_key=self.idempotency_key,
            attempt_id=self.idempotency_key,
        )

    def given_up(self, gateway: Gateway, known: Prepared) -> LookupResult:
        """This function will see to it that the prepared payment is never charged."""
        return gateway.abandon(
            prepared_id=known.gateway_payment_id, idempotency_key=self.idempotency_key
        )

    def at(self, gateway: Gateway) -> ChargeResult:
        """This function will charge, with the step before it where the gateway has one."""
        prepared_id = None
        if Capability.PREPARE in gateway.capabilities:
            known = self.prepare(gateway)
            if not isinstance(known, Prepared):
                return known
            prepared_id = known.gateway_payment_id
        return gateway.charge(
            token=self.method.token,
            customer_key=self.method.customer_key,
            order_id=self.order_id,
            amount=self.amount,
            tax_minor=self.amount.amount_minor // 11,
            name="Tenantry 2026-11",
            idempotency_key=self.idempotency_key,
            attempt_id=self.idempotency_key,
            prepared_id=prepared_id,
        )

    def found(self, gateway: Gateway) -> LookupResult:
        """This function will look the attempt up by all that is known while it is unanswered."""
        if Capability.LOOKUP_BY_ORDER in gateway.capabilities:
            return gateway.lookup(order_id=self.order_id)
        known = self.prepare(gateway)
        assert isinstance(known, Prepared), known
        return gateway.lookup(gateway_payment_id=known.gateway_payment_id)

    def found_paid(self, gateway: Gateway) -> Succeeded:
        """This function will look the attempt up until the gateway has got round to it."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not isinstance(found := self.found(gateway), Succeeded):
            assert time.monotonic() < deadline, f"the charge never reached the gateway: {found}"
        return found

    def next_attempt(self) -> Purchase:
        """This function will return what a new attempt sends: a new key and a new order."""
        return replace(self, order_id=order_id(), idempotency_key=uuid.uuid4().hex)


def purchase(till: Till, card: Card = Card.PAYS) -> Purchase:
    """This function will register a card and return the charge that may be made with it."""
    customer_key = str(uuid.uuid4())
    params = till.browser_returns(customer_key=customer_key, card=card)
    method = till.gateway.complete_registration(customer_key=customer_key, params=params)
    return Purchase(method=method, order_id=order_id(), idempotency_key=uuid.uuid4().hex)


def paid(till: Till, card: Card = Card.PAYS) -> Succeeded:
    """This function will make a payment that is beyond doubt."""
    result = purchase(till, card).at(till.gateway)
    assert isinstance(result, Succeeded), result
    return result
