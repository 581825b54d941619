"""Stripe's objects as published: each begins as its fixture, and only known fields change."""

from __future__ import annotations

import copy
import json
import time
from pathlib import Path
from typing import Any

from invoices.gateways.stripe_client import API_VERSION
from tests.fakes.stripe.wire import Row, new_id, shown

FIXTURES: dict[str, Row] = json.loads(
    (Path(__file__).parents[2] / "data" / "stripe_fixtures.json").read_text()
)["resources"]
_DAYS_UNTIL_AVAILABLE = 2
_DAY_S = 86_400


def now() -> int:
    return int(time.time())


def shaped(kind: str, **values: Any) -> Row:
    """This function will build an object of that kind; a field that is not published fails."""
    row = copy.deepcopy(FIXTURES[kind])
    unknown = {name for name in values if not name.startswith("_")} - set(row)
    assert not unknown, f"Stripe publishes no {unknown} of a {kind}"
    always = {"created": now(), "livemode": False}
    return {**row, **{name: value for name, value in always.items() if name in row}, **values}


def customer(metadata: Row | None = None, email: str | None = None) -> Row:
    return shaped(
        "customer", id=new_id("cus"), email=email, metadata=metadata or {}, discount=None,
        currency=None,
    )  # fmt: skip


def method(number: str, behaviour: str, customer_id: str | None, expires: tuple[int, int]) -> Row:
    card = {
        **copy.deepcopy(FIXTURES["payment_method"]["card"]),
        "last4": number[-4:],
        "exp_month": expires[0],
        "exp_year": expires[1],
        "wallet": None,
        "generated_from": None,
    }
    return shaped(
        "payment_method", id=new_id("pm"), card=card, customer=customer_id, metadata={},
        _behaviour=behaviour, _declined=0,
    )  # fmt: skip


def setup_intent(metadata: Row, customer_id: str | None = None) -> Row:
    row_id = new_id("seti")
    return shaped(
        "setup_intent",
        id=row_id,
        client_secret=f"{row_id}_secret_{new_id('s')}",
        customer=customer_id,
        metadata=metadata,
        last_setup_error=None,
        next_action=None,
        automatic_payment_methods=None,
        payment_method_configuration_details=None,
    )


def intent(amount: int, currency: str, **values: Any) -> Row:
    row_id = new_id("pi")
    return shaped(
        "payment_intent",
        id=row_id,
        client_secret=f"{row_id}_secret_{new_id('s')}",
        amount=amount,
        currency=currency,
        automatic_payment_methods=None,
        canceled_at=None,
        last_payment_error=None,
        managed_payments=None,
        next_action=None,
        payment_method_configuration_details=None,
        processing=None,
        shipping=None,
        transfer_data=None,
        **values,
    )


def charge(of: Row, card: Row, failure: Row | None) -> Row:
    """This function will build the charge of a payment that went through, or did not."""
    went = failure is None
    details = copy.deepcopy(FIXTURES["charge"]["payment_method_details"])
    details["card"].update(
        {name: card[name] for name in ("last4", "exp_month", "exp_year", "brand")},
        amount_authorized=of["amount"] if went else None,
        wallet=None,
    )
    return shaped(
        "charge",
        id=new_id("ch"),
        amount=of["amount"],
        amount_captured=of["amount"] if went else 0,
        balance_transaction=None,
        billing_details=copy.deepcopy(FIXTURES["payment_method"]["billing_details"]),
        captured=went,
        currency=of["currency"],
        customer=of["customer"],
        description=of["description"],
        failure_code=failure["code"] if failure else None,
        failure_message=failure["message"] if failure else None,
        metadata=of["metadata"],
        outcome=_outcome(failure),
        paid=went,
        payment_intent=of["id"],
        payment_method=of["payment_method"],
        payment_method_details=details,
        receipt_url=f"https://pay.stripe.com/receipts/payment/{of['id']}" if went else None,
        refunds=None,
        shipping=None,
        source=None,
        status="succeeded" if went else "failed",
        transfer_data=None,
    )


def _outcome(failure: Row | None) -> Row:
    blocked = failure is not None and failure.get("decline_code") == "fraudulent"
    return {
        **FIXTURES["charge"]["outcome"],
        "type": "blocked" if blocked else "issuer_declined" if failure else "authorized",
        "reason": failure.get("decline_code") if failure else None,
        "advice_code": failure.get("advice_code") if failure else None,
    }


def transaction(source: Row, amount: int, category: str, *, fee: int = 0, tax: int = 0) -> Row:
    """This function will build a line of the account's books; the fee's tax is a part of it."""
    parts = [("stripe_fee", "Stripe processing fees", fee), ("tax", "VAT", tax)]
    details = [
        {
            "amount": part,
            "application": None,
            "currency": source["currency"],
            "description": said,
            "type": kind,
        }
        for kind, said, part in parts
        if part
    ]
    return shaped(
        "balance_transaction",
        id=new_id("txn"),
        amount=amount,
        available_on=now() + _DAYS_UNTIL_AVAILABLE * _DAY_S,
        currency=source["currency"],
        description=source.get("description"),
        fee=fee + tax,
        fee_details=details,
        net=amount - fee - tax,
        reporting_category=category,
        source=source["id"],
        status="pending",
        type={"dispute": "adjustment"}.get(category, category),
    )


def refund(of: Row, amount: int, metadata: Row, reason: str | None) -> Row:
    return shaped(
        "refund",
        id=new_id("re"),
        amount=amount,
        charge=of["id"],
        currency=of["currency"],
        metadata=metadata,
        payment_intent=of["payment_intent"],
        reason=reason,
    )


def dispute(of: Row) -> Row:
    return shaped(
        "dispute",
        id=new_id("dp"),
        amount=of["amount"],
        charge=of["id"],
        currency=of["currency"],
        payment_intent=of["payment_intent"],
        reason="fraudulent",
        status="needs_response",
        is_charge_refundable=False,
    )


def payout(amount: int, currency: str) -> Row:
    return shaped(
        "payout",
        id=new_id("po"),
        amount=amount,
        arrival_date=now() // _DAY_S * _DAY_S,
        currency=currency,
        status="paid",
        balance_transaction=None,
        trace_id=None,
    )


def event(kind: str, subject: Row, key: str | None = None) -> tuple[str, Row]:
    """This function will build the row of an event that is to be told to the merchant."""
    row = shaped(
        "event",
        id=new_id("evt"),
        api_version=API_VERSION,
        data={"object": shown(subject)},
        pending_webhooks=1,
        request={"id": new_id("req"), "idempotency_key": key},
        type=kind,
        _attempts=0,
        _settled=None,
    )
    return "events", row
