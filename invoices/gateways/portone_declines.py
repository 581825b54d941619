"""What a refusal by PortOne, or by the payment company behind it, asks of us.

PortOne names its own errors by `type`. Where the company behind a channel refused, the type is
PG_PROVIDER and `pgCode` is that company's own word, so the words of several stand here together.
Source: PortOne's API reference; the grouping into classes is ours. A word that is not listed goes
to a person.
"""

from __future__ import annotations

from invoices.gateways.port import DeclineClass

# PortOne's own.
_TYPES = {
    "BILLING_KEY_NOT_FOUND": DeclineClass.NEW_METHOD_NEEDED,
    "BILLING_KEY_ALREADY_DELETED": DeclineClass.NEW_METHOD_NEEDED,
    "BILLING_KEY_NOT_ISSUED": DeclineClass.NEW_METHOD_NEEDED,
    "CHANNEL_NOT_FOUND": DeclineClass.OUR_FAULT,
    "INVALID_REQUEST": DeclineClass.OUR_FAULT,
    "SUM_OF_PARTS_EXCEEDS_TOTAL_AMOUNT": DeclineClass.OUR_FAULT,
    "SUM_OF_PARTS_EXCEEDS_CANCEL_AMOUNT": DeclineClass.OUR_FAULT,
    "DISCOUNT_AMOUNT_EXCEEDS_TOTAL_AMOUNT": DeclineClass.OUR_FAULT,
    "MAX_TRANSACTION_COUNT_REACHED": DeclineClass.OUR_FAULT,
    "PAYMENT_SCHEDULE_ALREADY_EXISTS": DeclineClass.OUR_FAULT,
    "PROMOTION_PAY_METHOD_DOES_NOT_MATCH": DeclineClass.OUR_FAULT,
    "PAYMENT_NOT_FOUND": DeclineClass.OUR_FAULT,
    "PAYMENT_NOT_PAID": DeclineClass.OUR_FAULT,
    "PAYMENT_ALREADY_CANCELLED": DeclineClass.OUR_FAULT,
    "CANCEL_AMOUNT_EXCEEDS_CANCELLABLE_AMOUNT": DeclineClass.OUR_FAULT,
    "CANCEL_TAX_AMOUNT_EXCEEDS_CANCELLABLE_TAX_AMOUNT": DeclineClass.OUR_FAULT,
    "CANCEL_TAX_FREE_AMOUNT_EXCEEDS_CANCELLABLE_TAX_FREE_AMOUNT": DeclineClass.OUR_FAULT,
    "CANCELLABLE_AMOUNT_CONSISTENCY_BROKEN": DeclineClass.OUR_FAULT,
}

_RETRY_LATER = (
    # KakaoPay: approval failed for want of money, and its limits for one payment and a month.
    "-780 -797 -798"
    # NaverPay: balance, and banks or NaverPay itself being looked after.
    " NotEnoughAccountBalance BankMaintenance MaintenanceOngoing TimeExpired"
    # PayPal: the instrument behind the account, and "try again".
    " INSTRUMENT_DECLINED 10486 10445 10207 13112"
    # Cards, as Toss Payments and others that PortOne reaches name them.
    " REJECT_CARD_PAYMENT REJECT_ACCOUNT_PAYMENT EXCEED_MAX_AMOUNT EXCEED_MAX_ONE_DAY_AMOUNT"
    " EXCEED_MAX_DAILY_PAYMENT_COUNT EXCEED_MAX_PAYMENT_AMOUNT PROVIDER_ERROR"
    " CARD_PROCESSING_ERROR NOT_AVAILABLE_PAYMENT NOT_AVAILABLE_BANK"
)
_NEW_METHOD_NEEDED = (
    # KakaoPay: the recurring agreement (SID) was ended.
    "-725"
    # NaverPay: the holder's registration does not stand any more.
    " OwnerAuthFail CheckNaverID InvalidRecurrentId"
    # PayPal: the agreement was cancelled, or another funding source is wanted.
    " 10201 10417 10422 PAYER_CANNOT_PAY PAYER_ACCOUNT_LOCKED_OR_CLOSED BILLING_AGREEMENT_CANCELED"
    " REJECT_CARD_COMPANY INVALID_REJECT_CARD INVALID_STOPPED_CARD INVALID_CARD_LOST_OR_STOLEN"
    " INVALID_CARD_EXPIRATION INVALID_CARD_NUMBER ALREADY_REMOVED_BILLING_KEY NOT_SUPPORTED_CARD"
    " RESTRICTED_TRANSFER_ACCOUNT"
)
_PERSON_MUST_LOOK = (
    "PAYER_ACCOUNT_RESTRICTED TRANSACTION_REFUSED COMPLIANCE_VIOLATION 10537 10539 10544"
    " FDS_ERROR REJECTED_BY_FDS"
)
_OUR_FAULT = (
    # KakaoPay: unknown merchant, merchant against agreement, amounts that do not match.
    "-700 -701 -710 -721 -722"
    " InvalidMerchant PAYEE_ACCOUNT_RESTRICTED PAYEE_ACCOUNT_LOCKED_OR_CLOSED"
    " CURRENCY_NOT_SUPPORTED BELOW_MINIMUM_AMOUNT INVALID_API_KEY UNAUTHORIZED_KEY"
    " NOT_REGISTERED_BUSINESS"
)
_WORDS = {
    word: each
    for each, words in (
        (DeclineClass.RETRY_LATER, _RETRY_LATER),
        (DeclineClass.NEW_METHOD_NEEDED, _NEW_METHOD_NEEDED),
        (DeclineClass.PERSON_MUST_LOOK, _PERSON_MUST_LOOK),
        (DeclineClass.OUR_FAULT, _OUR_FAULT),
    )
    for word in words.split()
}


def class_of(*, kind: str, pg_code: str = "") -> DeclineClass:
    """This function will say what a refusal of that type, and of the company's word, asks of us."""
    if kind in _TYPES:
        return _TYPES[kind]
    return _WORDS.get(pg_code, DeclineClass.PERSON_MUST_LOOK)
