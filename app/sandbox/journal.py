"""The gateway's memory: rows in an append-only file, so that a kill -9 forgets nothing.

Each line is one change, all of it or none: a list of [table, row]. Rows are replaced by id.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Row = dict[str, Any]

TABLES = (
    "registrations", "methods", "accounts", "payments", "refunds", "movements", "replies", "events",
)  # fmt: skip


class DirectoryTaken(Exception):
    """Another process writes the journal in this directory."""


class Book:
    """Every row the gateway knows, in memory and on disk. Hold `lock` from reading to writing."""

    def __init__(self, *, directory: Path, tables: Iterable[str] = TABLES) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self._tables: dict[str, dict[str, Row]] = {name: {} for name in tables}
        self._path = directory / "journal.jsonl"
        self._lock_file = (directory / "lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock_file.close()
            raise DirectoryTaken(f"{directory} is in use by another sandbox gateway.") from error
        self._replay()
        self._compact()
        self._file = self._path.open("ab", buffering=0)

    def rows(self, table: str) -> list[Row]:
        """This function will return the table's rows, oldest first."""
        with self.lock:
            return list(self._tables[table].values())

    def get(self, table: str, row_id: str) -> Row | None:
        """This function will return one row, or None."""
        with self.lock:
            return self._tables[table].get(row_id)

    def write(self, rows: Iterable[tuple[str, Row]]) -> None:
        """This function will store the rows as one change and return when the disk has them.

        Raises: OSError; then nothing was stored.
        """
        change = [[table, row] for table, row in rows]
        with self.lock:
            size = os.fstat(self._file.fileno()).st_size
            try:
                _write_whole(self._file.fileno(), _line(change))
            except OSError:
                # A half line would be glued to the next one.
                os.ftruncate(self._file.fileno(), size)
                raise
            self._apply(change)
            self.changed.notify_all()

    def close(self) -> None:
        """This function will release the directory."""
        self._file.close()
        self._lock_file.close()

    def _apply(self, change: list[Any]) -> None:
        for table, row in change:
            self._tables[table][row["id"]] = row

    def _replay(self) -> None:
        if not self._path.exists():
            return
        for line in self._path.read_bytes().splitlines(keepends=True):
            # Only the last line can be torn, and then nobody was told that it happened.
            if line.endswith(b"\n"):
                self._apply(json.loads(line))

    def _compact(self) -> None:
        fresh = self._path.with_suffix(".new")
        with fresh.open("wb") as file:
            for table, rows in self._tables.items():
                for row in rows.values():
                    file.write(_line([[table, row]]))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)


def _line(change: list[Any]) -> bytes:
    return json.dumps(change, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write_whole(descriptor: int, line: bytes) -> None:
    written = 0
    while written < len(line):
        written += os.write(descriptor, line[written:])
    os.fsync(descriptor)
