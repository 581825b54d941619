"""A real SMTP server of a test: it keeps what it accepts and refuses whom it is told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP


class Catcher:
    """Mails by arrival; `answers` maps a recipient to the refusal it gets."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.answers: dict[str, str] = {}
        self.arrived = threading.Event()

    async def handle_RCPT(
        self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        """This function will accept a recipient, or answer as the test said."""
        if address in self.answers:
            return self.answers[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        """This function will keep a mail."""
        self.mails.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
        self.arrived.set()
        return "250 kept"

    def subjects(self) -> list[str]:
        """This function will list what arrived."""
        return [str(mail["Subject"]) for mail in self.mails]


@contextmanager
def catching() -> Iterator[tuple[Catcher, int]]:
    """Run the server on a free port for the length of the block."""
    catcher = Catcher()
    controller = Controller(catcher, hostname="127.0.0.1", port=_free_port())
    controller.start()
    try:
        yield catcher, controller.port
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
