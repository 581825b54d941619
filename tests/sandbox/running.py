"""A sandbox gateway in a process of its own, and a merchant's ear for its webhooks."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

from app.base.loopback import LoopbackServer
from tests import processes
from tests.plain_http import NO_AUTHORITIES

CHECKOUT = Path(__file__).resolve().parents[2]
SECRET_KEY = "sandbox_sk_for_tests"
WEBHOOK_SECRET = "whsec_dGVuYW50cnktd2ViaG9vay10ZXN0cw=="
RETURN_URL = "http://127.0.0.1:9/portal/card?step=done"
WAIT_SECONDS = 20.0


def eventually(asked: Callable[[], Any]) -> Any:
    """This function will ask until the answer is true, and fail at the deadline."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not (answer := asked()):
        assert time.monotonic() < deadline, "nothing came before the deadline"
        threading.Event().wait(0.02)
    return answer


class RunningSandbox:
    """The gateway's process. After `kill` it can be started again where it was."""

    def __init__(self, *, directory: Path, webhook_url: str = "") -> None:
        self.directory = directory
        self._webhook_url = webhook_url
        self._port = 0
        self.start()

    def start(self) -> None:
        command = ["-m", "app.sandbox"]
        command += ["--port", str(self._port), "--directory", str(self.directory)]
        command += ["--webhook-url", self._webhook_url, "--webhook-retry-seconds", "0.004"]
        command += ["--hang-seconds", "60"]
        secrets = {
            "TENANTRY_SANDBOX_GATEWAY_SECRET": SECRET_KEY,
            "TENANTRY_SANDBOX_WEBHOOK_SECRET": WEBHOOK_SECRET,
        }
        self.process = processes.start(
            *command, environment={**os.environ, **secrets}, stdout=subprocess.PIPE
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, f"the gateway did not start: {line!r}"
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
        """This function will ask the interface as a merchant with the right key."""
        more.setdefault("auth", (SECRET_KEY, ""))
        return httpx.request(
            method,
            self.url + path,
            timeout=WAIT_SECONDS,
            verify=NO_AUTHORITIES,
            trust_env=False,
            **more,
        )


@contextmanager
def running(*, directory: Path, webhook_url: str = "") -> Iterator[RunningSandbox]:
    sandbox = RunningSandbox(directory=directory, webhook_url=webhook_url)
    try:
        yield sandbox
    finally:
        if sandbox.process.poll() is None:
            sandbox.end(signal.SIGTERM)


def type_card(page_url: str, number: str) -> httpx.Response:
    """This function will do what a person does on the registration page."""
    with httpx.Client(timeout=WAIT_SECONDS, verify=NO_AUTHORITIES, trust_env=False) as browser:
        assert browser.get(page_url).status_code == 200
        return browser.post(page_url, data={"number": number})


def returned(answer: httpx.Response) -> dict[str, str]:
    """This function will return the parameters with which the browser was sent back."""
    assert answer.status_code == 303, answer.text
    assert answer.headers["location"].startswith(RETURN_URL)
    return dict(parse_qsl(urlsplit(answer.headers["location"]).query))


class Ear:
    """Hears webhooks; says 500 to as many as it is told to before it takes them."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.refuse_next = 0
        self._server = LoopbackServer(application=self._hear, port=0)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hooks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _hear(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        self.heard.append((headers, body))
        if self.refuse_next:
            self.refuse_next -= 1
            start_response("500 Not Now", [])
        else:
            start_response("200 OK", [])
        return [b""]

    def of_kind(self, kind: str) -> list[tuple[dict[str, str], bytes]]:
        return [heard for heard in self.heard if f'"{kind}"'.encode() in heard[1]]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
