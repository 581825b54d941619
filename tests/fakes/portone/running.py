"""The simulator as tests run it, and a till over it for each channel."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.base.money import Money
from app.sandbox.cards import CARDS
from invoices.gateways.conformance import Card, Delivery, Till
from invoices.gateways.portone import PortOneGateway
from tests import processes
from tests.fakes.portone.__main__ import API_SECRET, STORE_ID, WEBHOOK_SECRET
from tests.fakes.portone.book import CHANNELS
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import (
    RETURN_URL,
    WAIT_SECONDS,
    Ear,
    eventually,
    returned,
)

NUMBERS = {str(card.behaviour): card.number for card in CARDS}


class RunningPortOne:
    """The simulator's process. After `kill` it can be started again where it was."""

    def __init__(self, *, directory: Path, webhook_url: str = "") -> None:
        self.directory = directory
        self._webhook_url = webhook_url
        self._port = 0
        self.start()

    def start(self) -> None:
        command = ["-m", "tests.fakes.portone"]
        command += ["--port", str(self._port), "--directory", str(self.directory)]
        command += ["--webhook-url", self._webhook_url, "--webhook-retry-seconds", "0.004"]
        self.process = processes.start(*command, environment=os.environ, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, f"the simulator did not start: {line!r}"
        self.url = line.split()[-1]
        self._port = urlsplit(self.url).port or 0

    def end(self, how: int) -> int:
        self.process.send_signal(how)
        code = self.process.wait(timeout=WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code

    def kill(self) -> None:
        assert self.end(signal.SIGKILL) == -signal.SIGKILL

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """This function will ask the interface as the merchant with the right secret."""
        headers = {"Authorization": f"PortOne {API_SECRET}", **more.pop("headers", {})}
        return httpx.request(
            method,
            self.url + path,
            timeout=WAIT_SECONDS,
            verify=NO_AUTHORITIES,
            trust_env=False,
            headers=headers,
            **more,
        )

    def tell(self, path: str, **told: Any) -> httpx.Response:
        """This function will tell the simulator what to do."""
        answer = self.ask("POST", f"/_simulator/{path}", json=told)
        assert answer.is_success, answer.text
        return answer


def adapter(
    url: str, channel: str = "kakaopay", *, read_timeout_seconds: float = 20, **changed: str
) -> PortOneGateway:
    credentials = {
        "store_id": STORE_ID,
        "channel_key": CHANNELS[channel][1],
        "api_secret": API_SECRET,
        "webhook_secret": WEBHOOK_SECRET,
        "base_url": url,
        "script_url": f"{url}/v2/browser-sdk.js",
    }
    return PortOneGateway(
        channel=channel,
        connect_timeout_seconds=5,
        read_timeout_seconds=read_timeout_seconds,
        **(credentials | changed),
    )


def as_the_script_asks(parameters: Mapping[str, str]) -> dict[str, str]:
    """This function will put our page's parameters as PortOne's script sends them on."""
    return {
        "storeId": parameters["store_id"],
        "channelKey": parameters["channel_key"],
        "billingKeyMethod": parameters["method"],
        "uiType": parameters["ui_type"],
        "issueId": parameters["issue_id"],
        "issueName": parameters["issue_name"],
        "customerId": parameters["customer_key"],
        "redirectUrl": parameters["return_url"],
        "locale": parameters["locale"],
        "mode": "redirect",
        "origin": "http://localhost",
    }


def answer(gateway: PortOneGateway, url: str, customer_key: str, **chosen: str) -> dict[str, str]:
    """What the browser does: PortOne's script leads to its page, which is answered."""
    started = gateway.begin_registration(
        customer_key=customer_key, return_url=RETURN_URL, language="ko"
    )
    asked = as_the_script_asks(started.browser_parameters)
    with httpx.Client(timeout=WAIT_SECONDS, verify=NO_AUTHORITIES, trust_env=False) as browser:
        assert browser.get(f"{url}/checkout", params=asked).status_code == 200
        return returned(browser.post(f"{url}/checkout", data={**asked, **chosen}))


class PortOneTill:
    """One channel of the simulator's store."""

    def __init__(self, running: RunningPortOne, ear: Ear, channel: str) -> None:
        self._running = running
        self._ear = ear
        self.gateway = adapter(running.url, channel)
        self.impatient = adapter(running.url, channel, read_timeout_seconds=0.2)
        self.stranger = adapter(
            running.url, channel, api_secret="another", webhook_secret="whsec_b3RoZXI="
        )

    def browser_returns(self, *, customer_key: str, card: Card) -> dict[str, str]:
        return answer(self.gateway, self._running.url, customer_key, number=NUMBERS[card])

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return answer(self.gateway, self._running.url, customer_key, cancel="1")

    def captured(self, order_id: str) -> Sequence[Money]:
        rows = self._running.ask("GET", "/_simulator/payments").json()["payments"]
        return [
            Money(row["amount"]["total"], row["currency"])
            for row in rows
            if row["id"] == order_id and row["status"] != "FAILED"
        ]

    def reverse(self, gateway_payment_id: str) -> None:
        self._running.tell(f"payments/{gateway_payment_id}/cancel")

    def forget_keys(self) -> None:
        self._running.tell("keys/forget")

    def kill_and_restart(self) -> None:
        self._running.kill()
        self._running.start()

    def webhooks_about(self, gateway_payment_id: str) -> list[Delivery]:
        heard = eventually(lambda: self._ear.of_kind(gateway_payment_id))
        return [Delivery(headers, body) for headers, body in heard]

    def deliver_again(self, gateway_payment_id: str) -> None:
        before = len(self.webhooks_about(gateway_payment_id))
        self._running.tell(f"payments/{gateway_payment_id}/redeliver")
        eventually(lambda: len(self._ear.of_kind(gateway_payment_id)) > before)

    def dispute(self, gateway_payment_id: str) -> None:
        self._running.tell(f"payments/{gateway_payment_id}/dispute")

    def close(self) -> None:
        for gateway in (self.gateway, self.impatient, self.stranger):
            gateway.close()


@contextmanager
def running(*, directory: Path, webhook_url: str = "") -> Iterator[RunningPortOne]:
    found = RunningPortOne(directory=directory, webhook_url=webhook_url)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.end(signal.SIGTERM)


@contextmanager
def open_till(channel: str = "kakaopay") -> Iterator[Till]:
    """This function will open a till, as `--gateway=tests.fakes.portone.running:open_till` does."""
    ear = Ear()
    with (
        TemporaryDirectory() as directory,
        running(directory=Path(directory), webhook_url=ear.url) as portone,
    ):
        till = PortOneTill(portone, ear, channel)
        yield till
        till.close()
    ear.close()
