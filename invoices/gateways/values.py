"""What goes through the gateway port: its errors, its flags and the values it answers with.

None of them is a vendor's object, so whatever comes out of one adapter could come out of another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

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


# Of whatever a webhook names: longer than any id of any gateway, and fit for an index.
NAMED_LENGTH_MAX = 255


class Capability(StrEnum):
    """What a gateway can do; conformance cases are skipped by these and by nothing else."""

    REGISTER = "register"
    REVOKE = "revoke"
    # Says whether a method can still be charged; without it such news is believed if proven.
    LOOKUP_METHOD = "lookup_method"
    CHARGE = "charge"
    REFUND = "refund"
    REFUND_IN_PART = "refund_in_part"
    # Wants to know how much of what goes back bears no tax.
    REFUND_TAX = "refund_tax"
    LOOKUP_BY_ORDER = "lookup_by_order"
    LOOKUP_BY_PAYMENT = "lookup_by_payment"
    LIST_PAYMENTS = "list_payments"
    PREPARE = "prepare"
    WEBHOOKS = "webhooks"
    # Every webhook about a payment is signed; without it some are hints that anybody can send.
    SIGNED_WEBHOOKS = "signed_webhooks"
    # A charge is announced by a webhook too, not only answered.
    CHARGE_WEBHOOKS = "charge_webhooks"
    DISPUTES = "disputes"
    # A charge of another customer's method is refused by the gateway itself.
    BINDS_CUSTOMER = "binds_customer"
    # A card may ask for its holder in the middle of a charge (3-D Secure).
    ASKS_HOLDER = "asks_holder"
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
class BrowserScript:
    """A gateway's own script, which our registration page loads and which nobody else does.

    `name`: which of our small scripts speaks with it, `static/registration/<name>.js`.
    `origins`: what the script reaches besides its own origin, in frames and connections.
    """

    name: str
    url: str
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RegistrationStart:
    """Where the customer goes to register: to an address, or into the gateway's browser script.

    `browser_parameters` are what the script is called with; the browser sees them all, so no
    secret stands there.
    """

    redirect_url: str | None = None
    script: BrowserScript | None = None
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
    # What webhooks call it, where that is not the token itself.
    named: str | None = field(default=None, repr=False)


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
class Waiting(Unknown):
    """The gateway answered: no money is there, and some may still come. So of a virtual account."""


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
    """A webhook, checked. `event_id` is the same in every delivery of the same event.

    Raises: Invalid for a name that no database takes, or that is too long for any gateway's.
    """

    event_id: str
    kind: EventKind
    trust: Trust
    occurred_at: datetime
    gateway_payment_id: str | None = None
    order_id: str | None = None
    # With trust SECRET: what the sender knows and a stranger does not. Compared in constant time
    # with what was stored when the payment began, before anything is believed.
    secret: str | None = field(default=None, repr=False)
    # What the payment method that it is about was called when it was registered; never stored.
    method: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        named = (self.gateway_payment_id, self.order_id, self.secret, self.method)
        if not self.event_id or not all(_is_storable(name) for name in (self.event_id, *named)):
            raise Invalid("The webhook names something that can't be stored.")


def _is_storable(name: object) -> bool:
    if name is None:
        return True
    if not isinstance(name, str) or len(name) > NAMED_LENGTH_MAX or "\0" in name:
        return False
    # Half of a pair of code units is a text in JSON, and in no database.
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


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
