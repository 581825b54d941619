"""What Stripe's codes of refusal ask of us.

Source: Stripe's published lists of decline codes, advice codes and error codes; the grouping into
classes is ours. A code that Stripe adds later goes to a person.
"""

from __future__ import annotations

from invoices.gateways.port import DeclineClass, Declined
from invoices.gateways.stripe_client import Refused

# The same card may pay on another day.
_RETRY_LATER = (
    "approve_with_id call_issuer card_velocity_exceeded do_not_honor generic_decline"
    " insufficient_funds invalid_amount issuer_not_available no_action_taken processing_error"
    " reenter_transaction try_again_later withdrawal_count_limit_exceeded"
    " card_decline_rate_limit_exceeded rate_limit lock_timeout"
)
# Asking again is in vain, or harms our standing with the card networks.
_NEW_METHOD_NEEDED = (
    "authentication_required card_not_supported currency_not_supported do_not_try_again"
    " expired_card incorrect_address incorrect_cvc incorrect_number incorrect_pin incorrect_zip"
    " invalid_account invalid_cvc invalid_expiry_month invalid_expiry_year invalid_number"
    " invalid_pin lost_card mobile_device_authentication_required"
    " new_account_information_available not_permitted offline_pin_required"
    " online_or_offline_pin_required payment_intent_authentication_failure"
    " payment_method_invalid_parameter payment_method_not_available payment_method_unactivated"
    " payment_method_unexpected_state pickup_card pin_try_exceeded restricted_card"
    " revocation_of_all_authorizations revocation_of_authorization security_violation"
    " service_not_allowed stolen_card stop_payment_order transaction_not_allowed"
)
# Signs of fraud, disputes, and what somebody did at Stripe's console.
_PERSON_MUST_LOOK = (
    "charge_already_refunded charge_disputed duplicate_transaction fraudulent highest_risk_level"
    " merchant_blacklist payment_intent_canceled previously_declined_do_not_retry"
)
_OUR_FAULT = (
    "account_invalid amount_too_large amount_too_small api_key_expired charge_exceeds_source_limit"
    " country_unsupported customer_mismatch invalid_charge_amount livemode_mismatch"
    " parameter_invalid_empty parameter_invalid_integer parameter_missing parameter_unknown"
    " platform_api_key_expired secret_key_required testmode_charges_only testmode_decline"
    " tls_version_unsupported url_invalid"
)

_CLASSES = {
    code: decline_class
    for decline_class, codes in (
        (DeclineClass.RETRY_LATER, _RETRY_LATER),
        (DeclineClass.NEW_METHOD_NEEDED, _NEW_METHOD_NEEDED),
        (DeclineClass.PERSON_MUST_LOOK, _PERSON_MUST_LOOK),
        (DeclineClass.OUR_FAULT, _OUR_FAULT),
    )
    for code in codes.split()
}
# What the issuer advises beside a code that says little by itself.
_ADVICE = {
    "confirm_card_data": DeclineClass.NEW_METHOD_NEEDED,
    "do_not_try_again": DeclineClass.NEW_METHOD_NEEDED,
    "try_again_later": DeclineClass.RETRY_LATER,
}
# A refusal about one of these is about the card; `resource_missing` alone could be anything.
_ABOUT_THE_METHOD = frozenset({"customer", "payment_method"})


def declined(refusal: Refused, *, payment_id: str | None = None) -> Declined:
    """This function will say what a refusal asks of us, by the most telling of its codes."""
    code = refusal.decline_code or refusal.code or f"http_{refusal.status}"
    return Declined(
        decline_class=_class_of(refusal),
        code=code,
        message=refusal.message or code,
        gateway_payment_id=refusal.payment_id or payment_id,
    )


def _class_of(refusal: Refused) -> DeclineClass:
    found = _CLASSES.get(refusal.decline_code) or _CLASSES.get(refusal.code)
    if found in (None, DeclineClass.RETRY_LATER) and refusal.advice_code in _ADVICE:
        return _ADVICE[refusal.advice_code]
    if found is not None:
        return found
    if refusal.param in _ABOUT_THE_METHOD:
        return DeclineClass.NEW_METHOD_NEEDED
    # The card network's refusals come as 402; anything else is a request we should not have sent.
    return DeclineClass.PERSON_MUST_LOOK if refusal.status == 402 else DeclineClass.OUR_FAULT
