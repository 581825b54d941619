"""The adapter of the sandbox gateway: real HTTP with real time-outs, to a server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

from app.base.errors import Invalid
from app.base.money import Money
from invoices.gateways import port, sandbox_reading, standard_webhooks
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability, EventKind
from invoices.gateways.reading import moment, rows, text
from invoices.gateways.sandbox_client import Client, Refused, checked_id, is_id, unexpected
from invoices.gateways.sandbox_reading import declined

_REGISTRATION_OVER = frozenset({"registration_not_found", "code_expired", "method_revoked"})
_EVENTS = {
    "payment.succeeded": EventKind.PAYMENT_SUCCEEDED,
    "payment.declined": EventKind.PAYMENT_DECLINED,
    "payment.refunded": EventKind.PAYMENT_REFUNDED,
    "account.deposited": EventKind.ACCOUNT_DEPOSITED,
    # What was deposited is not there any more: the account is looked at like any other news.
    "account.taken_back": EventKind.ACCOUNT_DEPOSITED,
    "payment.disputed": EventKind.PAYMENT_DISPUTED,
    "payout.changed": EventKind.PAYOUT_CHANGED,
    "method.registered": EventKind.METHOD_REGISTERED,
    "method.revoked": EventKind.METHOD_REVOKED,
}
_PAGE_SIZE = 100


class SandboxGateway(BareGateway):
    """One account at the sandbox gateway."""

    name = "sandbox"
    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.REVOKE,
            Capability.LOOKUP_METHOD,
            Capability.CHARGE,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
            Capability.LOOKUP_BY_ORDER,
            Capability.LOOKUP_BY_PAYMENT,
            Capability.LIST_PAYMENTS,
            Capability.VIRTUAL_ACCOUNTS,
            Capability.WEBHOOKS,
            Capability.SIGNED_WEBHOOKS,
            Capability.CHARGE_WEBHOOKS,
            Capability.BINDS_CUSTOMER,
            Capability.DISPUTES,
            Capability.SETTLEMENTS,
        }
    )
    key_window = timedelta(hours=24)

    def __init__(
        self,
        *,
        base_url: str,
        secret_key: str,
        webhook_secret: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self._base_url = base_url
        self._webhook_secret = webhook_secret
        self._client = Client(
            base_url=base_url,
            auth=(secret_key, ""),
            connect_timeout_seconds=connect_timeout_seconds,
            read_timeout_seconds=read_timeout_seconds,
        )

    def close(self) -> None:
        """This function will close the connections; the gateway is not used afterwards."""
        self._client.close()

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> port.RegistrationStart:
        """This function will open a registration and return the address of its page."""
        body = {"customer_key": customer_key, "return_url": return_url, "language": language}
        try:
            opened = self._client.ask("POST", "/v1/registrations", body=body)
        except Refused as refusal:
            raise unexpected(refusal) from refusal
        return port.RegistrationStart(redirect_url=text(opened, "url"))

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        """This function will exchange the code that the browser brought back for a token.

        Raises: RegistrationRefused, GatewayUnavailable.
        """
        registration_id, code = params.get("registration_id", ""), params.get("code", "")
        # The id becomes part of an address, so nothing but an id may stand there.
        if params.get("error") or not code or not is_id(registration_id):
            raise port.RegistrationRefused("No card was registered. You can try again.")
        try:
            method = self._client.ask(
                "POST",
                f"/v1/registrations/{registration_id}/complete",
                body={"code": code, "customer_key": customer_key},
            )
        except Refused as refusal:
            if refusal.code not in _REGISTRATION_OVER:
                raise unexpected(refusal) from refusal
            raise port.RegistrationRefused(
                "The registration has expired or is not yours. Please register the card again."
            ) from refusal
        return sandbox_reading.registered(method)

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will make the method unchargeable; one that is gone already is fine."""
        try:
            self._client.ask(
                "POST", "/v1/methods/revoke", body={"token": token, "customer_key": customer_key}
            )
        except Refused as refusal:
            if refusal.code != "method_not_found":
                raise unexpected(refusal) from refusal

    def method_stands(self, *, token: str, customer_key: str) -> bool:
        """This function will ask the gateway whether the method was revoked."""
        try:
            shown = self._client.ask(
                "POST", "/v1/methods/show", body={"token": token, "customer_key": customer_key}
            )
        except Refused as refusal:
            if refusal.code != "method_not_found":
                raise unexpected(refusal) from refusal
            return False
        return shown.get("revoked") is False

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
        """This function will charge the method once, however often it is called with one key."""
        body = {
            "token": token,
            "customer_key": customer_key,
            "order_id": order_id,
            "amount": amount.amount_minor,
            "currency": amount.currency,
            "tax_amount": tax_minor,
            "name": name,
            "attempt_id": attempt_id,
        }
        try:
            answer = self._client.ask(
                "POST", "/v1/charges", body=body, idempotency_key=idempotency_key
            )
            paid = self._payment(answer)
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        if not isinstance(paid, port.Succeeded):
            return port.Unknown("The gateway accepted the charge without a successful payment.")
        if paid.amount != amount or paid.order_id != order_id:
            return port.Unknown(
                f"The gateway confirmed {paid.amount} for {paid.order_id}, "
                f"not {amount} for {order_id}."
            )
        return paid

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
        body = {"amount": amount.amount_minor if amount else None, "reason": reason}
        try:
            given = self._client.ask(
                "POST",
                f"/v1/payments/{checked_id(gateway_payment_id)}/refunds",
                body=body,
                idempotency_key=idempotency_key,
            )
            return sandbox_reading.refunded(given)
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> port.LookupResult:
        """This function will say what became of a payment, named by exactly one of the two."""
        if (order_id is None) == (gateway_payment_id is None):
            raise ValueError("Name the payment by its order or by its id: by exactly one.")
        try:
            if gateway_payment_id is not None:
                return self._payment(
                    self._client.ask("GET", f"/v1/payments/{checked_id(gateway_payment_id)}")
                )
            listed = self._client.ask("GET", "/v1/payments", query={"order_id": str(order_id)})
            found = [self._payment(row) for row in rows(listed, "payments")]
        except Refused as refusal:
            if refusal.code == "payment_not_found":
                return port.Absent()
            return port.Unknown(f"The gateway refused the look-up: {refusal.message}")
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        paid = [payment for payment in found if isinstance(payment, port.Succeeded)]
        if paid:
            return paid[0]
        return found[-1] if found else port.Absent()

    def open_virtual_account(
        self,
        *,
        order_id: str,
        amount: Money,
        name: str,
        payer: str,
        bank: str,
        expires_at: datetime,
        idempotency_key: str,
    ) -> port.VirtualAccountResult:
        """This function will open an account that waits for one transfer."""
        body = {
            "order_id": order_id,
            "amount": amount.amount_minor,
            "currency": amount.currency,
            "name": name,
            "payer": payer,
            "bank": bank,
            "expires_at": expires_at.isoformat(),
        }
        try:
            opened = self._client.ask(
                "POST", "/v1/virtual-accounts", body=body, idempotency_key=idempotency_key
            )
            return sandbox_reading.virtual_account(opened)
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[port.Succeeded]:
        """This function will yield every payment approved in [start, end), oldest first."""
        query = {
            "status": "succeeded",
            "approved_from": start.isoformat(),
            "approved_to": end.isoformat(),
            "limit": str(_PAGE_SIZE),
        }
        while True:
            try:
                listed = self._client.ask("GET", "/v1/payments", query=query)
            except Refused as refusal:
                raise unexpected(refusal) from refusal
            for row in rows(listed, "payments"):
                payment = self._payment(row)
                if isinstance(payment, port.Succeeded):
                    yield payment
                query["after"] = text(row, "id")
            if not listed.get("more"):
                return

    def settlements(self, *, start: date, end: date) -> Iterator[port.SettlementLine]:
        """This function will yield every line that the gateway booked on the days [start, end]."""
        query = {"from": start.isoformat(), "to": end.isoformat()}
        while True:
            try:
                listed = self._client.ask("GET", "/v1/settlements", query=query)
            except Refused as refusal:
                raise unexpected(refusal) from refusal
            for row in rows(listed, "settlements"):
                yield sandbox_reading.settlement_line(row)
                query["after"] = text(row, "id")
            if not listed.get("more"):
                return

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> port.GatewayEvent:
        """This function will check the signature and the time, and say what the event is about."""
        event_id, _sent_at = standard_webhooks.verify(
            secret=self._webhook_secret, headers=headers, raw_body=raw_body, now=now
        )
        try:
            told = json.loads(raw_body)
            data = told["data"]
            return port.GatewayEvent(
                event_id=event_id,
                kind=_EVENTS.get(told["type"], EventKind.OTHER),
                trust=port.Trust.SIGNED,
                occurred_at=moment(told, "created_at"),
                gateway_payment_id=data.get("payment_id"),
                order_id=data.get("order_id"),
                secret=data.get("secret"),
                method=data.get("method"),
            )
        # Nested without end is as unreadable as broken; both are signed, neither is an event.
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            port.GatewayUnavailable,
        ) as error:
            raise Invalid("The webhook's body is not readable.") from error

    def _payment(self, row: Mapping[str, Any]) -> port.Succeeded | port.Declined | port.Unknown:
        return sandbox_reading.payment(row, base_url=self._base_url)
