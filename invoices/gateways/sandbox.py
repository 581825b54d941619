"""The adapter of the sandbox gateway: real HTTP with real time-outs, to a server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import httpx

from app.base.errors import Invalid
from app.base.money import Money
from invoices.gateways import port, standard_webhooks
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability, DeclineClass, EventKind

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
        self._client = httpx.Client(
            base_url=base_url,
            auth=(secret_key, ""),
            timeout=httpx.Timeout(read_timeout_seconds, connect=connect_timeout_seconds),
            # A proxy named in the environment has no business between us and this machine.
            trust_env=False,
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
            opened = self._ask("POST", "/v1/registrations", body=body)
        except _Refused as refusal:
            raise _unexpected(refusal) from refusal
        return port.RegistrationStart(redirect_url=_text(opened, "url"))

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        """This function will exchange the code that the browser brought back for a token.

        Raises: RegistrationRefused, GatewayUnavailable.
        """
        registration_id, code = params.get("registration_id", ""), params.get("code", "")
        # The id becomes part of an address, so nothing but an id may stand there.
        if params.get("error") or not code or not _is_id(registration_id):
            raise port.RegistrationRefused("No card was registered. You can try again.")
        try:
            method = self._ask(
                "POST",
                f"/v1/registrations/{registration_id}/complete",
                body={"code": code, "customer_key": customer_key},
            )
        except _Refused as refusal:
            if refusal.code not in _REGISTRATION_OVER:
                raise _unexpected(refusal) from refusal
            raise port.RegistrationRefused(
                "The registration has expired or is not yours. Please register the card again."
            ) from refusal
        return port.RegisteredMethod(
            token=_text(method, "token"),
            customer_key=_text(method, "customer_key"),
            kind=_text(method, "kind"),
            masked=_text(method, "masked"),
            brand=_text(method, "brand"),
            expires=method.get("expires"),
        )

    def revoke(self, *, token: str, customer_key: str) -> None:
        """This function will make the method unchargeable; one that is gone already is fine."""
        try:
            self._ask(
                "POST", "/v1/methods/revoke", body={"token": token, "customer_key": customer_key}
            )
        except _Refused as refusal:
            if refusal.code != "method_not_found":
                raise _unexpected(refusal) from refusal

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
            answer = self._ask("POST", "/v1/charges", body=body, idempotency_key=idempotency_key)
            paid = self._payment(answer)
        except _Refused as refusal:
            return _declined(refusal)
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
    ) -> port.RefundResult:
        """This function will give money back: `amount`, or with None all that remains."""
        body = {"amount": amount.amount_minor if amount else None, "reason": reason}
        try:
            given = self._ask(
                "POST",
                f"/v1/payments/{_checked_id(gateway_payment_id)}/refunds",
                body=body,
                idempotency_key=idempotency_key,
            )
            currency = _text(given, "currency")
            return port.Refunded(
                gateway_refund_id=_text(given, "id"),
                gateway_payment_id=_text(given, "payment_id"),
                amount=Money(_whole(given, "amount"), currency),
                remaining=Money(_whole(given, "remaining_amount"), currency),
                refunded_at=_moment(given, "refunded_at"),
            )
        except _Refused as refusal:
            return _declined(refusal)
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
                    self._ask("GET", f"/v1/payments/{_checked_id(gateway_payment_id)}")
                )
            listed = self._ask("GET", "/v1/payments", query={"order_id": str(order_id)})
            found = [self._payment(row) for row in _rows(listed)]
        except _Refused as refusal:
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
            opened = self._ask(
                "POST", "/v1/virtual-accounts", body=body, idempotency_key=idempotency_key
            )
            return port.VirtualAccount(
                gateway_payment_id=_text(opened, "id"),
                order_id=_text(opened, "order_id"),
                bank=_text(opened, "bank"),
                number=_text(opened, "number"),
                holder=_text(opened, "holder"),
                amount=Money(_whole(opened, "amount"), _text(opened, "currency")),
                expires_at=_moment(opened, "expires_at"),
                secret=_text(opened, "secret"),
            )
        except _Refused as refusal:
            return _declined(refusal)
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
                listed = self._ask("GET", "/v1/payments", query=query)
            except _Refused as refusal:
                raise _unexpected(refusal) from refusal
            for row in _rows(listed):
                payment = self._payment(row)
                if isinstance(payment, port.Succeeded):
                    yield payment
                query["after"] = _text(row, "id")
            if not listed.get("more"):
                return

    def settlements(self, *, start: date, end: date) -> Iterator[port.SettlementLine]:
        """This function will yield every line that the gateway booked on the days [start, end]."""
        query = {"from": start.isoformat(), "to": end.isoformat()}
        while True:
            try:
                listed = self._ask("GET", "/v1/settlements", query=query)
            except _Refused as refusal:
                raise _unexpected(refusal) from refusal
            for row in _rows(listed, "settlements"):
                yield _settlement_line(row)
                query["after"] = _text(row, "id")
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
                occurred_at=_moment(told, "created_at"),
                gateway_payment_id=data.get("payment_id"),
                order_id=data.get("order_id"),
                secret=data.get("secret"),
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

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Raises: _Refused (the gateway said no), GatewayUnavailable (it may have said yes)."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        try:
            response = self._client.request(method, path, json=body, params=query, headers=headers)
        except httpx.HTTPError as error:
            raise port.GatewayUnavailable(
                f"The gateway gave no answer ({type(error).__name__})."
            ) from error
        if response.status_code >= 500 or response.status_code in (408, 409, 425, 429):
            raise port.GatewayUnavailable(f"The gateway answered {response.status_code}.")
        answer = _json(response)
        if response.is_success:
            return answer
        refusal = _Refused(answer)
        if not refusal.code:
            raise port.GatewayUnavailable(f"The gateway answered {response.status_code} unclearly.")
        if refusal.code == "idempotency_key_reused":
            # Says nothing about what the first request with the key has done.
            raise port.GatewayUnavailable("The gateway knows the key with another request.")
        raise refusal

    def _payment(self, row: Mapping[str, Any]) -> port.Succeeded | port.Declined | port.Unknown:
        status = row.get("status")
        if status == "declined":
            return _declined(_Refused({"error": row.get("failure")}, payment_id=row.get("id")))
        if status != "succeeded":
            said = f"The gateway calls the payment {status!r}."
            return port.Waiting(said) if status == "waiting" else port.Unknown(said)
        currency = _text(row, "currency")
        method = row.get("method")
        receipt_path = row.get("receipt_path")
        return port.Succeeded(
            gateway_payment_id=_text(row, "id"),
            order_id=_text(row, "order_id"),
            amount=Money(_whole(row, "amount"), currency),
            refunded=Money(_whole(row, "refunded_amount"), currency),
            approved_at=_moment(row, "approved_at"),
            masked=str(method.get("masked", "")) if isinstance(method, dict) else "",
            receipt_url=f"{self._base_url}{receipt_path}" if receipt_path else None,
        )


class _Refused(Exception):
    """The gateway's refusal, by its code. It never leaves this module."""

    def __init__(self, answer: Mapping[str, Any], *, payment_id: str | None = None) -> None:
        error = answer.get("error")
        stated = error if isinstance(error, dict) else {}
        self.code = str(stated.get("code", ""))
        self.message = str(stated.get("message", ""))
        super().__init__(self.code)
        payment = answer.get("payment")
        self.payment_id = payment.get("id") if isinstance(payment, dict) else payment_id


def _unexpected(refusal: _Refused) -> port.GatewayUnavailable:
    return port.GatewayUnavailable(f"The gateway refused: {refusal.code}. {refusal.message}")


def _declined(refusal: _Refused) -> port.Declined:
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


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise port.GatewayUnavailable("The gateway's answer is not readable.") from error
    if not isinstance(answer, dict):
        raise port.GatewayUnavailable("The gateway's answer is not an object.")
    return answer


def _settlement_line(row: Mapping[str, Any]) -> port.SettlementLine:
    gross, fee, fee_tax, net = (
        Money(_whole(row, name), _text(row, "currency"))
        for name in ("amount", "fee", "fee_tax", "net")
    )
    try:
        return port.SettlementLine(
            line_id=_text(row, "id"),
            kind=port.SettlementKind(_text(row, "kind")),
            gross=gross,
            fee=fee,
            fee_tax=fee_tax,
            net=net,
            booked_on=date.fromisoformat(_text(row, "booked_on")),
            gateway_payment_id=row.get("payment_id"),
            order_id=row.get("order_id"),
        )
    except ValueError as error:
        raise port.GatewayUnavailable("The gateway's line is not readable.") from error


def _rows(listed: Mapping[str, Any], name: str = "payments") -> list[dict[str, Any]]:
    rows = listed.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise port.GatewayUnavailable(f"The gateway's answer lacks its {name}.")
    return rows


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise port.GatewayUnavailable(f"The gateway's answer lacks {name}.")
    return value


def _whole(row: Mapping[str, Any], name: str) -> int:
    value = row.get(name)
    if type(value) is not int:
        raise port.GatewayUnavailable(f"The gateway's answer lacks {name}.")
    return value


def _moment(row: Mapping[str, Any], name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(row, name))
    except ValueError as error:
        raise port.GatewayUnavailable(f"The gateway's answer lacks {name}.") from error
    if moment.tzinfo is None:
        raise port.GatewayUnavailable(f"The gateway's answer lacks the offset of {name}.")
    return moment


def _is_id(text: str) -> bool:
    return text.isascii() and text.replace("_", "").isalnum()


def _checked_id(text: str) -> str:
    if not _is_id(text):
        raise ValueError(f"{text!r} is not an id of this gateway.")
    return text
