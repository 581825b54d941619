"""What each of Toss Payments' error codes asks of us. By code: its statuses say too little.

Source: Toss Payments' list of error codes. The grouping into classes is ours.
"""

from __future__ import annotations

from app.base.money import Money
from invoices.gateways.port import DeclineClass, Declined

_RETRY_LATER = (
    "REJECT_CARD_PAYMENT",
    "REJECT_ACCOUNT_PAYMENT",
    "EXCEED_MAX_ONE_DAY_AMOUNT",
    "NOT_AVAILABLE_BANK",
    "EXCEED_MAX_DAILY_PAYMENT_COUNT",
    "EXCEED_MAX_PAYMENT_AMOUNT",
    "EXCEED_MAX_AMOUNT",
    "PROVIDER_ERROR",
    "CARD_PROCESSING_ERROR",
    "NOT_AVAILABLE_PAYMENT",
)
_NEW_METHOD_NEEDED = (
    "INVALID_STOPPED_CARD",
    "INVALID_CARD_EXPIRATION",
    "INVALID_CARD_NUMBER",
    "INVALID_CARD_LOST_OR_STOLEN",
    "INVALID_REJECT_CARD",
    "NOT_SUPPORTED_CARD_TYPE",
    "INVALID_BILL_KEY_REQUEST",
    "BILLING_KEY_NOT_FOUND",
    "ALREADY_REMOVED_BILLING_KEY",
    "REJECT_CARD_COMPANY",
    "EXCEED_MAX_AUTH_COUNT",
    "NOT_FOUND_BILLING",
)
_OUR_FAULT = (
    "UNAUTHORIZED_KEY",
    "INVALID_API_KEY",
    "INVALID_REQUEST",
    "INVALID_IDEMPOTENCY_KEY",
    "NOT_MATCHES_CUSTOMER_KEY",
    "BELOW_MINIMUM_AMOUNT",
    "FORBIDDEN_REQUEST",
    "INCORRECT_BASIC_AUTH_FORMAT",
    # Of a cancel: more than there is to give back.
    "NOT_MATCHES_REFUNDABLE_AMOUNT",
    "NOT_CANCELABLE_AMOUNT",
)
_PERSON_MUST_LOOK = (
    "FDS_ERROR",
    "ALREADY_CANCELED_PAYMENT",
    "REFUND_REJECTED",
    "NOT_CANCELABLE_PAYMENT",
    "NOT_ALLOWED_PARTIAL_REFUND",
    "EXCEED_MAX_REFUND_DUE",
)
CLASSES = {
    **dict.fromkeys(_RETRY_LATER, DeclineClass.RETRY_LATER),
    **dict.fromkeys(_NEW_METHOD_NEEDED, DeclineClass.NEW_METHOD_NEEDED),
    **dict.fromkeys(_OUR_FAULT, DeclineClass.OUR_FAULT),
    **dict.fromkeys(_PERSON_MUST_LOOK, DeclineClass.PERSON_MUST_LOOK),
}
# These say nothing about what an earlier request has done: only looking tells.
UNCERTAIN = frozenset(
    {"DUPLICATED_ORDER_ID", "ALREADY_PROCESSED_PAYMENT", "IDEMPOTENT_REQUEST_PROCESSING"}
)
UNKNOWN_TO_TOSS = frozenset({"NOT_FOUND", "NOT_FOUND_PAYMENT"})


def declined(*, code: str, message: str, payment_id: str | None = None) -> Declined:
    """This function will say what a refusal asks of us; codes that are new are for a person."""
    return Declined(
        decline_class=CLASSES.get(code, DeclineClass.PERSON_MUST_LOOK),
        code=code,
        message=message,
        gateway_payment_id=payment_id,
    )


def not_won(amount: Money) -> Declined:
    """This function will refuse a sum that was never sent: these accounts take won."""
    return Declined(
        decline_class=DeclineClass.OUR_FAULT,
        code="currency_not_taken",
        message=f"This account takes won, not {amount.currency}.",
    )
