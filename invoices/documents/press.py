"""Our end of the press: starts it, hands it documents, takes PDFs back.

A process starts one press lazily and keeps it; processes forked afterwards share it, for every
document travels on a socket of its own. `start()` before forking spares each fork the time that
warming takes.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoices.documents.limits import (
    DocumentOverdue,
    DocumentRefused,
    DocumentTooCostly,
    PressUnavailable,
    RenderLimits,
)

APT_LINE = "apt-get install -y libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
START_SECONDS = 60
GRACE_SECONDS = 5.0
_ROOT = Path(__file__).resolve().parents[2]
# All that the press inherits. No setting of ours is in it, so a document cannot print one.
_PASSED_ON = (
    "PATH", "HOME", "XDG_CACHE_HOME", "LD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH",
)  # fmt: skip


@dataclass(frozen=True)
class Printed:
    """A PDF, its digest, and the characters that no font had."""

    pdf: bytes
    sha256: str
    missing_characters: tuple[str, ...]


@dataclass
class _Press:
    process: subprocess.Popen[bytes]
    control: socket.socket
    starter_pid: int


class _Held:
    """The press of this process. A fork keeps the press, but not a lock that it cannot release."""

    def __init__(self) -> None:
        self.press: _Press | None = None
        self.refresh()

    def refresh(self) -> None:
        self.lock = threading.Lock()


_held = _Held()
os.register_at_fork(after_in_child=_held.refresh)


def start() -> None:
    """This function will start the press if this process, or the one it came from, has none.

    Raises: PressUnavailable, naming the packages, when pango is missing.
    """
    _current()


def stop() -> None:
    """This function will let go of the press; it leaves when nobody holds it any more."""
    with _held.lock:
        press, _held.press = _held.press, None
    if press is not None:
        _leave(press)


def _current() -> _Press:
    with _held.lock:
        if _held.press is None:
            _held.press = _started()
        return _held.press


def _forget(press: _Press) -> None:
    """This function will let go of a dead press, unless another thread has replaced it already."""
    with _held.lock:
        if _held.press is not press:
            return
        _held.press = None
    _leave(press)


def _leave(press: _Press) -> None:
    press.control.close()
    if press.starter_pid != os.getpid():
        press.process.returncode = 0  # another process's child: nothing to wait for
        return
    try:
        press.process.wait(timeout=GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        press.process.kill()
        press.process.wait()


atexit.register(stop)


def render(
    html: str,
    *,
    style: str | None = None,
    identifier: bytes = b"",
    limits: RenderLimits | None = None,
) -> Printed:
    """This function will print HTML in a process of its own and return the PDF.

    `style` names a parsed style sheet (paper, tax_invoice). Raises: DocumentRefused,
    DocumentTooCostly, DocumentOverdue, PressUnavailable; the caller's process is never at risk.
    """
    limits = limits or RenderLimits()
    body = html.encode("utf-8", "replace")
    if len(body) > limits.html_bytes_max:
        raise DocumentTooCostly(f"The document has more than {limits.html_bytes_max} bytes.")
    order = {
        "style": style,
        "identifier": identifier.hex(),
        "cpu_seconds": limits.cpu_seconds,
        "wall_seconds": limits.wall_seconds,
        "memory_bytes": limits.memory_bytes,
    }
    with _submitted() as line:
        exchange = _Exchange(line, time.monotonic() + limits.wall_seconds + GRACE_SECONDS)
        exchange.send(json.dumps(order).encode() + b"\n" + body)
        return _answer(exchange, limits)


def _submitted() -> socket.socket:
    """This function will pass a fresh socket to the press, restarting one that has died."""
    for _ in range(2):
        press = _current()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(press.control, [b"."], [theirs.fileno()])
            except OSError:
                ours.close()
                _forget(press)
            else:
                return ours
    raise PressUnavailable("The document printer stopped twice in a row. Try again in a moment.")


class _Exchange:
    """One document's socket under one deadline."""

    def __init__(self, line: socket.socket, deadline: float) -> None:
        self._line, self._deadline, self.received = line, deadline, bytearray()

    def _patience(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise DocumentOverdue("The document was not printed in time. Try again later.")
        self._line.settimeout(left)

    def send(self, body: bytes) -> None:
        """This function will send the order; a child that is dead already says so in its answer."""
        self._patience()
        try:
            self._line.sendall(body)
            self._line.shutdown(socket.SHUT_WR)
        except TimeoutError as late:
            raise DocumentOverdue("The document printer is busy. Try again later.") from late
        except (BrokenPipeError, ConnectionResetError):
            return

    def read(self) -> bool:
        """This function will add what has arrived; False at the end."""
        self._patience()
        try:
            part = self._line.recv(1 << 20)
        except TimeoutError as late:
            raise DocumentOverdue("The document was not printed in time.") from late
        except ConnectionResetError:
            return False
        self.received += part
        return bool(part)


def _answer(exchange: _Exchange, limits: RenderLimits) -> Printed:
    while b"\n" not in exchange.received:
        if not exchange.read():
            raise _violent_end(exchange.received)
    header, _, pdf = bytes(exchange.received).partition(b"\n")
    answer: dict[str, Any] = json.loads(header)
    if "failed" in answer:
        raise _failure(answer)
    if answer["pdf_bytes"] > limits.pdf_bytes_max:
        raise DocumentTooCostly(f"The PDF has more than {limits.pdf_bytes_max} bytes.")
    start_at = len(header) + 1
    while len(exchange.received) < start_at + answer["pdf_bytes"]:
        if not exchange.read():
            raise _violent_end(exchange.received)
    pdf = bytes(exchange.received[start_at : start_at + answer["pdf_bytes"]])
    if hashlib.sha256(pdf).hexdigest() != answer["sha256"]:
        raise _violent_end(exchange.received)
    return Printed(pdf, answer["sha256"], tuple(answer["missing"]))


def _failure(answer: dict[str, Any]) -> Exception:
    reason = answer["reason"]
    if answer["failed"] == "refused":
        return DocumentRefused(f"The document asks for an address that is not ours ({reason}:).")
    if answer["failed"] == "memory":
        return DocumentTooCostly("The document needs more memory than it may have.")
    return DocumentRefused(f"The document cannot be laid out ({reason}).")


def _violent_end(received: bytearray) -> Exception:
    """This function will explain a child that was killed, by the signal that the press reports."""
    if len(received) < 4:
        return PressUnavailable("The document printer stopped. Try again in a moment.")
    number = struct.unpack("!i", received[-4:])[0]
    if number == signal.SIGXCPU:
        return DocumentTooCostly("The document needs more processor time than it may have.")
    if number == signal.SIGALRM:
        return DocumentOverdue("The document was not printed in time.")
    if number in (signal.SIGABRT, signal.SIGTRAP, signal.SIGSEGV, signal.SIGBUS):
        # The C libraries abort when the memory limit refuses them an allocation.
        return DocumentTooCostly("The document broke the printer, most likely for want of memory.")
    return PressUnavailable(f"The document printer was ended by signal {number}. Try again.")


def environment() -> dict[str, str]:
    """This function will return the few variables that the press runs with."""
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return passed_on | {
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_ROOT),
        "FONTCONFIG_FILE": str(Path(__file__).parent / "fonts" / "fonts.conf"),
    }


def _started() -> _Press:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "invoices.documents.pressroom", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            # The C libraries' complaints quote documents, and documents name people.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    press = _Press(process, ours, os.getpid())
    reason = _unready(ours)
    if reason is None:
        ours.settimeout(None)
        return press
    ours.close()
    process.kill()
    process.wait()
    raise PressUnavailable(f"Documents cannot be printed here: {reason}")


def _unready(control: socket.socket) -> str | None:
    """This function will wait for the press to be warm; a reason when it will not be."""
    control.settimeout(START_SECONDS)
    said = bytearray()
    try:
        while not said.endswith(b"\n"):
            part = control.recv(4096)
            if not part:
                return "the printer ended while starting."
            said += part
    except TimeoutError:
        return f"the printer was not ready within {START_SECONDS} s."
    answer = json.loads(said)
    if answer["ready"]:
        return None
    if answer["library_missing"]:
        return f"{answer['reason']}. Pango is missing; on Debian: {APT_LINE}"
    return f"the printer failed to start ({answer['reason']})."
