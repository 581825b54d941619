"""The gateway that can do nothing: what an adapter starts from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta

from app.base.money import Money
from invoices.gateways import port


class BareGateway:
    """Refuses every call. Adapters inherit it and override what theirs offers, so the port can
    grow without breaking an adapter that somebody else keeps."""

    name = "bare"
    capabilities: frozenset[port.Capability] = frozenset()
    key_window = timedelta(0)

    def _refusal(self, capability: port.Capability) -> port.NotSupported:
        return port.NotSupported(f"The gateway {self.name!r} does not offer {capability}.")

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> port.RegistrationStart:
        raise self._refusal(port.Capability.REGISTER)

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        raise self._refusal(port.Capability.REGISTER)

    def revoke(self, *, token: str, customer_key: str) -> None:
        raise self._refusal(port.Capability.REVOKE)

    def method_stands(self, *, token: str, customer_key: str) -> bool:
        raise self._refusal(port.Capability.LOOKUP_METHOD)

    def prepare(
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
    ) -> port.PrepareResult:
        raise self._refusal(port.Capability.PREPARE)

    def abandon(self, *, prepared_id: str, idempotency_key: str) -> port.LookupResult:
        raise self._refusal(port.Capability.PREPARE)

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
        raise self._refusal(port.Capability.CHARGE)

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
        raise self._refusal(port.Capability.REFUND)

    def lookup(
        self, *, order_id: str | None = None, gateway_payment_id: str | None = None
    ) -> port.LookupResult:
        raise self._refusal(port.Capability.LOOKUP_BY_ORDER)

    def list_payments(self, *, start: datetime, end: datetime) -> Iterator[port.Succeeded]:
        raise self._refusal(port.Capability.LIST_PAYMENTS)

    def parse_webhook(
        self, *, headers: Mapping[str, str], raw_body: bytes, now: datetime
    ) -> port.GatewayEvent:
        raise self._refusal(port.Capability.WEBHOOKS)

    def transfer_instructions(self, *, order_id: str, amount: Money) -> port.TransferInstructions:
        raise self._refusal(port.Capability.TRANSFER_INSTRUCTIONS)

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
        raise self._refusal(port.Capability.VIRTUAL_ACCOUNTS)

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
        raise self._refusal(port.Capability.CASH_RECEIPTS)

    def cancel_cash_receipt(
        self, *, receipt_id: str, amount: Money | None, reason: str, idempotency_key: str
    ) -> port.CashReceiptResult:
        raise self._refusal(port.Capability.CASH_RECEIPTS)

    def cash_receipt(self, *, receipt_id: str) -> port.CashReceipt | port.Absent | port.Unknown:
        raise self._refusal(port.Capability.CASH_RECEIPTS)

    def settlements(self, *, start: date, end: date) -> Iterator[port.SettlementLine]:
        raise self._refusal(port.Capability.SETTLEMENTS)
