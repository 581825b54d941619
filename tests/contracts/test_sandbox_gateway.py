"""The sandbox adapter against the sandbox gateway, over real sockets."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from app.base.money import Money
from app.sandbox.cards import CARDS
from invoices.gateways.conformance import Card, Delivery, GatewayCases, Till
from invoices.gateways.sandbox import SandboxGateway
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import (
    RETURN_URL,
    SECRET_KEY,
    WEBHOOK_SECRET,
    Ear,
    RunningSandbox,
    eventually,
    returned,
    running,
    type_card,
)

_NUMBERS = {str(card.behaviour): card.number for card in CARDS}


def _adapter(
    url: str,
    *,
    read_timeout_seconds: float = 20,
    secret_key: str = SECRET_KEY,
    webhook_secret: str = WEBHOOK_SECRET,
) -> SandboxGateway:
    return SandboxGateway(
        base_url=url,
        secret_key=secret_key,
        webhook_secret=webhook_secret,
        connect_timeout_seconds=5,
        read_timeout_seconds=read_timeout_seconds,
    )


class SandboxTill:
    def __init__(self, sandbox: RunningSandbox, ear: Ear) -> None:
        self._sandbox = sandbox
        self._ear = ear
        self.gateway = _adapter(sandbox.url)
        self.impatient = _adapter(sandbox.url, read_timeout_seconds=0.2)
        self.stranger = _adapter(
            sandbox.url, secret_key="sandbox_sk_other", webhook_secret="whsec_b3RoZXI="
        )

    def _page(self, customer_key: str) -> str:
        started = self.gateway.begin_registration(
            customer_key=customer_key, return_url=RETURN_URL, language="ko"
        )
        assert started.redirect_url is not None
        return started.redirect_url

    def browser_returns(self, *, customer_key: str, card: Card) -> dict[str, str]:
        return returned(type_card(self._page(customer_key), _NUMBERS[card]))

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return returned(
            httpx.post(f"{self._page(customer_key)}/cancel", verify=NO_AUTHORITIES, trust_env=False)
        )

    def captured(self, order_id: str) -> list[Money]:
        listed = self._sandbox.ask("GET", f"/v1/payments?order_id={order_id}").json()["payments"]
        return [Money(p["amount"], p["currency"]) for p in listed if p["status"] == "succeeded"]

    def reverse(self, gateway_payment_id: str) -> None:
        answer = self._sandbox.ask(
            "POST",
            f"/v1/payments/{gateway_payment_id}/refunds",
            json={"amount": None, "reason": "At the gateway's console"},
            headers={"Idempotency-Key": f"reverse-{gateway_payment_id}"},
        )
        assert answer.status_code == 200, answer.text

    def forget_keys(self) -> None:
        self._sandbox.end(signal.SIGTERM)
        journal = self._sandbox.directory / "journal.jsonl"
        lines = [json.loads(line) for line in journal.read_text().splitlines()]
        kept = [[row for row in change if row[0] != "replies"] for change in lines]
        journal.write_text("".join(json.dumps(change) + "\n" for change in kept))
        self._sandbox.start()

    def webhooks_about(self, gateway_payment_id: str) -> list[Delivery]:
        heard = eventually(lambda: self._ear.of_kind(gateway_payment_id))
        return [Delivery(headers, body) for headers, body in heard]

    def deliver_again(self, gateway_payment_id: str) -> None:
        event_id = json.loads(self.webhooks_about(gateway_payment_id)[-1].body)["id"]
        before = len(self._ear.of_kind(event_id))
        assert self._sandbox.ask("POST", f"/v1/events/{event_id}/deliveries").status_code == 202
        eventually(lambda: len(self._ear.of_kind(event_id)) > before)

    def deposit(self, order_id: str) -> None:
        self._bank(order_id, "deposit")

    def take_deposit_back(self, order_id: str) -> None:
        self._bank(order_id, "take-back")

    def _bank(self, order_id: str, act: str) -> None:
        answer = self._sandbox.ask("POST", f"/v1/virtual-accounts/{order_id}/{act}")
        assert answer.status_code == 200, answer.text

    def dispute(self, gateway_payment_id: str) -> None:
        answer = self._sandbox.ask("POST", f"/v1/payments/{gateway_payment_id}/disputes")
        assert answer.status_code == 202, answer.text

    def close_day(self) -> None:
        """Every line stands there as it is booked."""

    def kill_and_restart(self) -> None:
        self._sandbox.kill()
        self._sandbox.start()


@contextmanager
def open_till() -> Iterator[Till]:
    ear = Ear()
    with (
        TemporaryDirectory() as directory,
        running(directory=Path(directory), webhook_url=ear.url) as sandbox,
    ):
        till = SandboxTill(sandbox, ear)
        yield till
        for gateway in (till.gateway, till.impatient, till.stranger):
            gateway.close()
    ear.close()


@pytest.fixture(scope="module")
def till() -> Iterator[Till]:
    with open_till() as opened:
        yield opened


class TestTheSandboxGateway(GatewayCases):
    pass
