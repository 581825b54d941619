"""This Stripe in a process of its own, and the adapter's way to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from invoices.gateways.stripe import StripeGateway, open_account
from tests import processes
from tests.fakes.stripe.cards import BY_BEHAVIOUR
from tests.plain_http import NO_AUTHORITIES
from tests.sandbox.running import RETURN_URL, WAIT_SECONDS

SECRET_KEY = "sk_test_for_tests"
WEBHOOK_SECRET = "whsec_for_tests"


class RunningStripe:
    """The simulator's process. After `kill` it can be started again where it was."""

    def __init__(self, *, directory: Path, webhook_url: str = "") -> None:
        self._directory = directory
        self._webhook_url = webhook_url
        self._port = 0
        self.start()

    def start(self) -> None:
        command = ["-m", "tests.fakes.stripe", "--port", str(self._port)]
        command += ["--directory", str(self._directory), "--secret-key", SECRET_KEY]
        command += ["--webhook-url", self._webhook_url, "--webhook-secret", WEBHOOK_SECRET]
        command += ["--webhook-retry-seconds", "0.004", "--hang-seconds", "60"]
        self.process = processes.start(*command, environment=os.environ, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, f"the simulator did not start: {line!r}"
        self.url = line.split()[-1]
        self._port = urlsplit(self.url).port or 0

    def end(self, how: int) -> None:
        self.process.send_signal(how)
        self.process.wait(timeout=WAIT_SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def ask(self, method: str, path: str, **more: Any) -> Any:
        """This function will ask the interface with the right key and return what it says."""
        headers = {"Authorization": f"Bearer {SECRET_KEY}", **more.pop("headers", {})}
        answer = httpx.request(
            method,
            self.url + path,
            headers=headers,
            timeout=WAIT_SECONDS,
            verify=NO_AUTHORITIES,
            trust_env=False,
            **more,
        )
        assert answer.is_success, answer.text
        return answer.json()

    def tell(self, door: str, **said: Any) -> Any:
        """This function will tell the simulator through its control door."""
        return self.ask("POST", f"/_simulator/{door}", json=said)

    def adapter(
        self,
        *,
        read_timeout_seconds: float = 20,
        secret_key: str = SECRET_KEY,
        webhook_secret: str = WEBHOOK_SECRET,
    ) -> StripeGateway:
        """This function will open the account as the product does, with time-outs of one's own."""
        return open_account(
            {
                "base_url": self.url,
                "secret_key": secret_key,
                "webhook_secret": webhook_secret,
            },
            connect_timeout_seconds=5,
            read_timeout_seconds=read_timeout_seconds,
            timezone="UTC",
        )


@contextmanager
def running(*, directory: Path, webhook_url: str = "") -> Iterator[RunningStripe]:
    stripe = RunningStripe(directory=directory, webhook_url=webhook_url)
    try:
        yield stripe
    finally:
        if stripe.process.poll() is None:
            stripe.end(signal.SIGTERM)


def type_card(page_url: str, behaviour: str) -> httpx.Response:
    """This function will do what a person does on the page."""
    with httpx.Client(timeout=WAIT_SECONDS, verify=NO_AUTHORITIES, trust_env=False) as browser:
        shown = browser.get(page_url)
        number = BY_BEHAVIOUR[behaviour].number
        assert re.search(rf'value="{number}"', shown.text), "the page offers no such card"
        return browser.post(page_url, data={"number": number})


def returned(answer: httpx.Response, to: str = RETURN_URL) -> dict[str, str]:
    """This function will return the parameters with which the browser was sent back."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(to)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))
