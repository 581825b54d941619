"""The gateway port: everything the product ever asks of a payment gateway, in our words.

An adapter is any object with the methods of `Gateway`. It never opens a database transaction, never
retries on its own and never lets a vendor's object or an HTTP error out. Where money may have moved
the answer is a value, `Succeeded`, `Declined` or `Unknown`; exceptions are left for calls that move
none. `Unknown` is the honest answer to a time-out: the caller asks again with the *same* key while
`key_window` lasts, and looks the order up after it. It never charges anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Protocol

from app.base.money import Money
from invoices.gateways.values import (
    Absent,
    BrowserScript,
    Capability,
    CashReceipt,
    CashReceiptResult,
    CashReceiptState,
    CashReceiptUse,
    ChargeResult,
    DeclineClass,
    Declined,
    EventKind,
    GatewayEvent,
    GatewayUnavailable,
    LookupResult,
    NotSupported,
    Prepared,
    PrepareResult,
    RefundAccount,
    Refunded,
    RefundResult,
    RegisteredMethod,
    RegistrationRefused,
    RegistrationStart,
    SettlementKind,
    SettlementLine,
    Succeeded,
    TransferInstructions,
    Trust,
    Unknown,
    VirtualAccount,
    VirtualAccountResult,
    Waiting,
    WebhookRefused,
)

# One door for adapters and callers alike: `from invoices.gateways.port import …`.
__all__ = [
    "Absent",
    "BrowserScript",
    "Capability",
    "CashReceipt",
    "CashReceiptResult",
    "CashReceiptState",
    "CashReceiptUse",
    "ChargeResult",
    "DeclineClass",
    "Declined",
    "EventKind",
    "Gateway",
    "GatewayEvent",
    "GatewayUnavailable",
    "LookupResult",
    "NotSupported",
    "PrepareResult",
    "Prepared",
    "RefundAccount",
    "RefundResult",
    "Refunded",
    "RegisteredMethod",
    "RegistrationRefused",
    "RegistrationStart",
    "SettlementKind",
    "SettlementLine",
    "Succeeded",
    "TransferInstructions",
    "Trust",
    "Unknown",
    "VirtualAccount",
    "VirtualAccountResult",
    "Waiting",
    "WebhookRefused",
]


class Gateway(Protocol):
    """One account at one gateway. Safe to share between threads."""

    @property
    def name(self) -> str:
        """The registered name, as stored beside each payment."""

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What this gateway can do; anything else raises NotSupported."""

    @property
    def key_window(self) -> timedelta:
        """How long a repeated key is answered by its first answer, on the real clock.

        Zero means that nothing may ever be sent twice.
        """

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> RegistrationStart:
        """This function will open a registration of a payment method.

        `customer_key`: unguessable, ours, the same for every method of one customer.
        `return_url`: where the gateway sends the browser back, with parameters of its own.
        Raises: GatewayUnavailable.
        """

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> RegisteredMethod:
        """This function will exchange what came back with the browser for a chargeable method.

        `customer_key` comes from the session, never from `params`. Repeating it is harmless.
        Raises: RegistrationRefused, GatewayUnavailable.
        """

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will make the method unchargeable; one that is gone already is fine.

        Raises: GatewayUnavailable.
        """

    def method_stands(self, *, token: str, customer_key: str) -> bool:
        """This function will tell whether the gateway would still charge the method.

        With Capability.LOOKUP_METHOD. Raises: GatewayUnavailable.
        """

    def prepare(
        self,
        *,
        token: str,
        customer_key: str,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        idempotency_key: str,
        attempt_id: str,
    ) -> PrepareResult:
        """This function will make the payment known to the gateway without moving money.

        With Capability.PREPARE the caller stores the id before it calls `charge` with the same
        words, so that a payment whose charge was never answered can be looked up by its own id.
        """

    def abandon(self, *, prepared_id: str, idempotency_key: str) -> LookupResult:
        """This function will see to it that a prepared payment can never be charged any more.

        Absent, once it can't be and never was; whatever became of it, where it was charged before.
        With Capability.PREPARE. The caller asks for it after the time of the charge's key, so that
        a process that slept can't take the money of a payment that is held never to have been.
        """

    def charge(
        self,
        *,
        token: str,
        customer_key: str,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        idempotency_key: str,
        attempt_id: str,
        prepared_id: str | None = None,
    ) -> ChargeResult:
        """This function will take the money once, however often it is called with one key.

        Call it outside any transaction, after the attempt and its key are committed. A new attempt
        after a decline needs a new key and a new `order_id`. `amount` includes `tax_minor`.
        `prepared_id`: what `prepare` returned, where the gateway has that step.
        """

    def refund(
        self,
        *,
        gateway_payment_id: str,
        amount: Money | None,
        reason: str,
        idempotency_key: str,
        to_account: RefundAccount | None = None,
        tax_minor: int | None = None,
    ) -> RefundResult:
        """This function will give money back: `amount`, or with None all that remains.

        `to_account`: needed where the money came by transfer to a virtual account. `tax_minor`: the
        tax within `amount`, only with Capability.REFUND_TAX.
        """

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> LookupResult:
        """This function will say what became of a payment, named by exactly one of the two.

        Of several charges under one order the one that succeeded is told. Waiting says that a
        virtual account's money is not there: it never came, or the bank took it back.
        """

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[Succeeded]:
        """This function will yield every payment approved in [start, end), oldest first.

        Raises: GatewayUnavailable.
        """

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> GatewayEvent:
        """This function will check a webhook and say what it is about.

        `headers` in any case of letters; `raw_body` exactly as received; `now` is the real clock.
        Raises: WebhookRefused (forged, stale or from the future), Invalid (not readable).
        """

    def transfer_instructions(self, *, order_id: str, amount: Money) -> TransferInstructions:
        """This function will tell the payer where to send the money."""

    def open_virtual_account(
        self,
        *,
        order_id: str,
        amount: Money,
        name: str,
        payer: str,
        bank: str,
        expires_at: datetime,
        idempotency_key: str,
    ) -> VirtualAccountResult:
        """This function will open an account for one transfer; its arrival comes as a webhook.

        `bank`: the gateway's code of it. An arrival may be taken back until it is settled.
        """

    def issue_cash_receipt(
        self,
        *,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        use: CashReceiptUse,
        identity: str,
        idempotency_key: str,
    ) -> CashReceiptResult:
        """This function will issue a cash receipt to a phone or business registration number.

        Guard against a second one for the same payment: gateways do not. `identity` is personal.
        """

    def cancel_cash_receipt(
        self, *, receipt_id: str, amount: Money | None, reason: str, idempotency_key: str
    ) -> CashReceiptResult:
        """This function will cancel a cash receipt: `amount` of it, or with None all."""

    def cash_receipt(self, *, receipt_id: str) -> CashReceipt | Absent | Unknown:
        """This function will say what became of a cash receipt."""

    def settlements(self, *, start: date, end: date) -> Iterator[SettlementLine]:
        """This function will yield every line that the gateway booked on the days [start, end].

        Raises: GatewayUnavailable.
        """
