"""The gateway port: everything the product ever asks of a payment gateway, in our words.

An adapter is any object with the methods of `Gateway`. It never opens a database transaction, never
retries on its own and never lets a vendor's object or an HTTP error out. Where money may have moved
the answer is a value, `Succeeded`, `Declined` or `Unknown`; exceptions are left for calls that move
none. `Unknown` is the honest answer to a time-out: the caller asks again with the *same* key while
`key_window` lasts, and looks the order up after it. It never charges anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Protocol

from app.base.errors import Conflict, Forbidden, Invalid, Unavailable
from app.base.money import Money


class NotSupported(Conflict):
    """The gateway does not offer this; its capabilities said so."""


class RegistrationRefused(Invalid):
    """The payment method was not registered: cancelled, expired, or returned by somebody else."""


class WebhookRefused(Forbidden):
    """The message is not from the gateway, or not from now; it must not be stored."""


class GatewayUnavailable(Unavailable):
    """The gateway could not be asked, or its answer made no sense; no money is involved."""


class Capability(StrEnum):
    """What a gateway can do; conformance cases are skipped by these and by nothing else."""

    REGISTER = "register"
    REVOKE = "revoke"
    CHARGE = "charge"
    REFUND = "refund"
    REFUND_IN_PART = "refund_in_part"
    LOOKUP_BY_ORDER = "lookup_by_order"
    LOOKUP_BY_PAYMENT = "lookup_by_payment"
    LIST_PAYMENTS = "list_payments"
    PREPARE = "prepare"
    WEBHOOKS = "webhooks"
    TRANSFER_INSTRUCTIONS = "transfer_instructions"
    VIRTUAL_ACCOUNTS = "virtual_accounts"
    CASH_RECEIPTS = "cash_receipts"
    SETTLEMENTS = "settlements"


class DeclineClass(StrEnum):
    """What a refusal asks of us; dunning follows the class and never the gateway's code."""

    RETRY_LATER = "retry_later"
    NEW_METHOD_NEEDED = "new_method_needed"
    OUR_FAULT = "our_fault"
    PERSON_MUST_LOOK = "person_must_look"


class Trust(StrEnum):
    """How far a webhook may be believed; whatever it says, the payment is looked up again."""

    SIGNED = "signed"
    SECRET = "secret"  # noqa: S105 - a degree of trust, not a secret
    UNSIGNED = "unsigned"


class EventKind(StrEnum):
    """What a webhook is about."""

    PAYMENT_SUCCEEDED = "payment_succeeded"
    PAYMENT_DECLINED = "payment_declined"
    PAYMENT_REFUNDED = "payment_refunded"
    PAYMENT_DISPUTED = "payment_disputed"
    ACCOUNT_DEPOSITED = "account_deposited"
    PAYOUT_CHANGED = "payout_changed"
    METHOD_REGISTERED = "method_registered"
    METHOD_REVOKED = "method_revoked"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RegistrationStart:
    """Where the customer goes to register: to an address, or into the gateway's browser script."""

    redirect_url: str | None = None
    browser_parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RegisteredMethod:
    """A method that can be charged without the customer. The token is a secret: encrypt it."""

    token: str = field(repr=False)
    customer_key: str
    kind: str  # "card" or "account"
    masked: str  # as people know it: "**** **** **** 4242"
    brand: str
    expires: str | None = None  # "2031-04"


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The money moved. `amount` is what was captured, whatever was refunded since."""

    gateway_payment_id: str
    order_id: str
    amount: Money
    refunded: Money
    approved_at: datetime
    masked: str
    receipt_url: str | None = None


@dataclass(frozen=True, slots=True)
class Declined:
    """The gateway said no, and no money moved."""

    decline_class: DeclineClass
    code: str
    message: str
    gateway_payment_id: str | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """The money may or may not have moved. `reason` is for people and logs."""

    reason: str


@dataclass(frozen=True, slots=True)
class Absent:
    """The gateway answered, and has never heard of this payment."""


@dataclass(frozen=True, slots=True)
class Refunded:
    """Money went back. `remaining` is what could still be refunded."""

    gateway_refund_id: str
    gateway_payment_id: str
    amount: Money
    remaining: Money
    refunded_at: datetime


@dataclass(frozen=True, slots=True)
class GatewayEvent:
    """A webhook, checked. `event_id` is the same in every delivery of the same event."""

    event_id: str
    kind: EventKind
    trust: Trust
    occurred_at: datetime
    gateway_payment_id: str | None = None
    order_id: str | None = None
    # With trust SECRET: what the sender knows and a stranger does not. Compared in constant time
    # with what was stored when the payment began, before anything is believed.
    secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Prepared:
    """A payment that the gateway knows and that moved no money yet: store its id, then charge."""

    gateway_payment_id: str


@dataclass(frozen=True, slots=True)
class RefundAccount:
    """Where money goes back that came by transfer; cards need none."""

    bank: str
    number: str
    holder: str


@dataclass(frozen=True, slots=True)
class VirtualAccount:
    """A bank account opened for one payment. `secret` proves later news of it: encrypt it."""

    gateway_payment_id: str
    order_id: str
    bank: str
    number: str
    holder: str
    amount: Money
    expires_at: datetime
    secret: str | None = field(default=None, repr=False)


class CashReceiptUse(StrEnum):
    """What a buyer does with a cash receipt: deducts it as income tax, or proves an expense."""

    INCOME_DEDUCTION = "income_deduction"  # 소득공제, by phone number
    EXPENSE_PROOF = "expense_proof"  # 지출증빙, by business registration number


class CashReceiptState(StrEnum):
    """How far the tax service has got with a cash receipt."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class CashReceipt:
    """A cash receipt at the gateway. `number` is the tax service's, once there is one."""

    receipt_id: str
    order_id: str
    use: CashReceiptUse
    state: CashReceiptState
    amount: Money
    issued_at: datetime
    number: str | None = None
    receipt_url: str | None = None


class SettlementKind(StrEnum):
    """What a line of a gateway's settlement stands for."""

    PAYMENT = "payment"
    REFUND = "refund"
    DISPUTE = "dispute"
    FEE = "fee"
    PAYOUT = "payout"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class SettlementLine:
    """One line of the gateway's books. `gross - fee - fee_tax = net`; refunds are negative.

    `line_id` is the same whenever the line is read again.
    """

    line_id: str
    kind: SettlementKind
    gross: Money
    fee: Money
    fee_tax: Money
    net: Money
    booked_on: date
    paid_out_on: date | None = None
    gateway_payment_id: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class TransferInstructions:
    """What a payer writes on a bank transfer; the memo lets the money be matched."""

    account: str  # bank, number and holder, as the seller writes it
    amount: Money
    memo: str


ChargeResult = Succeeded | Declined | Unknown
PrepareResult = Prepared | Declined | Unknown
VirtualAccountResult = VirtualAccount | Declined | Unknown
CashReceiptResult = CashReceipt | Declined | Unknown
RefundResult = Refunded | Declined | Unknown
LookupResult = Succeeded | Declined | Absent | Unknown


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
    ) -> RefundResult:
        """This function will give money back: `amount`, or with None all that remains.

        `to_account`: needed where the money came by transfer to a virtual account.
        """

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> LookupResult:
        """This function will say what became of a payment, named by exactly one of the two.

        Of several charges under one order the one that succeeded is told.
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
