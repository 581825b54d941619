"""PortOne's wire: how it is asked, and what of its answers is believed.

Source: PortOne's V2 API reference and its published server SDK. Answers may grow fields, so only
what is used is read, and what is used is checked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from app.base.money import Money
from invoices.gateways import port, reading
from invoices.gateways.connections import Connections
from invoices.gateways.portone_declines import class_of

API = "https://api.portone.io"
# A key is quoted, and of these letters only.
_KEY = re.compile(r"[A-Za-z0-9_-]{16,256}")
# Said before PortOne looks at the key: says nothing about what the key did the first time.
_NOT_LET_IN = ("UNAUTHORIZED", "FORBIDDEN")
_MASKED_LENGTH_MAX = 60


class Refused(Exception):
    """PortOne's refusal, by its type. It never leaves the adapter."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.kind = str(answer.get("type") or "")
        self.pg_code = str(answer.get("pgCode") or "")
        self.message = str(answer.get("pgMessage") or answer.get("message") or self.kind)
        super().__init__(self.kind)


class Wire(Connections):
    """One secret at one PortOne. Safe to share between threads."""

    called = "PortOne"

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """This function will return PortOne's answer.

        Raises: Refused (it said no), GatewayUnavailable (it may have said yes).
        """
        key = quoted(idempotency_key) if idempotency_key else None
        response = self.send(method, path, body=body, query=query, idempotency_key=key)
        answer = reading.mapping(reading.body(response))
        if response.is_success:
            return answer
        refusal = Refused(answer)
        if not refusal.kind or refusal.kind.startswith("IDEMPOTENCY_"):
            raise port.GatewayUnavailable(
                f"PortOne answered {response.status_code} {refusal.kind}".rstrip() + "."
            )
        if refusal.kind in _NOT_LET_IN or response.status_code == 429:
            raise port.GatewayUnavailable(f"PortOne does not let us in: {refusal.kind}.")
        # A failing PG is told as 502 with its words; any other 5xx is PortOne's own trouble.
        if response.status_code >= 500 and refusal.kind != "PG_PROVIDER":
            raise port.GatewayUnavailable(f"PortOne answered {response.status_code}.")
        raise refusal


def quoted(key: str) -> str:
    """This function will write an idempotency key as PortOne takes it.

    One that PortOne would not take is replaced by its hash, always the same one.
    """
    fit = key if _KEY.fullmatch(key) else hashlib.sha256(key.encode()).hexdigest()
    return f'"{fit}"'


def part(text: str) -> str:
    """This function will make a text one part of a path, whatever stands in it."""
    return quote(text, safe="")


def query_of(body: Mapping[str, Any]) -> dict[str, str]:
    """This function will put what a GET asks for where PortOne reads it."""
    return {"requestBody": json.dumps(body)}


def payment(row: Mapping[str, Any]) -> port.Succeeded | port.Declined | port.Unknown:
    """This function will read a payment as it stands at PortOne."""
    status = row.get("status")
    if status == "FAILED":
        failure = row.get("failure")
        told = failure if isinstance(failure, dict) else {}
        return port.Declined(
            decline_class=class_of(kind="PG_PROVIDER", pg_code=str(told.get("pgCode") or "")),
            code=str(told.get("pgCode") or "FAILED"),
            message=str(told.get("pgMessage") or told.get("reason") or "The payment failed."),
            gateway_payment_id=reading.text(row, "id"),
        )
    if status not in ("PAID", "PARTIAL_CANCELLED", "CANCELLED"):
        return port.Unknown(f"PortOne calls the payment {status!r}.")
    if status == "CANCELLED" and not row.get("paidAt"):
        return port.Declined(
            decline_class=port.DeclineClass.PERSON_MUST_LOOK,
            code="CANCELLED",
            message="The payment was cancelled before it was made.",
            gateway_payment_id=reading.text(row, "id"),
        )
    currency, amount = reading.text(row, "currency"), reading.mapping(row.get("amount"))
    receipt_url = row.get("receiptUrl")
    return port.Succeeded(
        gateway_payment_id=reading.text(row, "id"),
        order_id=reading.text(row, "id"),
        amount=Money(reading.whole(amount, "total"), currency),
        refunded=Money(reading.whole(amount, "cancelled"), currency),
        approved_at=reading.moment(row, "paidAt"),
        masked=masked(row.get("method")),
        receipt_url=receipt_url if isinstance(receipt_url, str) else None,
    )


def refunded(row: Mapping[str, Any], *, given: Mapping[str, Any]) -> port.RefundResult:
    """This function will read a cancellation beside its payment.

    What remained is told as it was after this very one, whatever was cancelled since.
    """
    paid = payment(row)
    if not isinstance(paid, port.Succeeded):
        return port.Unknown("PortOne cancelled a payment that it does not call paid.")
    gone = 0
    for each in reading.rows(row, "cancellations"):
        if each.get("status") == "SUCCEEDED":
            gone += reading.whole(each, "totalAmount")
        if each.get("id") == given.get("id"):
            break
    currency = paid.amount.currency
    return port.Refunded(
        gateway_refund_id=reading.text(given, "id"),
        gateway_payment_id=paid.gateway_payment_id,
        amount=Money(reading.whole(given, "totalAmount"), currency),
        remaining=Money(paid.amount.amount_minor - gone, currency),
        refunded_at=reading.moment(given, "cancelledAt"),
    )


def masked(method: object) -> str:
    """This function will name a method as people know it: the wallet and the card's last digits."""
    if not isinstance(method, dict):
        return ""
    inner = method.get("easyPayMethod") or method.get("method") or method
    card = inner.get("card") if isinstance(inner, dict) else None
    number = card.get("number") if isinstance(card, dict) else None
    last = f"**** {number[-4:]}" if isinstance(number, str) and len(number) >= 4 else ""
    return f"{brand(method)} {last}".strip()[:_MASKED_LENGTH_MAX]


def brand(method: Mapping[str, Any]) -> str:
    """This function will name whose method it is."""
    kind = str(method.get("type") or "")
    if "Paypal" in kind:
        return "PayPal"
    if method.get("provider"):
        return _WALLETS.get(str(method["provider"]), str(method["provider"]))
    card = method.get("card")
    told = card if isinstance(card, dict) else {}
    return str(told.get("issuer") or told.get("name") or told.get("brand") or "")


_WALLETS = {
    "KAKAOPAY": "KakaoPay",
    "NAVERPAY": "NaverPay",
    "TOSSPAY": "Toss Pay",
    "PAYPAL": "PayPal",
    "PAYCO": "PAYCO",
    "SAMSUNGPAY": "Samsung Pay",
    "APPLEPAY": "Apple Pay",
}
