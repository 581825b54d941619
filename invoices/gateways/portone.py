"""PortOne V2: one wire to KakaoPay, NaverPay, PayPal and card companies, chosen by a channel.

Billing keys are issued in the browser by PortOne's script; a charge names a payment by our own
order, so order and payment are one id, and the same id can't be paid twice even without its key.
Settlements are not offered: what PortOne publishes of them are reports summed for VAT, not lines.
Its payments are listed, and reconciled by that.

Source: PortOne's V2 API reference, its browser and server SDKs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.base import ids
from app.base.errors import Invalid
from app.base.money import Money
from invoices.gateways import port, portone_webhooks, portone_wire, taxes
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability
from invoices.gateways.portone_declines import class_of
from invoices.gateways.portone_wire import Refused, Wire, part
from invoices.gateways.reading import rows, text

SCRIPT = "https://cdn.portone.io/v2/browser-sdk.js"
# Where the script opens its own pages.
SCRIPT_ORIGINS = ("https://checkout-service.prod.iamport.co", "https://api.portone.io")
# How each channel is asked for a billing key: the script's method, and the button it draws itself.
CHANNELS = {
    "kakaopay": ("EASY_PAY", ""),
    "naverpay": ("EASY_PAY", ""),
    "tosspay": ("EASY_PAY", ""),
    "paypal": ("PAYPAL", "PAYPAL_RT"),
    "card": ("CARD", ""),
}

_BILLING_KEY = re.compile(r"[A-Za-z0-9_-]{1,200}")
_PAYMENT_ID = re.compile(r"[\x21-\x7e]{1,200}")
_NAME_LENGTH_MAX = 100
_PAGE_SIZE = 200
# Payments are listed by when they were created, and paid within moments of it.
_PAID_WITHIN = timedelta(days=1)


class PortOneGateway(BareGateway):
    """One channel of one store at PortOne."""

    name = "portone"
    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.REVOKE,
            Capability.LOOKUP_METHOD,
            Capability.CHARGE,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
            Capability.REFUND_TAX,
            Capability.LOOKUP_BY_ORDER,
            Capability.LOOKUP_BY_PAYMENT,
            Capability.LIST_PAYMENTS,
            Capability.WEBHOOKS,
            Capability.SIGNED_WEBHOOKS,
            Capability.CHARGE_WEBHOOKS,
            Capability.DISPUTES,
        }
    )
    key_window = timedelta(hours=3)

    def __init__(
        self,
        *,
        store_id: str,
        channel_key: str,
        channel: str,
        api_secret: str,
        webhook_secret: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        base_url: str = portone_wire.API,
        script_url: str = SCRIPT,
        notice_url: str = "",
    ) -> None:
        if channel not in CHANNELS:
            raise Invalid(f"The channel is one of: {', '.join(CHANNELS)}.", field="channel")
        self._store_id = store_id
        self._channel_key = channel_key
        self._channel = channel
        self._webhook_secret = webhook_secret
        self._script_url = script_url
        self._notice_url = notice_url
        self._wire = Wire(
            base_url=base_url,
            headers={"Authorization": f"PortOne {api_secret}"},
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
        )

    def close(self) -> None:
        """This function will close the connections; the gateway is not used afterwards."""
        self._wire.close()

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> port.RegistrationStart:
        """This function will say what PortOne's script is called with; nothing is asked yet."""
        method, ui_type = CHANNELS[self._channel]
        origins = () if self._script_url != SCRIPT else SCRIPT_ORIGINS
        return port.RegistrationStart(
            script=port.BrowserScript(name="portone", url=self._script_url, origins=origins),
            browser_parameters={
                "store_id": self._store_id,
                "channel_key": self._channel_key,
                "method": method,
                "ui_type": ui_type,
                "issue_id": f"issue-{ids.opaque()}",
                "issue_name": "Tenantry",
                "customer_key": customer_key,
                "locale": "KO_KR" if language == "ko" else "EN_US",
                "return_url": return_url,
            },
        )

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        """This function will ask PortOne whose billing key came back with the browser.

        Raises: RegistrationRefused, GatewayUnavailable.
        """
        billing_key = params.get("billingKey", "")
        if params.get("code") or not _BILLING_KEY.fullmatch(billing_key):
            raise port.RegistrationRefused("No payment method was registered. You can try again.")
        try:
            info = self._wire.ask("GET", f"/billing-keys/{part(billing_key)}", query=self._store())
        except Refused as refusal:
            if class_of(kind=refusal.kind) is not port.DeclineClass.NEW_METHOD_NEEDED:
                raise _unexpected(refusal) from refusal
            raise _not_theirs() from refusal
        customer = info.get("customer")
        theirs = isinstance(customer, dict) and customer.get("id") == customer_key
        channels = [row.get("key") for row in rows(info, "channels")]
        if info.get("status") != "ISSUED" or not theirs or self._channel_key not in channels:
            raise _not_theirs()
        method = next(iter(rows({"methods": [], **info}, "methods")), {})
        name = portone_wire.brand(method) or self._channel
        return port.RegisteredMethod(
            token=text(info, "billingKey"),
            customer_key=customer_key,
            kind="account" if "Transfer" in str(method.get("type")) else "card",
            masked=portone_wire.masked(method) or name,
            brand=name,
        )

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will delete the billing key; one that is gone already is fine."""
        try:
            self._wire.ask("DELETE", f"/billing-keys/{part(token)}", query=self._store())
        except Refused as refusal:
            if class_of(kind=refusal.kind) is not port.DeclineClass.NEW_METHOD_NEEDED:
                raise _unexpected(refusal) from refusal

    def method_stands(self, *, token: str, customer_key: str) -> bool:
        """This function will ask PortOne whether the billing key was deleted."""
        try:
            info = self._wire.ask("GET", f"/billing-keys/{part(token)}", query=self._store())
        except Refused as refusal:
            if class_of(kind=refusal.kind) is not port.DeclineClass.NEW_METHOD_NEEDED:
                raise _unexpected(refusal) from refusal
            return False
        return info.get("status") == "ISSUED"

    def charge(
        self,
        *,
        token: str,
        customer_key: str,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        idempotency_key: str,
        attempt_id: str,
        prepared_id: str | None = None,
    ) -> port.ChargeResult:
        """This function will charge the billing key once, however often it is called.

        PortOne's answer names no amount, so the payment itself is read before it is believed.
        """
        body: dict[str, Any] = {
            "storeId": self._store_id,
            "billingKey": token,
            "channelKey": self._channel_key,
            "orderName": name[:_NAME_LENGTH_MAX],
            "customer": {"id": customer_key},
            "customData": json.dumps({"attempt": attempt_id}),
            "amount": {
                "total": amount.amount_minor,
                "vat": tax_minor,
                **_untaxed("taxFree", amount, tax_minor),
            },
            "currency": amount.currency,
        }
        if self._notice_url:
            body["noticeUrls"] = [self._notice_url]
        try:
            self._wire.ask(
                "POST",
                f"/payments/{part(order_id)}/billing-key",
                body=body,
                idempotency_key=idempotency_key,
            )
        except Refused as refusal:
            return self._refused(refusal, order_id=order_id, amount=amount)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        return self._confirmed(order_id=order_id, amount=amount)

    def _refused(self, refusal: Refused, *, order_id: str, amount: Money) -> port.ChargeResult:
        """A refusal is final unless PortOne's own books know the payment otherwise."""
        if refusal.kind == "ALREADY_PAID":
            return self._confirmed(order_id=order_id, amount=amount)
        declined = port.Declined(
            decline_class=class_of(kind=refusal.kind, pg_code=refusal.pg_code),
            code=refusal.pg_code or refusal.kind,
            message=refusal.message,
            gateway_payment_id=order_id if refusal.kind == "PG_PROVIDER" else None,
        )
        if refusal.kind != "PG_PROVIDER":
            return declined
        # The company behind may have failed in the middle: what it says is looked at twice.
        found = self.lookup(order_id=order_id)
        if isinstance(found, port.Declined | port.Absent):
            return declined
        return self._confirmed(order_id=order_id, amount=amount, found=found)

    def _confirmed(
        self, *, order_id: str, amount: Money, found: port.LookupResult | None = None
    ) -> port.ChargeResult:
        told = found or self.lookup(order_id=order_id)
        if not isinstance(told, port.Succeeded):
            reason = told.reason if isinstance(told, port.Unknown) else str(told)
            return port.Unknown(f"PortOne took the charge and does not confirm it: {reason}")
        if told.amount != amount:
            return port.Unknown(f"PortOne confirmed {told.amount}, not {amount}, for {order_id}.")
        return told

    def refund(
        self,
        *,
        gateway_payment_id: str,
        amount: Money | None,
        reason: str,
        idempotency_key: str,
        to_account: port.RefundAccount | None = None,
        tax_minor: int | None = None,
    ) -> port.RefundResult:
        """This function will give money back: `amount`, or with None all that remains."""
        body: dict[str, Any] = {"storeId": self._store_id, "reason": reason, "requester": "ADMIN"}
        if amount is not None:
            body["amount"] = amount.amount_minor
            if tax_minor is not None:
                body |= {"vatAmount": tax_minor, **_untaxed("taxFreeAmount", amount, tax_minor)}
        try:
            answer = self._wire.ask(
                "POST",
                f"/payments/{part(gateway_payment_id)}/cancel",
                body=body,
                idempotency_key=idempotency_key,
            )
        except Refused as refusal:
            return port.Declined(
                decline_class=class_of(kind=refusal.kind),
                code=refusal.pg_code or refusal.kind,
                message=refusal.message,
                gateway_payment_id=gateway_payment_id,
            )
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        # From here on money may have left: whatever can't be read now, nothing was declined.
        try:
            return self._given_back(gateway_payment_id, answer)
        except Refused as refusal:
            return port.Unknown(f"PortOne gave back and can't be read: {refusal.message}")
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def _given_back(self, payment_id: str, answer: Mapping[str, Any]) -> port.RefundResult:
        """Its answer names no currency and nothing that remains, so the payment is read too."""
        given = answer.get("cancellation")
        if not isinstance(given, dict) or given.get("status") != "SUCCEEDED":
            status = given.get("status") if isinstance(given, dict) else None
            return port.Unknown(f"PortOne calls the cancellation {status!r}.")
        row = self._wire.ask("GET", f"/payments/{part(payment_id)}", query=self._store())
        return portone_wire.refunded(row, given=given)

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> port.LookupResult:
        """This function will say what became of a payment; at PortOne its order is its id."""
        if (order_id is None) == (gateway_payment_id is None):
            raise ValueError("Name the payment by its order or by its id: by exactly one.")
        payment_id = str(order_id or gateway_payment_id)
        if not _PAYMENT_ID.fullmatch(payment_id):
            return port.Absent()
        try:
            return portone_wire.payment(
                self._wire.ask("GET", f"/payments/{part(payment_id)}", query=self._store())
            )
        except Refused as refusal:
            if refusal.kind == "PAYMENT_NOT_FOUND":
                return port.Absent()
            return port.Unknown(f"PortOne refused the look-up: {refusal.message}")
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[port.Succeeded]:
        """This function will yield every payment approved in [start, end), oldest first.

        Those of this channel: other accounts share the store.
        """
        found = [
            paid
            for row in self._created(start=start - _PAID_WITHIN, end=end)
            if self._is_of_channel(row)
            and isinstance(paid := portone_wire.payment(row), port.Succeeded)
            and start <= paid.approved_at < end
        ]
        yield from sorted(found, key=lambda paid: (paid.approved_at, paid.order_id))

    def _is_of_channel(self, row: Mapping[str, Any]) -> bool:
        channel = row.get("channel")
        return isinstance(channel, dict) and channel.get("key") == self._channel_key

    def _created(self, *, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
        asked: dict[str, Any] = {
            "storeId": self._store_id,
            "from": start.isoformat(),
            "until": end.isoformat(),
            "size": _PAGE_SIZE,
        }
        while True:
            try:
                page = self._wire.ask(
                    "GET", "/payments-by-cursor", query=portone_wire.query_of(asked)
                )
            except Refused as refusal:
                raise _unexpected(refusal) from refusal
            items = rows(page, "items")
            yield from (each["payment"] for each in items if isinstance(each.get("payment"), dict))
            if len(items) < _PAGE_SIZE:
                return
            asked["cursor"] = text(items[-1], "cursor")

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> port.GatewayEvent:
        """This function will check the signature, the time and the store of a message."""
        return portone_webhooks.parse(
            secret=self._webhook_secret,
            store_id=self._store_id,
            headers=headers,
            raw_body=raw_body,
            now=now,
        )

    def _store(self) -> dict[str, str]:
        return {"storeId": self._store_id}


def _untaxed(name: str, amount: Money, tax_minor: int) -> dict[str, int]:
    """The part of a sum that bears no tax, where that is more than roundings leave."""
    return {name: untaxed} if (untaxed := taxes.untaxed_minor(amount, tax_minor)) else {}


def _not_theirs() -> port.RegistrationRefused:
    return port.RegistrationRefused(
        "The registration has expired or is not yours. Please register the method again."
    )


def _unexpected(refusal: Refused) -> port.GatewayUnavailable:
    return port.GatewayUnavailable(f"PortOne refused: {refusal.kind}. {refusal.message}")
