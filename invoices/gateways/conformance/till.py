"""What an adapter brings to be tested: itself, and the means to make its other side misbehave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from app.base.money import Money
from invoices.gateways.port import Gateway


class Card(StrEnum):
    """How a card behaves when it is charged, or how the gateway does on its way back to us.

    In each `PAYS_…` the money moves, whatever the caller hears.
    """

    PAYS = "pays"
    INSUFFICIENT = "insufficient"  # declined each time, for want of money or a limit
    STOLEN = "stolen"
    EXPIRED = "expired"
    SUSPECTED = "suspected"  # held for a person to look at
    DECLINES_ONCE = "declines_once"  # like INSUFFICIENT the first time, then it pays
    ASKS_HOLDER = "asks_holder"  # wants its holder present; only with Capability.ASKS_HOLDER
    PAYS_THEN_HANGS = "pays_then_hangs"  # no answer for longer than `impatient` waits
    PAYS_THEN_DROPS = "pays_then_drops"  # the connection ends without an answer
    PAYS_THEN_FAILS = "pays_then_fails"  # a 500 once; the key replays the success
    PAYS_AND_KEEPS_FAILING = "pays_and_keeps_failing"  # the key replays the 500
    BUSY_ONCE = "busy_once"  # first told that the key is in progress (409); the key then pays


class Delivery(NamedTuple):
    """A webhook exactly as it reached the merchant."""

    headers: Mapping[str, str]
    body: bytes


class Till(Protocol):
    """One merchant account at a gateway whose other side does as it is told.

    Methods that stand under a capability are only called if the adapter declares it; without it
    leave them out.
    """

    @property
    def gateway(self) -> Gateway:
        """The adapter under test."""

    @property
    def impatient(self) -> Gateway:
        """The same account with a read time-out of well under a second."""

    @property
    def stranger(self) -> Gateway:
        """The same gateway, opened with another merchant's keys and webhook secret."""

    def browser_returns(self, *, customer_key: str, card: Card) -> Mapping[str, str]:
        """Registers a card in a browser; returns the parameters that come back with it.

        Capability.REGISTER.
        """

    def browser_cancels(self, *, customer_key: str) -> Mapping[str, str]:
        """Leaves the registration without a card. Capability.REGISTER."""

    def captured(self, order_id: str) -> Sequence[Money]:
        """What the gateway's own books say was taken for the order: one entry per capture."""

    def reverse(self, gateway_payment_id: str) -> None:
        """The gateway takes a payment back by itself, or somebody does at its console.

        Capability.LOOKUP_BY_PAYMENT.
        """

    def forget_keys(self) -> None:
        """The gateway forgets every idempotency key, as it does after its window.

        Capability.LOOKUP_BY_ORDER or PREPARE.
        """

    def kill_and_restart(self) -> None:
        """kill -9, and a new start, of the gateway's side."""

    def webhooks_about(self, gateway_payment_id: str) -> Sequence[Delivery]:
        """Waits for a delivery about the payment; returns all there were, oldest first.

        Capability.WEBHOOKS.
        """

    def deliver_again(self, gateway_payment_id: str) -> None:
        """Makes the gateway repeat its last delivery about the payment; returns when it came.

        Capability.WEBHOOKS.
        """

    def dispute(self, gateway_payment_id: str) -> None:
        """The card's holder disputes the payment. Capability.DISPUTES."""

    def deposit(self, order_id: str) -> None:
        """Somebody pays into the order's virtual account. Capability.VIRTUAL_ACCOUNTS."""

    def take_deposit_back(self, order_id: str) -> None:
        """The bank takes that deposit back. Capability.VIRTUAL_ACCOUNTS."""

    def close_day(self) -> None:
        """The gateway books all that happened so far. Capability.SETTLEMENTS."""
