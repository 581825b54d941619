"""The SMTP side: takes every mail it is given and hands none on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from app.base.loopback import HOST
from app.mailbox.shelf import Shelf

MAIL_BYTES_MAX = 25 * 1024 * 1024
_RECIPIENTS_MAX = 100
_IDLE_SECONDS = 60


class Catcher:
    """What aiosmtpd asks when a mail comes in."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def handle_RCPT(
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """This function will note a recipient, whoever that is."""
        if len(envelope.rcpt_tos) >= _RECIPIENTS_MAX:
            return "452 Too many recipients"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        """This function will store the mail before it says so."""
        content = envelope.content
        raw = content.encode() if isinstance(content, str) else content or b""
        try:
            letter_id = self._shelf.put(
                sender=envelope.mail_from or "", recipients=list(envelope.rcpt_tos), raw=raw
            )
        except OSError:
            # Temporary, to the sender: it keeps the mail and tries again.
            return "452 The mail could not be stored"
        return f"250 Stored as {letter_id}"


class SmtpServer:
    """SMTP on 127.0.0.1 in a thread of its own; port 0 takes any free one."""

    def __init__(self, *, shelf: Shelf, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        catcher = Catcher(shelf)

        def connection() -> Any:
            return SMTP(
                catcher,
                data_size_limit=MAIL_BYTES_MAX,
                enable_SMTPUTF8=True,
                hostname="mailbox.localhost",
                timeout=_IDLE_SECONDS,
                loop=self._loop,
            )

        listening = self._loop.create_server(connection, host=HOST, port=port)
        self._server = self._loop.run_until_complete(listening)
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, name="smtp", daemon=True)

    def start(self) -> None:
        """This function will begin to take mail."""
        self._thread.start()

    def stop(self) -> None:
        """This function will take no more mail."""
        self._loop.call_soon_threadsafe(self._server.close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=2)
