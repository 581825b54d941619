"""PaymentIntents at Stripe: made, confirmed, and found again."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self

import stripe

from app.base import clock
from app.base.money import Money
from invoices.gateways import port, stripe_reading
from invoices.gateways.port import Declined, Succeeded, Unknown
from invoices.gateways.stripe_client import Refused, answered, each, plain
from invoices.gateways.stripe_declines import declined
from invoices.gateways.stripe_reading import ABANDONED, NotAnAmount

# Stripe's index may lag; the newest payments are read from the list instead.
SEARCH_LAG = timedelta(hours=1)
NEWEST_MAX = 2_000
PAGE_SIZE = 100
TEXT_LENGTH_MAX = 500
_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_ORDER_ID = re.compile(r"[A-Za-z0-9_.:-]{1,200}")


@dataclass(frozen=True, slots=True)
class Token:
    """What a charge needs: Stripe binds a method to its customer, we bind both to our key."""

    customer_id: str
    method_id: str
    customer_key: str

    @classmethod
    def read(cls, text: str) -> Self:
        """This function will read a token as it was written."""
        customer_id, method_id, customer_key = text.split(":", 2)
        return cls(customer_id, method_id, customer_key)

    def __str__(self) -> str:
        return f"{self.customer_id}:{self.method_id}:{self.customer_key}"


class Intents:
    """The PaymentIntents of one account."""

    def __init__(self, client: stripe.StripeClient) -> None:
        self._intents = client.v1.payment_intents

    def create(
        self,
        key: str,
        token: str,
        customer_key: str,
        said: dict[str, Any],
        amount: Money,
    ) -> dict[str, Any] | Declined | Unknown:
        """This function will make a payment of a customer's card, as `said` by `words`."""
        bound = Token.read(token)
        if bound.customer_key != customer_key:
            return our_fault("customer_mismatch", "The card belongs to another customer.")
        whose = {"customer": bound.customer_id, "payment_method": bound.method_id}
        try:
            counted = {"amount": stripe_reading.units(amount), "currency": amount.currency.lower()}
            params: Any = {**whose, **counted, **said}
            with answered():
                return plain(self._intents.create(params, {"idempotency_key": key}))
        except NotAnAmount as error:
            return our_fault("invalid_charge_amount", str(error))
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def confirm(self, intent_id: str, key: str) -> dict[str, Any] | Declined | Unknown:
        """This function will take the money of a payment that was prepared."""
        params: Any = {"off_session": True, "expand": ["latest_charge"]}
        try:
            with answered():
                return plain(self._intents.confirm(intent_id, params, {"idempotency_key": key}))
        except Refused as refusal:
            if refusal.code == "payment_intent_unexpected_state":
                # It was confirmed before, under a key that is forgotten: its state tells how.
                return self._present(intent_id)
            return declined(refusal, payment_id=intent_id)
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def abandon(self, intent_id: str, key: str) -> port.LookupResult:
        """This function will cancel a payment that took nothing, and tell how it stands then.

        Unknown where Stripe would not cancel it and it can still be confirmed: it is not gone.
        """
        params: Any = {"cancellation_reason": ABANDONED, "expand": ["latest_charge"]}
        told: dict[str, Any] | Unknown
        try:
            with answered():
                told = plain(self._intents.cancel(intent_id, params, {"idempotency_key": key}))
        except Refused as refusal:
            if refusal.code == "resource_missing":
                return port.Absent()
            # Charged, or cancelled before: its state tells which.
            told = self._present(intent_id)
            if isinstance(told, dict) and stripe_reading.may_be_confirmed(told):
                return Unknown(f"The gateway would not cancel the payment: {refusal.message}")
        except port.GatewayUnavailable as error:
            return Unknown(error.message)
        try:
            return told if isinstance(told, Unknown) else stripe_reading.payment(told)
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def _present(self, intent_id: str) -> dict[str, Any] | Unknown:
        try:
            return self.read(intent_id)
        except Refused as refusal:
            return Unknown(f"The gateway refused the look-up: {refusal.message}")
        except port.GatewayUnavailable as error:
            return Unknown(error.message)

    def read(self, intent_id: str) -> dict[str, Any]:
        """This function will read a payment as it stands. Raises: Refused, GatewayUnavailable."""
        with answered():
            return plain(self._intents.retrieve(intent_id, {"expand": ["latest_charge"]}))

    def of_order(self, order_id: str) -> port.LookupResult:
        """This function will find what became of an order. Raises: Refused, GatewayUnavailable."""
        if not _ORDER_ID.fullmatch(order_id):
            raise ValueError(f"{order_id!r} is not an order of ours.")
        newest, whole = self._newest(order_id)
        # The index is asked second: what it lags behind with is on the list.
        query: Any = {"query": f"metadata['order_id']:'{order_id}'", "limit": PAGE_SIZE}
        with answered():
            found = self._intents.search(query)
        ids = dict.fromkeys([*newest, *(row["id"] for row in each(found.auto_paging_iter()))])
        told = [stripe_reading.payment(self.read(intent_id)) for intent_id in ids]
        for kind in (Succeeded, Unknown, Declined):
            for result in told:
                if isinstance(result, kind):
                    return result
        return port.Absent() if whole else Unknown("Too much was paid of late to be sure.")

    def _newest(self, order_id: str) -> tuple[list[str], bool]:
        """The order's payments of the last while, and whether all of that while was read."""
        since = int((clock.real_now() - SEARCH_LAG).timestamp())
        query: Any = {"created": {"gte": since}, "limit": PAGE_SIZE}
        found: list[str] = []
        with answered():
            listed = self._intents.list(query)
        for read, row in enumerate(each(listed.auto_paging_iter()), start=1):
            if row.get("metadata", {}).get("order_id") == order_id:
                found.append(row["id"])
            if read == NEWEST_MAX:
                return found, False
        return found, True


def words(order_id: str, tax_minor: int, name: str, attempt_id: str) -> dict[str, Any]:
    """This function will say what a payment is for, in Stripe's words."""
    return {
        "allowed_payment_method_types": ["card"],
        "description": name[:TEXT_LENGTH_MAX],
        "metadata": {"order_id": order_id, "attempt_id": attempt_id, "tax_minor": str(tax_minor)},
        "expand": ["latest_charge"],
    }


def our_fault(code: str, message: str) -> Declined:
    """This function will refuse what should never have been asked, before Stripe does."""
    return declined(Refused({"code": code, "message": message}, status=400))


def checked_id(text: str) -> str:
    """This function will return an id that may stand in an address. Raises: ValueError."""
    # The id becomes part of an address, so nothing but an id may stand there.
    if not _ID.fullmatch(text):
        raise ValueError(f"{text!r} is not an id of this gateway.")
    return text
