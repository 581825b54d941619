"""The output of supervised processes: into a file each, and on the terminal behind their names."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TextIO

LOG_BYTES_MAX = 10 * 1024 * 1024  # per process; one older file is kept beside it
LINE_BYTES_MAX = 64 * 1024
# What a line of our own logs says of itself when nothing is amiss.
_ROUTINE = b'"level": "info"'
COLOURS = (36, 32, 33, 35, 34, 96, 92, 93, 95, 94)


class LogLines:
    """Takes what one process says, cut into lines."""

    def __init__(self, name: str, directory: Path, *, echo: TextIO | None, width: int, place: int):
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{name}.log"
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 closed by close()
        self._rest = b""
        self._echo = echo
        label = f"{name:<{width}} │ "
        coloured = echo is not None and echo.isatty()
        self._label = f"\x1b[{COLOURS[place % len(COLOURS)]}m{label}\x1b[0m" if coloured else label

    def take(self, data: bytes) -> None:
        """Write what came, and show the lines that are complete."""
        self._file.write(data)
        if os.fstat(self._file.fileno()).st_size > LOG_BYTES_MAX:
            self._start_anew()
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()[-LINE_BYTES_MAX:]
        for line in lines:
            self._show(line)

    def close(self) -> None:
        """Show what was said last, also without an end of line."""
        if self._rest:
            self._show(self._rest)
            self._rest = b""
        self._file.close()

    def tail(self, lines: int = 15) -> str:
        """Return the last lines of the file."""
        return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:])

    def _start_anew(self) -> None:
        self._file.close()
        self.path.replace(self.path.with_suffix(".log.1"))
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 closed by close()

    def _show(self, line: bytes) -> None:
        # The file has it all. A terminal that told of every request would bury the logins.
        if self._echo is None or (line.startswith(b"{") and _ROUTINE in line):
            return
        try:
            self._echo.write(self._label + line.decode(errors="replace") + "\n")
            self._echo.flush()
        except (OSError, ValueError):
            self._echo = None  # The terminal is gone; the files go on.


def terminal() -> TextIO | None:
    """Return standard output where there is one to write to."""
    return sys.stdout if sys.stdout is not None and not sys.stdout.closed else None
