"""Reading what the sandbox gateway answers into the port's values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.base.money import Money
from invoices.gateways import port
from invoices.gateways.port import DeclineClass
from invoices.gateways.reading import day, moment, text, whole
from invoices.gateways.sandbox_client import Refused

# By code and not by status, as with every gateway.
_DECLINES = {
    "insufficient_funds": DeclineClass.RETRY_LATER,
    "card_lost_or_stolen": DeclineClass.NEW_METHOD_NEEDED,
    "card_expired": DeclineClass.NEW_METHOD_NEEDED,
    "method_not_found": DeclineClass.NEW_METHOD_NEEDED,
    "method_revoked": DeclineClass.NEW_METHOD_NEEDED,
    "suspected_fraud": DeclineClass.PERSON_MUST_LOOK,
    "nothing_left_to_refund": DeclineClass.PERSON_MUST_LOOK,
    "refund_exceeds_payment": DeclineClass.OUR_FAULT,
    "amount_below_minimum": DeclineClass.OUR_FAULT,
    "secret_key_wrong": DeclineClass.OUR_FAULT,
}
# "amount_invalid" and its like: a request that we should never have sent.
_OUR_FAULT_SUFFIX = "_invalid"


def declined(refusal: Refused) -> port.Declined:
    """This function will read a refusal as a decline, with its class."""
    default = (
        DeclineClass.OUR_FAULT
        if refusal.code.endswith(_OUR_FAULT_SUFFIX)
        else DeclineClass.PERSON_MUST_LOOK
    )
    return port.Declined(
        decline_class=_DECLINES.get(refusal.code, default),
        code=refusal.code,
        message=refusal.message,
        gateway_payment_id=refusal.payment_id,
    )


def payment(
    row: Mapping[str, Any], *, base_url: str
) -> port.Succeeded | port.Declined | port.Unknown:
    """This function will read a payment by its status. Raises: GatewayUnavailable."""
    status = row.get("status")
    if status == "declined":
        return declined(Refused({"error": row.get("failure")}, payment_id=row.get("id")))
    if status != "succeeded":
        said = f"The gateway calls the payment {status!r}."
        return port.Waiting(said) if status == "waiting" else port.Unknown(said)
    currency = text(row, "currency")
    method = row.get("method")
    receipt_path = row.get("receipt_path")
    return port.Succeeded(
        gateway_payment_id=text(row, "id"),
        order_id=text(row, "order_id"),
        amount=Money(whole(row, "amount"), currency),
        refunded=Money(whole(row, "refunded_amount"), currency),
        approved_at=moment(row, "approved_at"),
        masked=str(method.get("masked", "")) if isinstance(method, dict) else "",
        receipt_url=f"{base_url}{receipt_path}" if receipt_path else None,
    )


def refunded(given: Mapping[str, Any]) -> port.Refunded:
    """This function will read what was given back. Raises: GatewayUnavailable."""
    currency = text(given, "currency")
    return port.Refunded(
        gateway_refund_id=text(given, "id"),
        gateway_payment_id=text(given, "payment_id"),
        amount=Money(whole(given, "amount"), currency),
        remaining=Money(whole(given, "remaining_amount"), currency),
        refunded_at=moment(given, "refunded_at"),
    )


def virtual_account(opened: Mapping[str, Any]) -> port.VirtualAccount:
    """This function will read the account that was opened. Raises: GatewayUnavailable."""
    return port.VirtualAccount(
        gateway_payment_id=text(opened, "id"),
        order_id=text(opened, "order_id"),
        bank=text(opened, "bank"),
        number=text(opened, "number"),
        holder=text(opened, "holder"),
        amount=Money(whole(opened, "amount"), text(opened, "currency")),
        expires_at=moment(opened, "expires_at"),
        secret=text(opened, "secret"),
    )


def registered(method: Mapping[str, Any]) -> port.RegisteredMethod:
    """This function will read a method and its token. Raises: GatewayUnavailable."""
    return port.RegisteredMethod(
        token=text(method, "token"),
        customer_key=text(method, "customer_key"),
        kind=text(method, "kind"),
        masked=text(method, "masked"),
        brand=text(method, "brand"),
        expires=method.get("expires"),
    )


def settlement_line(row: Mapping[str, Any]) -> port.SettlementLine:
    """This function will read one line of the books. Raises: GatewayUnavailable."""
    gross, fee, fee_tax, net = (
        Money(whole(row, name), text(row, "currency"))
        for name in ("amount", "fee", "fee_tax", "net")
    )
    try:
        return port.SettlementLine(
            line_id=text(row, "id"),
            kind=port.SettlementKind(text(row, "kind")),
            gross=gross,
            fee=fee,
            fee_tax=fee_tax,
            net=net,
            booked_on=day(row, "booked_on"),
            gateway_payment_id=row.get("payment_id"),
            order_id=row.get("order_id"),
        )
    except ValueError as error:
        raise port.GatewayUnavailable("The gateway's line is not readable.") from error
