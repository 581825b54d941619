"""The test cards, by number on the page and by name on the wire, and what charging them does."""

from __future__ import annotations

from dataclasses import dataclass

# What a card may do besides being declined by a code ("declines:lost_card").
PAYS = "pays"
DECLINES_ONCE = "declines_once"
ASKS_HOLDER = "asks_holder"
BLOCKED = "suspected"
# The money moves, whatever is heard; `faults` says how each of them sounds.
FAULTY = {
    "pays_then_hangs": "hang",
    "pays_then_drops": "drop",
    "pays_then_fails": "fail_once",
    "pays_and_keeps_failing": "keep_failing",
}
BUSY_ONCE = "busy_once"


@dataclass(frozen=True, slots=True)
class Card:
    """A test card as the page lists it."""

    number: str
    behaviour: str
    said: str


CARDS = (
    Card("4242424242424242", PAYS, "Always pays"),
    Card("4000000000000341", "declines:generic_decline", "Declined, no reason given"),
    Card("4000000000009995", "declines:insufficient_funds", "Declined: insufficient funds"),
    Card("4000000000000101", DECLINES_ONCE, "Declined once for want of funds, pays from then on"),
    Card("4000000000009987", "declines:lost_card", "Declined: lost"),
    Card("4000000000009979", "declines:stolen_card", "Declined: stolen"),
    Card("4000000000000069", "declines:expired_card", "Declined: expired"),
    Card("4000000000000119", "declines:processing_error", "Declined: processing error"),
    Card("4100000000000019", BLOCKED, "Held back for a suspicion of fraud"),
    Card("4000002760003184", ASKS_HOLDER, "Wants its holder present (3-D Secure)"),
    Card("4000000000000408", "pays_then_hangs", "Pays, and the answer does not come"),
    Card("4000000000000606", "pays_then_drops", "Pays, and the connection ends"),
    Card("4000000000000507", "pays_then_fails", "Pays, answers 502 once"),
    Card("4000000000000705", "pays_and_keeps_failing", "Pays, and its key replays a 500"),
    Card("4000000000000309", BUSY_ONCE, "Answers 409 once, then pays"),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_BEHAVIOUR = {card.behaviour: card for card in CARDS}

# Stripe's published names of test methods, as far as they say something about charging.
BY_NAME = {
    "pm_card_visa": PAYS,
    "pm_card_chargeCustomerFail": "declines:generic_decline",
    "pm_card_chargeDeclined": "declines:generic_decline",
    "pm_card_visa_chargeDeclined": "declines:generic_decline",
    "pm_card_chargeDeclinedInsufficientFunds": "declines:insufficient_funds",
    "pm_card_visa_chargeDeclinedInsufficientFunds": "declines:insufficient_funds",
    "pm_card_visa_chargeDeclinedLostCard": "declines:lost_card",
    "pm_card_visa_chargeDeclinedStolenCard": "declines:stolen_card",
    "pm_card_chargeDeclinedExpiredCard": "declines:expired_card",
    "pm_card_chargeDeclinedProcessingError": "declines:processing_error",
    "pm_card_chargeDeclinedFraudulent": "declines:fraudulent",
    "pm_card_radarBlock": BLOCKED,
    "pm_card_authenticationRequired": ASKS_HOLDER,
}
# Refusals that the error code tells by itself; all others are `card_declined` with a decline code.
_TOLD_BY_CODE = {
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "authentication_required": "This transaction requires authentication.",
}


def refusal(behaviour: str, *, declined_before: int) -> dict[str, str] | None:
    """This function will return what is wrong with the charge, as Stripe words it, or None."""
    if behaviour == DECLINES_ONCE:
        behaviour = PAYS if declined_before else "declines:insufficient_funds"
    if behaviour == ASKS_HOLDER:
        return _stated("authentication_required")
    if behaviour == BLOCKED:
        return _stated("fraudulent")
    if behaviour.startswith("declines:"):
        return _stated(behaviour.partition(":")[2])
    return None


def _stated(reason: str) -> dict[str, str]:
    code, _, advice = reason.partition("+")
    said = _TOLD_BY_CODE.get(code)
    if said is not None:
        stated = {"code": code, "decline_code": code, "message": said}
    else:
        words = "has insufficient funds" if code == "insufficient_funds" else "was declined"
        stated = {"code": "card_declined", "decline_code": code, "message": f"Your card {words}."}
    return {**stated, "advice_code": advice} if advice else stated
