"""Reading mail at the mail catcher, as a person does in theirs."""

from __future__ import annotations

import time
from typing import Any

import httpx

from app.base import authorities
from app.cli.demo.browser import DidNotWork

PATIENCE_SECONDS = 30.0


class Mailbox:
    """Everything that was sent, by whom it was sent to."""

    def __init__(self, address: str) -> None:
        self.read = 0
        self._client = httpx.Client(
            base_url=address, timeout=10, verify=authorities.trusted(at=address)
        )

    def link(self, to: str, part: str) -> str:
        """This function will wait for a mail to somebody and return its link that holds `part`.

        Raises: DidNotWork when none comes in time.
        """
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            for letter in self.letters(to):
                for link in letter["links"]:
                    if part in link:
                        self.read += 1
                        return str(link)
            time.sleep(0.05)
        raise DidNotWork(f"no mail with a link to {part} came within {PATIENCE_SECONDS:.0f} s")

    def letters(self, to: str = "") -> list[dict[str, Any]]:
        """This function will list the newest mails to somebody, or to anybody."""
        answer = self._client.get("/api/messages", params={"to": to} if to else None)
        answer.raise_for_status()
        return list(answer.json()["messages"])

    def total(self) -> int:
        """This function will return how many mails came in all."""
        return int(self._client.get("/api/messages", params={"limit": 1}).json()["total"])
