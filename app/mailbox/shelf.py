"""Where mails lie: one .eml file each, the newest so many of them."""

from __future__ import annotations

import json
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.mailbox import letters
from app.mailbox.letters import Letter

LETTERS_MAX = 5_000
# Stands before the mail's own headers; any mail program reads over it.
_ENVELOPE = "X-Mailbox-Envelope"


@dataclass(frozen=True, slots=True)
class Entry:
    """What the list shows without opening the mail."""

    id: str
    received_at: datetime
    sender: str
    recipients: tuple[str, ...]
    subject: str


class Shelf:
    """The mails of one directory, and what was read of each when it came."""

    def __init__(self, *, directory: Path, letters_max: int = LETTERS_MAX) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._letters_max = letters_max
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._last_stamp = 0
        for half in directory.glob(".*.part"):
            half.unlink()
        for path in sorted(directory.glob("*.eml")):
            self._enter(self._open(path.stem))

    def put(self, *, sender: str, recipients: list[str], raw: bytes) -> str:
        """This function will store a mail and return its id once the disk has it.

        Raises: OSError; then nothing was stored.
        """
        envelope = json.dumps(
            {"from": sender, "to": recipients, "at": datetime.now(UTC).isoformat()}
        )
        with self._lock:
            # Two mails in one tick of the clock still have an order.
            self._last_stamp = max(time.time_ns(), self._last_stamp + 1)
            letter_id = f"{self._last_stamp:020d}-{secrets.token_hex(4)}"
            self._write(letter_id, f"{_ENVELOPE}: {envelope}\r\n".encode() + raw)
            self._enter(self._open(letter_id))
            while len(self._entries) > self._letters_max:
                oldest = next(iter(self._entries))
                self._path(oldest).unlink(missing_ok=True)
                del self._entries[oldest]
        return letter_id

    def entries(self, *, to: str = "", subject: str = "", after: str = "") -> list[Entry]:
        """This function will list mails, newest first.

        `to` is one whole address, `subject` a part, `after` the id that all must be newer than.
        """
        with self._lock:
            found = list(reversed(self._entries.values()))
        return [
            entry
            for entry in found
            if (not to or to.casefold() in [address.casefold() for address in entry.recipients])
            and subject.casefold() in entry.subject.casefold()
            and entry.id > after
        ]

    def letter(self, letter_id: str) -> Letter | None:
        """This function will open a mail, or return None when there is none of that id."""
        with self._lock:
            return self._open(letter_id) if letter_id in self._entries else None

    def source(self, letter_id: str) -> bytes | None:
        """This function will return a mail as it came over the wire."""
        with self._lock:
            if letter_id not in self._entries:
                return None
            return self._path(letter_id).read_bytes().partition(b"\r\n")[2]

    def _path(self, letter_id: str) -> Path:
        return self._directory / f"{letter_id}.eml"

    def _open(self, letter_id: str) -> Letter:
        first, _, raw = self._path(letter_id).read_bytes().partition(b"\r\n")
        envelope = json.loads(first.removeprefix(f"{_ENVELOPE}: ".encode()))
        return letters.read(
            letter_id=letter_id,
            received_at=datetime.fromisoformat(envelope["at"]),
            sender=envelope["from"],
            recipients=tuple(envelope["to"]),
            raw=raw,
        )

    def _enter(self, letter: Letter) -> None:
        self._entries[letter.id] = Entry(
            id=letter.id,
            received_at=letter.received_at,
            sender=letter.sender,
            recipients=letter.recipients,
            subject=letter.subject,
        )

    def _write(self, letter_id: str, content: bytes) -> None:
        fresh = self._directory / f".{letter_id}.part"
        try:
            with fresh.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path(letter_id))
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
