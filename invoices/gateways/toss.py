"""The adapter of Toss Payments: billing keys, virtual accounts, cash receipts, settlements."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from app.base.money import Money
from invoices.gateways import port, taxes, toss_declines, toss_reading, toss_receipts, toss_webhooks
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability
from invoices.gateways.reading import mapping, text
from invoices.gateways.toss_client import Client, Refused, in_path
from invoices.gateways.toss_reading import KST

API_URL = "https://api.tosspayments.com"
SCRIPT_URL = "https://js.tosspayments.com/v2/standard"
_VENDOR = ".tosspayments.com"
_AUTH_KEY_LENGTH_MAX = 300
_NAME_LENGTH_MAX = 100
_REASON_LENGTH_MAX = 200
_PAGE_SIZE = 100


class TossGateway(BareGateway):
    """One merchant account at Toss Payments."""

    name = "toss"
    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.REVOKE,
            Capability.CHARGE,
            Capability.BINDS_CUSTOMER,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
            Capability.REFUND_TAX,
            Capability.LOOKUP_BY_ORDER,
            Capability.LOOKUP_BY_PAYMENT,
            Capability.LIST_PAYMENTS,
            Capability.WEBHOOKS,
            Capability.VIRTUAL_ACCOUNTS,
            Capability.CASH_RECEIPTS,
            Capability.SETTLEMENTS,
        }
    )
    key_window = timedelta(days=15)

    def __init__(
        self,
        *,
        secret_key: str,
        client_key: str,
        security_key: str,
        base_url: str,
        script_url: str,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
    ) -> None:
        self._client_key = client_key
        self._security_key = security_key
        self._script_url = script_url
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
        """This function will say what the browser calls Toss's script with; nothing is asked."""
        host = urlsplit(self._script_url).hostname or ""
        return port.RegistrationStart(
            script=port.BrowserScript(
                name="toss",
                url=self._script_url,
                origins=(f"https://*{_VENDOR}",) if host.endswith(_VENDOR) else (),
            ),
            browser_parameters={
                "client_key": self._client_key,
                "customer_key": customer_key,
                "method": "CARD",
                "return_url": return_url,
            },
        )

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        """This function will exchange the browser's one-time key for a billing key.

        The one-time key works once; under an idempotency key made of it the answer is told again.
        Raises: RegistrationRefused, GatewayUnavailable.
        """
        auth_key = params.get("authKey", "")
        if params.get("customerKey") != customer_key or not _is_auth_key(auth_key):
            raise port.RegistrationRefused("No card was registered. You can try again.")
        digest = hashlib.sha256(f"{customer_key} {auth_key}".encode()).hexdigest()
        try:
            issued = mapping(
                self._client.ask(
                    "POST",
                    "/v1/billing/authorizations/issue",
                    body={"authKey": auth_key, "customerKey": customer_key},
                    idempotency_key=f"issue-{digest}",
                )
            )
        except Refused as refusal:
            raise port.RegistrationRefused(
                "The registration has expired or is not yours. Please register the card again."
            ) from refusal
        if issued.get("customerKey") != customer_key:
            raise port.RegistrationRefused("The card was registered by somebody else.")
        return toss_reading.registered(issued, customer_key=customer_key)

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will delete the billing key; one that is gone already is fine."""
        try:
            self._client.ask("DELETE", f"/v1/billing/{in_path(token)}")
        except Refused as refusal:
            gone = ("ALREADY_REMOVED_BILLING_KEY", "BILLING_KEY_NOT_FOUND", "NOT_FOUND_BILLING")
            if refusal.code not in gone:
                raise refusal.unexpected from refusal

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

        Toss does not compare the body under a used key, so the answer's sum and order are.
        """
        if amount.currency != "KRW":
            return toss_declines.not_won(amount)
        body = {
            "amount": amount.amount_minor,
            "customerKey": customer_key,
            "orderId": order_id,
            "orderName": name[:_NAME_LENGTH_MAX],
            **_untaxed(amount, tax_minor),
        }
        try:
            answer = self._client.ask(
                "POST",
                f"/v1/billing/{in_path(token)}",
                body=body,
                idempotency_key=idempotency_key,
            )
            result = toss_reading.payment(answer)
        except Refused as refusal:
            return refusal.declined
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        if isinstance(result, port.Succeeded) and (result.amount, result.order_id) != (
            amount,
            order_id,
        ):
            return port.Unknown(
                f"Toss Payments confirmed {result.amount} for {result.order_id}, "
                f"not {amount} for {order_id}."
            )
        return result

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
        """This function will cancel the payment: `amount` of it, or with None all that remains."""
        body: dict[str, Any] = {"cancelReason": reason[:_REASON_LENGTH_MAX]}
        if amount is not None:
            body["cancelAmount"] = amount.amount_minor
            body |= _untaxed(amount, tax_minor) if tax_minor is not None else {}
        if to_account is not None:
            body["refundReceiveAccount"] = {
                "bank": to_account.bank,
                "accountNumber": to_account.number,
                "holderName": to_account.holder,
            }
        path = f"/v1/payments/{in_path(gateway_payment_id)}"
        try:
            answer = self._client.ask(
                "POST", f"{path}/cancel", body=body, idempotency_key=idempotency_key
            )
            return toss_reading.refunded(answer, asked=amount)
        except Refused as refusal:
            if refusal.code == "ALREADY_CANCELED_PAYMENT":
                return self._cancelled_before(path, amount, refusal)
            return refusal.declined
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def _cancelled_before(
        self, path: str, amount: Money | None, refusal: Refused
    ) -> port.RefundResult:
        """A cancel in one piece is the one that was asked for, told under its own id.

        Of several pieces nobody can say which was meant: a person looks.
        """
        try:
            answer = mapping(self._client.ask("GET", path))
            pieces = toss_reading.rows(answer.get("cancels"))
            total = toss_reading.money(answer, "totalAmount")
            if len(pieces) == 1 and amount in (None, total):
                return toss_reading.refunded(answer, asked=total)
        except Refused:
            return refusal.declined
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        return refusal.declined

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> port.LookupResult:
        """This function will say what became of a payment, named by exactly one of the two."""
        if (order_id is None) == (gateway_payment_id is None):
            raise ValueError("Name the payment by its order or by its id: by exactly one.")
        path = (
            in_path(gateway_payment_id or "") if order_id is None else f"orders/{in_path(order_id)}"
        )
        try:
            return toss_reading.payment(self._client.ask("GET", f"/v1/payments/{path}"))
        except Refused as refusal:
            if refusal.code in toss_declines.UNKNOWN_TO_TOSS:
                return port.Absent()
            return port.Unknown(f"Toss Payments refused the look-up: {refusal.code}.")
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[port.Succeeded]:
        """This function will yield every payment approved in [start, end), oldest first."""
        query = {
            "startDate": _written(start),
            # Whole seconds are all that Toss reads; the edges are held below.
            "endDate": _written(end + timedelta(seconds=1)),
            "limit": str(_PAGE_SIZE),
        }
        seen: dict[str, None] = {}
        while True:
            page = toss_reading.rows(self._asked("/v1/transactions", query))
            for row in page:
                if mapping(row).get("status") == "DONE":
                    seen[text(row, "paymentKey")] = None
            if len(page) < _PAGE_SIZE:
                break
            query["startingAfter"] = text(page[-1], "transactionKey")
        found = [self.lookup(gateway_payment_id=key) for key in seen]
        if any(isinstance(payment, port.Unknown) for payment in found):
            raise port.GatewayUnavailable("Toss Payments did not tell of each payment it listed.")
        made = [p for p in found if isinstance(p, port.Succeeded) and start <= p.approved_at < end]
        yield from sorted(made, key=lambda payment: payment.approved_at)

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> port.GatewayEvent:
        """This function will say what a webhook is about, and how far it may be believed."""
        return toss_webhooks.parse(
            security_key=self._security_key, headers=headers, raw_body=raw_body, now=now
        )

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
        """This function will open an account for one transfer; its arrival comes as a webhook."""
        if amount.currency != "KRW":
            return toss_declines.not_won(amount)
        body = {
            "amount": amount.amount_minor,
            "orderId": order_id,
            "orderName": name[:_NAME_LENGTH_MAX],
            "customerName": payer[:_NAME_LENGTH_MAX],
            "bank": bank,
            "dueDate": _written(expires_at),
            # Evidence is chosen by us, in one place for every way of paying.
            "cashReceipt": {"type": "미발행"},
        }
        try:
            answer = self._client.ask(
                "POST", "/v1/virtual-accounts", body=body, idempotency_key=idempotency_key
            )
            opened = toss_reading.virtual_account(answer, bank=bank)
        except Refused as refusal:
            return refusal.declined
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        if isinstance(opened, port.VirtualAccount) and (opened.order_id, opened.amount) != (
            order_id,
            amount,
        ):
            return port.Unknown("Toss Payments opened an account for another order or sum.")
        return opened

    def issue_cash_receipt(
        self,
        *,
        order_id: str,
        amount: Money,
        tax_minor: int,
        name: str,
        use: port.CashReceiptUse,
        identity: str,
        idempotency_key: str,
    ) -> port.CashReceiptResult:
        """This function will issue a cash receipt to a phone or business registration number."""
        if amount.currency != "KRW":
            return toss_declines.not_won(amount)
        body = {
            "amount": amount.amount_minor,
            "orderId": order_id,
            "orderName": name[:_NAME_LENGTH_MAX],
            **_untaxed(amount, tax_minor),
        }
        return toss_receipts.issue(
            client=self._client, body=body, use=use, identity=identity, key=idempotency_key
        )

    def cancel_cash_receipt(
        self, *, receipt_id: str, amount: Money | None, reason: str, idempotency_key: str
    ) -> port.CashReceiptResult:
        """This function will cancel a cash receipt: `amount` of it, or with None all."""
        return toss_receipts.cancel(
            client=self._client, receipt_id=receipt_id, amount=amount, key=idempotency_key
        )

    def cash_receipt(self, *, receipt_id: str) -> port.CashReceipt | port.Absent | port.Unknown:
        """This function will find a cash receipt in Toss's list of its day."""
        return toss_receipts.find(client=self._client, receipt_id=receipt_id)

    def settlements(self, *, start: date, end: date) -> Iterator[port.SettlementLine]:
        """This function will yield every line that Toss booked on the days [start, end]."""
        page = 1
        while True:
            query = {
                "startDate": start.isoformat(),
                "endDate": end.isoformat(),
                "dateType": "soldDate",
                "page": str(page),
                "size": str(_PAGE_SIZE),
            }
            lines = toss_reading.rows(self._asked("/v1/settlements", query))
            yield from (toss_reading.settlement_line(line) for line in lines)
            if len(lines) < _PAGE_SIZE:
                return
            page += 1

    def _asked(self, path: str, query: Mapping[str, str]) -> Any:
        """Raises: GatewayUnavailable, also for a refusal."""
        try:
            return self._client.ask("GET", path, query=query)
        except Refused as refusal:
            raise refusal.unexpected from refusal


def _is_auth_key(text: str) -> bool:
    return 0 < len(text) <= _AUTH_KEY_LENGTH_MAX and text.isascii() and text.isprintable()


def _untaxed(amount: Money, tax_minor: int) -> dict[str, int]:
    """The part of a sum that bears no tax, where there is one; all else Toss splits by itself."""
    return {"taxFreeAmount": part} if (part := taxes.untaxed_minor(amount, tax_minor)) else {}


def _written(moment: datetime) -> str:
    """Toss reads times without an offset, as Korean ones."""
    return f"{moment.astimezone(KST):%Y-%m-%dT%H:%M:%S}"
