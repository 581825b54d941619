"""The adapter of Acme Pay, a gateway that registers cards, charges them and gives money back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import httpx

from app.base.money import Money
from invoices.gateways import port
from invoices.gateways.bare import BareGateway
from invoices.gateways.port import Capability, DeclineClass
from invoices.gateways.registry import Credential

DECLINES = {
    "no_money": DeclineClass.RETRY_LATER,
    "stolen": DeclineClass.NEW_METHOD_NEEDED,
    "expired": DeclineClass.NEW_METHOD_NEEDED,
    "held": DeclineClass.PERSON_MUST_LOOK,
    "too_little": DeclineClass.OUR_FAULT,
    "too_much": DeclineClass.OUR_FAULT,
    "key_unknown": DeclineClass.OUR_FAULT,
}


class Refused(Exception):
    """Acme Pay said no, by a code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AcmeGateway(BareGateway):
    """One merchant account at Acme Pay."""

    name = "acme_pay"
    capabilities = frozenset(
        {
            Capability.REGISTER,
            Capability.CHARGE,
            Capability.REFUND,
            Capability.REFUND_IN_PART,
        }
    )
    key_window = timedelta(hours=24)

    def __init__(self, *, base_url: str, api_key: str, read_timeout_seconds: float) -> None:
        self._base_url = base_url
        self._client = httpx.Client(
            base_url=base_url,
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=httpx.Timeout(read_timeout_seconds, connect=5),
            trust_env=False,
        )

    def close(self) -> None:
        self._client.close()

    def begin_registration(
        self, *, customer_key: str, return_url: str, language: str
    ) -> port.RegistrationStart:
        query = urlencode({"customer": customer_key, "back": return_url, "lang": language})
        return port.RegistrationStart(redirect_url=f"{self._base_url}/register?{query}")

    def complete_registration(
        self, *, customer_key: str, params: Mapping[str, str]
    ) -> port.RegisteredMethod:
        try:
            card = self._post("/cards", {"code": params.get("code"), "customer": customer_key})
        except Refused as refusal:
            raise port.RegistrationRefused("No card was registered.") from refusal
        return port.RegisteredMethod(
            token=card["token"],
            customer_key=customer_key,
            kind="card",
            masked=card["masked"],
            brand="Acme",
        )

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
        asked = {"card": token, "order": order_id, "won": amount.amount_minor}
        try:
            paid = self._post("/charges", asked, key=idempotency_key)
            result = port.Succeeded(
                gateway_payment_id=paid["id"],
                order_id=paid["order"],
                amount=Money(paid["won"], "KRW"),
                refunded=Money(0, "KRW"),
                approved_at=datetime.fromisoformat(paid["at"]),
                masked=paid["masked"],
            )
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        if (result.amount, result.order_id) != (amount, order_id):
            return port.Unknown("Acme Pay tells of another payment under this key.")
        return result

    def refund(
        self,
        *,
        gateway_payment_id: str,
        amount: Money | None,
        reason: str,
        idempotency_key: str,
        to_account: port.RefundAccount | None = None,
    ) -> port.RefundResult:
        asked = {"charge": gateway_payment_id, "won": amount.amount_minor if amount else None}
        try:
            given = self._post("/refunds", asked, key=idempotency_key)
        except Refused as refusal:
            return declined(refusal)
        except port.GatewayUnavailable as error:
            return port.Unknown(error.message)
        return port.Refunded(
            gateway_refund_id=given["id"],
            gateway_payment_id=gateway_payment_id,
            amount=Money(given["won"], "KRW"),
            remaining=Money(given["left"], "KRW"),
            refunded_at=datetime.fromisoformat(given["at"]),
        )

    def _post(self, path: str, body: Mapping[str, Any], key: str = "") -> dict[str, Any]:
        try:
            answer = self._client.post(path, json=body, headers={"Idempotency-Key": key})
            told = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise port.GatewayUnavailable(f"Acme Pay gave no answer: {error}.") from error
        if answer.is_success:
            return dict(told)
        if answer.status_code >= 500 or answer.status_code == 409:
            raise port.GatewayUnavailable(f"Acme Pay answered {answer.status_code}.")
        raise Refused(str(told.get("code", "")))


def declined(refusal: Refused) -> port.Declined:
    return port.Declined(
        decline_class=DECLINES.get(refusal.code, DeclineClass.PERSON_MUST_LOOK),
        code=refusal.code,
        message=f"Acme Pay says {refusal.code}.",
    )


def open_account(credentials: Mapping[str, str]) -> port.Gateway:
    return AcmeGateway(
        base_url=credentials["base_url"],
        api_key=credentials["api_key"],
        read_timeout_seconds=60,
    )


open_account.credentials = (  # type: ignore[attr-defined]  # a mark on a function
    Credential("base_url", secret=False, default="https://api.acme-pay.example"),
    Credential("api_key"),
)
