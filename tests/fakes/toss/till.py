"""The Toss adapter and its simulator as the conformance kit wants them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import httpx

from app.base.money import Money
from invoices.gateways.conformance import Card, Delivery, Till
from invoices.gateways.toss import TossGateway
from tests import processes
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import RETURN_URL, WAIT_SECONDS, Ear, eventually, returned

SECURITY_KEY = "toss-security-key-for-tests"


class RunningToss:
    """The simulator's process. After `kill` it can be started again where it was."""

    def __init__(self, *, directory: Path, webhook_url: str = "") -> None:
        self.directory, self._webhook_url, self._port = directory, webhook_url, 0
        self.start()

    def start(self) -> None:
        """This function will start the process and wait until it listens."""
        command = ["-m", "tests.fakes.toss", "--port", str(self._port)]
        command += ["--directory", str(self.directory), "--webhook-url", self._webhook_url]
        command += ["--security-key", SECURITY_KEY]
        command += ["--minute-seconds", "0.0004", "--hang-seconds", "60"]
        self.process = processes.start(*command, environment=os.environ, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, f"the simulator did not start: {line!r}"
        self.url = line.split()[-1]
        self._port = urlsplit(self.url).port or 0

    def end(self, how: int = signal.SIGTERM) -> None:
        """This function will end the process by a signal and wait for it."""
        self.process.send_signal(how)
        self.process.wait(timeout=WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """This function will ask anything of it, as the merchant of the tests."""
        more.setdefault("auth", ("test_sk_tenantry", ""))
        return httpx.request(
            method,
            self.url + path,
            timeout=WAIT_SECONDS,
            verify=NO_AUTHORITIES,
            trust_env=False,
            **more,
        )

    def steer(self, path: str, **told: Any) -> Any:
        """This function will tell it something by the control door."""
        answer = self.ask("POST", f"/_simulator/{path}", json=told)
        assert answer.status_code == 200, answer.text
        return answer.json()


def adapter(
    url: str, *, merchant: str = "tenantry", read_timeout_seconds: float = 20
) -> TossGateway:
    """This function will open a merchant's account at the simulator."""
    return TossGateway(
        secret_key=f"test_sk_{merchant}",
        client_key=f"test_ck_{merchant}",
        security_key=SECURITY_KEY if merchant == "tenantry" else "another",
        base_url=url,
        script_url=f"{url}/v2/standard",
        connect_timeout_seconds=5,
        read_timeout_seconds=read_timeout_seconds,
    )


def choose(gateway: TossGateway, url: str, customer_key: str, behaviour: str) -> dict[str, str]:
    """What the browser does: calls the script, chooses on its page, comes back."""
    started = gateway.begin_registration(
        customer_key=customer_key, return_url=RETURN_URL, language="ko"
    )
    given = started.browser_parameters
    query = {
        "clientKey": given["client_key"],
        "customerKey": given["customer_key"],
        "method": given["method"],
        "successUrl": given["return_url"],
        "failUrl": given["return_url"],
    }
    page = f"{url}/_simulator/billing-auth"
    with httpx.Client(timeout=WAIT_SECONDS, verify=NO_AUTHORITIES, trust_env=False) as browser:
        assert browser.get(page, params=query).status_code == 200
        return returned(browser.post(page, params=query, data={"behaviour": behaviour}))


class TossTill:
    """One account at the simulator; `ear` hears its webhooks."""

    def __init__(self, running: RunningToss, ear: Ear) -> None:
        self.running, self.ear = running, ear
        self.gateway = adapter(running.url)
        self.impatient = adapter(running.url, read_timeout_seconds=0.2)
        self.stranger = adapter(running.url, merchant="another")

    def browser_returns(self, *, customer_key: str, card: Card) -> dict[str, str]:
        return choose(self.gateway, self.running.url, customer_key, str(card))

    def browser_cancels(self, *, customer_key: str) -> dict[str, str]:
        return choose(self.gateway, self.running.url, customer_key, "")

    def captured(self, order_id: str) -> list[Money]:
        taken = self.running.ask("GET", f"/_simulator/captures/{order_id}").json()
        return [Money(amount, "KRW") for amount in taken]

    def reverse(self, gateway_payment_id: str) -> None:
        self.running.steer(f"payments/{gateway_payment_id}/reverse")

    def forget_keys(self) -> None:
        self.running.steer("forget-keys")

    def kill_and_restart(self) -> None:
        self.running.end(signal.SIGKILL)
        self.running.start()

    def webhooks_about(self, gateway_payment_id: str) -> list[Delivery]:
        payment = self.running.ask("GET", f"/v1/payments/{gateway_payment_id}").json()
        keys = {gateway_payment_id, payment["orderId"]}

        def heard() -> list[Delivery]:
            return [
                Delivery(headers, body)
                for headers, body in list(self.ear.heard)
                if any(f'"{key}"'.encode() in body for key in keys)
            ]

        found: list[Delivery] = eventually(heard)
        return found

    def deliver_again(self, gateway_payment_id: str) -> None:
        before = len(self.webhooks_about(gateway_payment_id))
        self.running.steer(f"webhooks/{gateway_payment_id}/repeat")
        eventually(lambda: len(self.webhooks_about(gateway_payment_id)) > before)

    def deposit(self, order_id: str) -> None:
        self.running.steer(f"deposits/{order_id}", arrived=True)

    def take_deposit_back(self, order_id: str) -> None:
        self.running.steer(f"deposits/{order_id}", arrived=False)

    def close_day(self) -> None:
        self.running.steer("close-day")


@contextmanager
def open_till() -> Iterator[Till]:
    """This function will start a simulator and open an account at it."""
    ear = Ear()
    with TemporaryDirectory() as directory:
        running = RunningToss(directory=Path(directory), webhook_url=ear.url)
        till = TossTill(running, ear)
        try:
            yield till
        finally:
            for gateway in (till.gateway, till.impatient, till.stranger):
                gateway.close()
            running.end()
            ear.close()
