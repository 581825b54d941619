"""The sandbox adapter against the sandbox gateway, over real sockets."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from app.sandbox.cards import CARDS
from invoices.gateways.sandbox import SandboxGateway
from tests.contracts.gateway_cases import GatewayCases
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


def _adapter(url: str, *, read_timeout_seconds: float) -> SandboxGateway:
    return SandboxGateway(
        base_url=url,
        secret_key=SECRET_KEY,
        webhook_secret=WEBHOOK_SECRET,
        connect_timeout_seconds=5,
        read_timeout_seconds=read_timeout_seconds,
    )


class SandboxTill:
    def __init__(self, sandbox: RunningSandbox, ear: Ear) -> None:
        self._sandbox = sandbox
        self._ear = ear
        self.gateway = _adapter(sandbox.url, read_timeout_seconds=20)
        self.impatient = _adapter(sandbox.url, read_timeout_seconds=0.2)

    def _page(self, customer_key: str) -> str:
        started = self.gateway.begin_registration(
            customer_key=customer_key, return_url=RETURN_URL, language="ko"
        )
        assert started.redirect_url is not None
        return started.redirect_url

    def browser_returns(self, *, customer_key: str, card: str) -> dict[str, str]:
        return returned(type_card(self._page(customer_key), _NUMBERS[card]))

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return returned(httpx.post(f"{self._page(customer_key)}/cancel", trust_env=False))

    def webhooks_about(self, gateway_payment_id: str) -> list[tuple[dict[str, str], bytes]]:
        return eventually(lambda: self._ear.of_kind(gateway_payment_id))

    def deliver_again(self, event_id: str) -> None:
        before = len(self._ear.of_kind(event_id))
        assert self._sandbox.ask("POST", f"/v1/events/{event_id}/deliveries").status_code == 202
        eventually(lambda: len(self._ear.of_kind(event_id)) > before)

    def kill_and_restart(self) -> None:
        self._sandbox.kill()
        self._sandbox.start()


@pytest.fixture(scope="module")
def till(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SandboxTill]:
    ear = Ear()
    with running(directory=tmp_path_factory.mktemp("sandbox"), webhook_url=ear.url) as sandbox:
        till = SandboxTill(sandbox, ear)
        yield till
        till.gateway.close()
        till.impatient.close()
    ear.close()


class TestTheSandboxGateway(GatewayCases):
    pass
