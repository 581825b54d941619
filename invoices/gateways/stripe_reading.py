"""Stripe's objects, as plain dicts, read into the port's values; and money both ways."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, tzinfo
from typing import Any

from app.base.money import Money, exponent
from invoices.gateways import port
from invoices.gateways.port import SettlementKind
from invoices.gateways.reading import text
from invoices.gateways.stripe_client import Refused
from invoices.gateways.stripe_declines import declined

# Source: Stripe's page on currencies. Where its smallest unit differs from ISO's, Stripe's counts.
_ZERO_DECIMAL = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "JPY",
        "KMF",
        "KRW",
        "MGA",
        "PYG",
        "RWF",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
_THREE_DECIMAL = frozenset(["BHD", "JOD", "KWD", "OMR", "TND"])
# Amounts must be whole multiples of this many of Stripe's units.
_STEPS: dict[str, int] = dict.fromkeys(_THREE_DECIMAL, 10) | {"ISK": 100, "UGX": 100}

# Why we cancel what was prepared and never charged.
ABANDONED = "abandoned"
_KINDS = {
    "charge": SettlementKind.PAYMENT,
    "charge_failure": SettlementKind.PAYMENT,
    "refund": SettlementKind.REFUND,
    "partial_capture_reversal": SettlementKind.REFUND,
    "refund_failure": SettlementKind.REFUND,
    "dispute": SettlementKind.DISPUTE,
    "dispute_reversal": SettlementKind.DISPUTE,
    "fee": SettlementKind.FEE,
    "network_cost": SettlementKind.FEE,
    "tax": SettlementKind.FEE,
    "payout": SettlementKind.PAYOUT,
    "payout_reversal": SettlementKind.PAYOUT,
}


class NotAnAmount(ValueError):
    """The amount can't be expressed in the units that Stripe counts the currency in."""


def units(amount: Money) -> int:
    """This function will count an amount in Stripe's units of its currency.

    Raises: NotAnAmount, where Stripe takes no fraction that fine.
    """
    ours, theirs = exponent(amount.currency), _exponent(amount.currency)
    step = _STEPS.get(amount.currency, 1)
    counted, left = divmod(amount.amount_minor * int(10**theirs), int(10**ours))
    if left or counted % step:
        raise NotAnAmount(f"{amount} is finer than Stripe takes it.")
    return counted


def money(counted: object, currency: object) -> Money:
    """This function will read an amount that Stripe counts in its units."""
    if type(counted) is not int or not isinstance(currency, str):
        raise port.GatewayUnavailable("The gateway's answer lacks an amount.")
    code = currency.upper()
    minor, left = divmod(counted * 10 ** exponent(code), 10 ** _exponent(code))
    if left:
        raise port.GatewayUnavailable(f"The gateway's amount of {code} is finer than its money.")
    return Money(minor, code)


def _exponent(currency: str) -> int:
    if currency in _ZERO_DECIMAL:
        return 0
    return 3 if currency in _THREE_DECIMAL else 2


def payment(intent: Mapping[str, Any]) -> port.LookupResult:
    """This function will say what became of a PaymentIntent, its latest charge expanded."""
    intent_id, status = text(intent, "id"), intent.get("status")
    if status == "succeeded":
        charge = intent.get("latest_charge")
        if not isinstance(charge, dict):
            return port.Unknown("The gateway's answer lacks the charge of a payment.")
        return paid(charge, intent_id=intent_id, order_id=_order_of(intent))
    if may_be_confirmed(intent) or (
        status == "canceled" and intent.get("cancellation_reason") == ABANDONED
    ):
        # Prepared, and never asked for: as if it had never been. Or given up by ourselves so.
        return port.Absent()
    stated = _refusal(intent)
    if stated is None:
        return port.Unknown(f"The gateway calls the payment {status!r}.")
    return declined(Refused(stated, status=402), payment_id=intent_id)


def may_be_confirmed(intent: Mapping[str, Any]) -> bool:
    """This function will tell whether a payment was made and never charged, and still may be."""
    return intent.get("status") == "requires_confirmation"


def _refusal(intent: Mapping[str, Any]) -> Mapping[str, Any] | None:
    match intent.get("status"):
        case "requires_payment_method":
            stated = intent.get("last_payment_error")
            return stated if isinstance(stated, dict) else None
        case "requires_action":
            # Only its holder could go on, and nobody gave them the key to it.
            return {"code": "authentication_required", "message": "The card wants its holder."}
        case "canceled":
            why = intent.get("cancellation_reason") or "no reason was given"
            return {"code": "payment_intent_canceled", "message": f"Cancelled at Stripe: {why}."}
    return None


def paid(charge: Mapping[str, Any], *, intent_id: str, order_id: str) -> port.Succeeded:
    """This function will read a charge that moved money. Raises: GatewayUnavailable."""
    currency = charge.get("currency")
    captured = charge.get("amount_captured", charge.get("amount"))
    receipt_url = charge.get("receipt_url")
    return port.Succeeded(
        gateway_payment_id=intent_id,
        order_id=order_id,
        amount=money(captured, currency),
        refunded=money(charge.get("amount_refunded"), currency),
        approved_at=moment(charge, "created"),
        masked=masked(charge.get("payment_method_details")),
        receipt_url=receipt_url if isinstance(receipt_url, str) else None,
    )


def captured(charge: Mapping[str, Any]) -> port.Succeeded | None:
    """This function will read a charge of a list, or None where no order's money moved by it."""
    intent_id = charge.get("payment_intent")
    if charge.get("status") != "succeeded" or not charge.get("captured"):
        return None
    if not isinstance(intent_id, str):
        return None
    # A payment's metadata is copied to its charges.
    return paid(charge, intent_id=intent_id, order_id=_order_of(charge))


def masked(details: object) -> str:
    """This function will write the card's number as people may see it."""
    card = details.get("card") if isinstance(details, dict) else None
    last = card.get("last4") if isinstance(card, dict) else None
    return f"**** **** **** {last}" if last else ""


def refund(given: Mapping[str, Any], *, payment_id: str) -> port.RefundResult:
    """This function will say what became of a refund, its charge expanded.

    One that is pending counts: what is left to refund has become less, and a failure is told later.
    """
    if given.get("status") in ("failed", "canceled"):
        reason = str(given.get("failure_reason") or given["status"])
        stated = {"code": f"refund_{reason}", "message": f"The refund did not go through: {reason}"}
        return declined(Refused(stated, status=402), payment_id=payment_id)
    charge = given.get("charge")
    if not isinstance(charge, dict):
        raise port.GatewayUnavailable("The gateway's answer lacks the charge of a refund.")
    currency = given.get("currency")
    taken = money(charge.get("amount_captured", charge.get("amount")), currency)
    return port.Refunded(
        gateway_refund_id=text(given, "id"),
        gateway_payment_id=payment_id,
        amount=money(given.get("amount"), currency),
        remaining=taken - money(charge.get("amount_refunded"), currency),
        refunded_at=moment(given, "created"),
    )


def settlement_line(row: Mapping[str, Any], *, zone: tzinfo) -> port.SettlementLine:
    """This function will read a balance transaction, its source expanded.

    It stands in the currency of the account at Stripe, whatever the customer paid in.
    """
    currency = row.get("currency")
    category = str(row.get("reporting_category") or row.get("type"))
    kind = _KINDS.get(category, SettlementKind.OTHER)
    found = row.get("source")
    source: Mapping[str, Any] = found if isinstance(found, dict) else {}
    tax = sum(part["amount"] for part in row.get("fee_details") or () if part.get("type") == "tax")
    paid_out = source.get("arrival_date") if kind is SettlementKind.PAYOUT else None
    return port.SettlementLine(
        line_id=text(row, "id"),
        kind=kind,
        gross=money(row.get("amount"), currency),
        fee=money(row.get("fee"), currency) - money(tax, currency),
        fee_tax=money(tax, currency),
        net=money(row.get("net"), currency),
        booked_on=_day(row.get("created"), zone),
        paid_out_on=_day(paid_out, UTC) if paid_out else None,
        gateway_payment_id=source.get("payment_intent"),
        order_id=_order_of(source) or None,
    )


def _day(seconds: object, zone: tzinfo) -> date:
    return moment({"at": seconds}, "at").astimezone(zone).date()


def _order_of(row: Mapping[str, Any]) -> str:
    metadata = row.get("metadata")
    return str(metadata.get("order_id", "")) if isinstance(metadata, dict) else ""


def moment(row: Mapping[str, Any], name: str) -> datetime:
    """This function will read a time in seconds. Raises: GatewayUnavailable."""
    value = row.get(name)
    if type(value) is not int:
        raise port.GatewayUnavailable(f"The gateway's answer lacks {name}.")
    return datetime.fromtimestamp(value, UTC)
