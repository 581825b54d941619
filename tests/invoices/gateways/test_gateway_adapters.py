"""The adapters against answers that no honest gateway gives, and the registry that finds them."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from app.base.errors import Invalid
from app.base.loopback import LoopbackServer
from app.base.money import Money
from app.sandbox.webhooks import sign
from invoices.gateways import registry, standard_webhooks
from invoices.gateways.bare import BareGateway
from invoices.gateways.manual import ManualGateway
from invoices.gateways.port import (
    Capability,
    DeclineClass,
    Declined,
    Gateway,
    GatewayUnavailable,
    NotSupported,
    Unknown,
    WebhookRefused,
)
from invoices.gateways.sandbox import SandboxGateway

AMOUNT = Money(11_000, "KRW")
PAID: dict[str, Any] = {
    "id": "pay_1",
    "status": "succeeded",
    "order_id": "order-1",
    "amount": 11_000,
    "currency": "KRW",
    "refunded_amount": 0,
    "approved_at": "2026-11-02T03:04:05+00:00",
    "method": {"masked": "**** 4242"},
}


class OddServer:
    """Answers every request with what the test told it to."""

    def __init__(self) -> None:
        self.status = "200 OK"
        self.body = b"{}"
        self._server = LoopbackServer(application=self._answer, port=0)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(self.status, [("Content-Type", "application/json")])
        return [self.body]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def odd() -> Iterator[OddServer]:
    server = OddServer()
    yield server
    server.close()


def adapter(url: str) -> SandboxGateway:
    return SandboxGateway(
        base_url=url,
        secret_key="sandbox_sk",
        webhook_secret="whsec_c2VjcmV0",
        connect_timeout_seconds=2,
        read_timeout_seconds=5,
    )


@pytest.fixture
def gateway(odd: OddServer) -> Iterator[SandboxGateway]:
    opened = adapter(odd.url)
    yield opened
    opened.close()


def charge(gateway: Gateway) -> object:
    return gateway.charge(
        token="mth_1",
        customer_key="customer-1",
        order_id="order-1",
        amount=AMOUNT,
        tax_minor=1_000,
        name="Tenantry",
        idempotency_key="key-1",
        attempt_id="attempt-1",
    )


class TestAChargeWhoseAnswerMakesNoSense:
    @pytest.mark.parametrize(
        ("status", "body"),
        [
            ("200 OK", b""),
            ("200 OK", b"<html>"),
            ("200 OK", b"[]"),
            ("200 OK", b"{}"),
            ("200 OK", json.dumps({**PAID, "status": "pending"}).encode()),
            ("200 OK", json.dumps({**PAID, "amount": 1_100}).encode()),
            ("200 OK", json.dumps({**PAID, "amount": 11_000.0}).encode()),
            ("200 OK", json.dumps({**PAID, "currency": "USD"}).encode()),
            ("200 OK", json.dumps({**PAID, "order_id": "order-2"}).encode()),
            ("200 OK", json.dumps({**PAID, "approved_at": "yesterday"}).encode()),
            ("302 Found", b"{}"),
            ("402 Payment Required", b"<html>"),
            ("408 Request Timeout", b"{}"),
            ("409 Conflict", b"{}"),
            ("429 Too Many Requests", b"{}"),
            ("500 Oops", b"{}"),
            ("502 Bad Gateway", b"<html>"),
            ("503 Unavailable", b""),
        ],
    )
    def test_is_unknown(
        self, odd: OddServer, gateway: SandboxGateway, status: str, body: bytes
    ) -> None:
        odd.status, odd.body = status, body
        result = charge(gateway)
        assert isinstance(result, Unknown), result
        assert result.reason

    def test_is_unknown_when_nobody_listens(self) -> None:
        gone = OddServer()
        gone.close()
        gateway = adapter(gone.url)
        assert isinstance(charge(gateway), Unknown)
        with pytest.raises(GatewayUnavailable):
            gateway.begin_registration(customer_key="c1", return_url="http://x", language="ko")
        gateway.close()

    @pytest.mark.parametrize(
        ("status", "code", "expected"),
        [
            ("401 Unauthorized", "secret_key_wrong", DeclineClass.OUR_FAULT),
            ("400 Bad Request", "amount_invalid", DeclineClass.OUR_FAULT),
            ("402 Payment Required", "a_code_from_next_year", DeclineClass.PERSON_MUST_LOOK),
        ],
    )
    def test_is_declined_when_the_gateway_plainly_refuses(
        self,
        odd: OddServer,
        gateway: SandboxGateway,
        status: str,
        code: str,
        expected: DeclineClass,
    ) -> None:
        odd.status = status
        odd.body = json.dumps({"error": {"code": code, "message": "No."}}).encode()
        assert charge(gateway) == Declined(decline_class=expected, code=code, message="No.")


class TestALookUp:
    def test_that_is_refused_is_unknown_and_not_absent(
        self, odd: OddServer, gateway: SandboxGateway
    ) -> None:
        odd.status = "401 Unauthorized"
        odd.body = b'{"error": {"code": "secret_key_wrong", "message": "No."}}'
        assert isinstance(gateway.lookup(order_id="order-1"), Unknown)

    def test_names_exactly_one_thing(self, gateway: SandboxGateway) -> None:
        for named in ({}, {"order_id": "o", "gateway_payment_id": "p"}):
            with pytest.raises(ValueError, match="exactly one"):
                gateway.lookup(**named)

    def test_takes_no_path_for_an_id(self, gateway: SandboxGateway) -> None:
        with pytest.raises(ValueError, match="not an id"):
            gateway.lookup(gateway_payment_id="../events")


class TestAStandardWebhook:
    # The example of the specification's reference libraries.
    SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    BODY = b'{"test": 2432232314}'
    HEADERS: ClassVar = {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    NOW = datetime.fromtimestamp(1614265330, UTC)

    def verify(self, **changed: Any) -> tuple[str, datetime]:
        asked = {"secret": self.SECRET, "headers": self.HEADERS, "raw_body": self.BODY}
        return standard_webhooks.verify(**{**asked, "now": self.NOW, **changed})

    def test_of_the_specification_is_taken(self) -> None:
        assert self.verify() == ("msg_p5jXN8AQM9LWM0D4loKWxJek", self.NOW)

    def test_may_carry_the_signature_of_an_older_secret_too(self) -> None:
        signature = f"v1,b2xk v1a,x {self.HEADERS['Webhook-Signature']}"
        assert self.verify(headers={**self.HEADERS, "Webhook-Signature": signature})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Webhook-Id", ""),
            ("Webhook-Id", "msg_other"),
            ("Webhook-Id", "m" * 201),
            ("Webhook-Timestamp", ""),
            ("Webhook-Timestamp", "-1614265330"),
            ("Webhook-Timestamp", "16142653３０"),
            ("Webhook-Timestamp", "9" * 11),
            ("Webhook-Timestamp", "9" * 400),
            ("Webhook-Signature", ""),
            ("Webhook-Signature", "v1,"),
            ("Webhook-Signature", "v1,가짜"),
            ("Webhook-Signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
        ],
    )
    def test_with_a_wrong_header_is_refused(self, name: str, value: str) -> None:
        with pytest.raises(WebhookRefused):
            self.verify(headers={**self.HEADERS, name: value})

    @pytest.mark.parametrize("seconds", [301, -301, 864_000, -864_000])
    def test_of_another_time_is_refused_both_ways(self, seconds: int) -> None:
        with pytest.raises(WebhookRefused):
            self.verify(now=self.NOW + timedelta(seconds=seconds))

    @pytest.mark.parametrize("body", [b"[]", b"{", b'{"type": "x"}', b"\xff", b'{"data": 1}'])
    def test_that_is_genuine_but_unreadable_is_invalid(
        self, gateway: SandboxGateway, body: bytes
    ) -> None:
        timestamp = int(self.NOW.timestamp())
        headers = {
            "webhook-id": "evt_1",
            "webhook-timestamp": str(timestamp),
            "webhook-signature": sign(
                secret="whsec_c2VjcmV0", event_id="evt_1", timestamp=timestamp, body=body
            ),
        }
        with pytest.raises(Invalid):
            gateway.parse_webhook(headers=headers, raw_body=body, now=self.NOW)


class TestTheManualGateway:
    def test_tells_where_to_send_the_money_and_charges_nothing(self) -> None:
        gateway = ManualGateway(account="데모은행 000-000-000000")
        told = gateway.transfer_instructions(order_id="INV-2026-000123", amount=AMOUNT)
        assert (told.account, told.amount, told.memo) == (
            "데모은행 000-000-000000",
            AMOUNT,
            "INV-2026-000123",
        )
        assert gateway.capabilities == {Capability.TRANSFER_INSTRUCTIONS}
        with pytest.raises(NotSupported, match="'manual' does not offer charge"):
            charge(gateway)


class TestABareGateway:
    def test_refuses_all_that_the_port_can_ask(self) -> None:
        bare: Gateway = BareGateway()
        calls: list[Callable[[], object]] = [
            lambda: bare.begin_registration(customer_key="c", return_url="r", language="ko"),
            lambda: bare.complete_registration(customer_key="c", params={}),
            lambda: bare.revoke(token="t", customer_key="c"),
            lambda: charge(bare),
            lambda: bare.refund(
                gateway_payment_id="p", amount=None, reason="r", idempotency_key="k"
            ),
            lambda: bare.lookup(order_id="o"),
            lambda: bare.list_payments(start=datetime.now(UTC), end=datetime.now(UTC)),
            lambda: bare.parse_webhook(headers={}, raw_body=b"", now=datetime.now(UTC)),
            lambda: bare.transfer_instructions(order_id="o", amount=AMOUNT),
        ]
        for call in calls:
            with pytest.raises(NotSupported):
                call()


def bare_by_entry_point(credentials: dict[str, str]) -> Gateway:
    return BareGateway()


class TestTheRegistry:
    def test_opens_ours_with_the_settings_once_per_process(self) -> None:
        assert registry.gateway("sandbox").name == "sandbox"
        assert registry.gateway("sandbox") is registry.gateway("sandbox")
        assert Capability.TRANSFER_INSTRUCTIONS in registry.gateway("manual").capabilities

    def test_finds_what_other_packages_add(self, monkeypatch: pytest.MonkeyPatch) -> None:
        point = EntryPoint(
            name="theirs", value=f"{__name__}:bare_by_entry_point", group="tenantry.gateways"
        )

        def installed(*, group: str, name: str | None = None) -> list[EntryPoint]:
            return [point] if group == point.group and name in (None, point.name) else []

        monkeypatch.setattr(registry, "entry_points", installed)
        assert "theirs" in registry.names()
        assert isinstance(registry.opener("theirs")({}), BareGateway)

    def test_names_what_it_does_not_find(self) -> None:
        with pytest.raises(registry.NoSuchGateway, match="'nowhere'"):
            registry.gateway("nowhere")
