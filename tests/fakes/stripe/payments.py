"""What happens to money here: payments made, confirmed and refunded, disputes and payouts."""

from __future__ import annotations

from app.sandbox.journal import Book
from tests.fakes.stripe import shapes
from tests.fakes.stripe.cards import (
    ASKS_HOLDER,
    BUSY_ONCE,
    BY_BEHAVIOUR,
    BY_NAME,
    CARDS,
    FAULTY,
    refusal,
)
from tests.fakes.stripe.once import Outcome
from tests.fakes.stripe.wire import Refusal, Row, missing, required, shown, whole

# Smallest amounts, in Stripe's units; of any other currency, fifty.
_LEAST = {"krw": 100, "jpy": 50, "vnd": 10_000}
_THREE_DECIMAL = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})
FEE_PER_THOUSAND = 36
TAX_ON_FEE_PER_HUNDRED = 10


def create(book: Book, given: Row, *, key: str | None) -> Outcome:
    """This function will make a PaymentIntent, and confirm it at once if it is asked to."""
    required(given, "amount", "currency")
    amount, currency = whole(given, "amount"), str(given["currency"]).lower()
    if given.get("off_session") and given.get("confirm") != "true":
        message = "You can only set `off_session` when `confirm` is true."
        raise Refusal(400, message, param="off_session")
    if amount < _LEAST.get(currency, 50):
        message = "Amount must be no less than the smallest amount of its currency."
        raise Refusal(400, message, code="amount_too_small", param="amount", saved=True)
    if currency in _THREE_DECIMAL and amount % 10:
        message = "Amounts in this currency end in zero."
        raise Refusal(400, message, code="parameter_invalid_integer", param="amount", saved=True)
    method = _method_of(book, given)
    row = shapes.intent(
        amount,
        currency,
        customer=given.get("customer"),
        description=given.get("description"),
        metadata=given.get("metadata") or {},
        payment_method=method["id"] if method else None,
        status="requires_confirmation" if method else "requires_payment_method",
    )
    if given.get("confirm") == "true":
        return _confirmed(book, row, key=key)
    return Outcome(row, rows=[("intents", row), shapes.event("payment_intent.created", row, key)])


def _method_of(book: Book, given: Row) -> Row | None:
    customer_id, method_id = given.get("customer"), given.get("payment_method")
    if customer_id and book.get("customers", customer_id) is None:
        raise missing("customer", customer_id, "customer", 400)
    if not method_id:
        return None
    method = find_method(book, method_id)
    if method is None:
        raise missing("PaymentMethod", method_id, "payment_method", 400)
    if method["_behaviour"] == "gone" or (customer_id and method["customer"] != customer_id):
        message = (
            f"The customer does not have a payment method with the ID {method_id}. The payment"
            " method must be attached to the customer."
        )
        raise Refusal(400, message, param="payment_method", saved=True)
    return method


def find_method(book: Book, method_id: str) -> Row | None:
    """This function will return a method, also one of Stripe's named test methods."""
    if method_id in BY_NAME and book.get("methods", method_id) is None:
        behaviour = BY_NAME[method_id]
        card = BY_BEHAVIOUR.get(behaviour, CARDS[0])
        named = shapes.method(card.number, behaviour, None, (12, 2040))
        book.write([("methods", {**named, "id": method_id})])
    return book.get("methods", method_id)


def confirm(book: Book, row: Row, given: Row, *, key: str | None) -> Outcome:
    """This function will take the money of a payment that was made before."""
    if given.get("payment_method"):
        whose = {"customer": row["customer"], "payment_method": given["payment_method"]}
        method = _method_of(book, whose)
        assert method is not None
        row = {**row, "payment_method": method["id"], "status": "requires_confirmation"}
    if row["status"] != "requires_confirmation":
        message = (
            f"You cannot confirm this PaymentIntent because it has a status of {row['status']}."
        )
        raise Refusal(
            400,
            message,
            code="payment_intent_unexpected_state",
            payment_intent=shown(row),
            saved=True,
        )
    return _confirmed(book, row, key=key)


def _confirmed(book: Book, row: Row, *, key: str | None) -> Outcome:
    method = find_method(book, row["payment_method"] or "")
    if method is None:
        message = "A payment needs a payment method to be confirmed."
        raise Refusal(400, message, code="parameter_missing", param="payment_method")
    behaviour = method["_behaviour"]
    if behaviour == BUSY_ONCE:
        return Outcome({}, 409, [("methods", {**method, "_behaviour": "pays"})], fault="busy")
    if behaviour == "gone":
        message = f"The payment method {method['id']} was detached and may not be used again."
        raise Refusal(400, message, param="payment_method", saved=True)
    wrong = refusal(behaviour, declined_before=method["_declined"])
    charge = shapes.charge(row, method["card"], wrong)
    if wrong is not None:
        return _declined(row, method, charge, wrong, key=key)
    fee = row["amount"] * FEE_PER_THOUSAND // 1000
    tax = fee * TAX_ON_FEE_PER_HUNDRED // 100
    booked = shapes.transaction(charge, row["amount"], "charge", fee=fee, tax=tax)
    charge = {**charge, "balance_transaction": booked["id"]}
    paid = {
        **row,
        "amount_received": row["amount"],
        "latest_charge": charge["id"],
        "status": "succeeded",
    }
    return Outcome(
        paid,
        rows=[
            ("intents", paid),
            ("charges", charge),
            ("transactions", booked),
            shapes.event("charge.succeeded", charge, key),
            shapes.event("payment_intent.succeeded", paid, key),
        ],
        fault=FAULTY.get(behaviour),
    )


def _declined(row: Row, method: Row, charge: Row, wrong: Row, *, key: str | None) -> Outcome:
    stated = {
        **wrong,
        "charge": charge["id"],
        "payment_method": shown(method),
        "type": "card_error",
    }
    refused = {
        **row,
        "last_payment_error": stated,
        "latest_charge": charge["id"],
        "payment_method": None,
        "status": "requires_payment_method",
    }
    again = {**method, "_declined": method["_declined"] + 1}
    if method["_behaviour"] == ASKS_HOLDER:
        refused["last_payment_error"] = {**stated, "code": "authentication_required"}
    body = {"error": {**stated, "payment_intent": shown(refused)}}
    rows = [
        ("intents", refused),
        ("charges", charge),
        ("methods", again),
        shapes.event("charge.failed", charge, key),
        shapes.event("payment_intent.payment_failed", refused, key),
    ]
    return Outcome(body, 402, rows)


CANCELLATION_REASONS = ("duplicate", "fraudulent", "requested_by_customer", "abandoned")


def cancel(row: Row, given: Row, *, key: str | None) -> Outcome:
    """This function will cancel a payment that took nothing yet."""
    if row["status"] in ("succeeded", "canceled", "processing"):
        message = f"You cannot cancel this PaymentIntent: it has a status of {row['status']}."
        raise Refusal(400, message, code="payment_intent_unexpected_state", saved=True)
    reason = given.get("cancellation_reason")
    if reason not in (None, *CANCELLATION_REASONS):
        message = f"Invalid cancellation_reason: must be one of {', '.join(CANCELLATION_REASONS)}"
        raise Refusal(400, message, param="cancellation_reason", saved=True)
    gone = {
        **row,
        "status": "canceled",
        "canceled_at": shapes.now(),
        "cancellation_reason": reason,
    }
    return Outcome(
        gone, rows=[("intents", gone), shapes.event("payment_intent.canceled", gone, key)]
    )


def refund(book: Book, given: Row, *, key: str | None) -> Outcome:
    """This function will give money back, never more than there is."""
    charge = _charge_of(book, given)
    left = charge["amount_captured"] - charge["amount_refunded"]
    if charge["disputed"]:
        message = f"Charge {charge['id']} has been charged back; cannot issue a refund."
        raise Refusal(400, message, code="charge_disputed", saved=True)
    if left == 0:
        message = f"Charge {charge['id']} has already been refunded."
        raise Refusal(400, message, code="charge_already_refunded", saved=True)
    amount = whole(given, "amount") if "amount" in given else left
    if amount > left:
        message = f"Refund amount ({amount}) is greater than unrefunded amount on charge ({left})."
        raise Refusal(400, message, param="amount", saved=True)
    row = shapes.refund(charge, amount, given.get("metadata") or {}, given.get("reason"))
    booked = shapes.transaction(row, -amount, "refund")
    row = {**row, "balance_transaction": booked["id"]}
    total = charge["amount_refunded"] + amount
    changed = {
        **charge,
        "amount_refunded": total,
        "refunded": total == charge["amount_captured"],
    }
    return Outcome(
        row,
        rows=[
            ("refunds", row),
            ("transactions", booked),
            ("charges", changed),
            shapes.event("refund.created", row, key),
            shapes.event("charge.refunded", changed, key),
        ],
    )


def _charge_of(book: Book, given: Row) -> Row:
    if given.get("charge"):
        charge = book.get("charges", given["charge"])
        if charge is None:
            raise missing("charge", given["charge"], "charge")
        return charge
    required(given, "payment_intent")
    intent = book.get("intents", given["payment_intent"])
    if intent is None:
        raise missing("payment_intent", given["payment_intent"], "payment_intent")
    charge = book.get("charges", intent["latest_charge"] or "")
    if charge is None or charge["status"] != "succeeded":
        message = (
            f"This PaymentIntent ({intent['id']}) does not have a successful charge to refund."
        )
        raise Refusal(400, message, param="payment_intent", saved=True)
    return charge


def dispute(book: Book, intent_id: str) -> Row:
    """This function will let the card's holder dispute a payment; the money is withdrawn."""
    charge = _charge_of(book, {"payment_intent": intent_id})
    row = shapes.dispute(charge)
    booked = shapes.transaction(row, -charge["amount"], "dispute", fee=1500)
    row = {**row, "balance_transactions": [shown(booked)]}
    changed = {**charge, "disputed": True}
    book.write(
        [
            ("disputes", row),
            ("transactions", booked),
            ("charges", changed),
            shapes.event("charge.dispute.created", row),
            shapes.event("charge.dispute.funds_withdrawn", row),
        ]
    )
    return row


def pay_out(book: Book) -> list[Row]:
    """This function will send what the account holds to its bank, currency by currency."""
    held: dict[str, int] = {}
    for row in book.rows("transactions"):
        held[row["currency"]] = held.get(row["currency"], 0) + row["net"]
    made = []
    for currency, net in held.items():
        if net > 0:
            row = shapes.payout(net, currency)
            booked = shapes.transaction(row, -net, "payout")
            row = {**row, "balance_transaction": booked["id"]}
            told = shapes.event("payout.paid", row)
            book.write([("payouts", row), ("transactions", booked), told])
            made.append(shown(row))
    return made
