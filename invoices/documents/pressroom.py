"""The press process: `python -m invoices.documents.pressroom FD`.

It is started with a clean environment and one socket, holds a warm WeasyPrint, and forks a
child per document. So a document shares its process with no secret, no database connection and
no other document; what it wastes or breaks dies with the child. Each child gets a socket of its
own for the request and the PDF; the control socket only passes those sockets in, and its end of
file is the order to leave.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from invoices.documents import specimens, typesetting
from invoices.documents.limits import DocumentRefused
from invoices.documents.shelf import kind_of

if TYPE_CHECKING:
    from invoices.documents.weasy import Engine

CHILDREN_MAX = 8
READ_SECONDS = 30
OPEN_FILES_MAX = 64
_CHUNK_BYTES = 1 << 20
# A child without memory has none to say so with: it ends with this status, and we say it.
_OUT_OF_MEMORY_STATUS = 12
_OUT_OF_MEMORY = b'{"failed": "memory", "reason": "MemoryError"}\n'
_FORBIDDEN = (
    "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.sendto", "socket.sendmsg", "subprocess.Popen", "os.system", "os.exec",
    "os.posix_spawn", "os.fork", "os.remove", "os.rename", "shutil.rmtree", "ctypes.dlopen",
)  # fmt: skip


def main(control_fd: int) -> None:
    """This function will warm the press, say so, and print until the control socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=control_fd)
    try:
        printer = _warm()
    except Exception as failure:  # reported to the starter, which owns the log
        missing = isinstance(failure, OSError)
        reason = str(failure).splitlines()[0] if missing else type(failure).__name__
        answer = {"ready": False, "library_missing": missing, "reason": reason}
        control.sendall(json.dumps(answer).encode() + b"\n")
        return
    control.sendall(b'{"ready": true}\n')
    _serve(control, printer)


def _warm() -> Engine:
    """A few papers, so that fonts and caches are shared by all forks.

    They bring both style sheets, both weights of the font and the letters of both languages. One of
    every kind in each would spare later papers a few milliseconds, and keep whoever starts the
    press waiting for more than a second.
    """
    from invoices.documents import weasy  # noqa: PLC0415, where a missing pango is reported

    printer = weasy.engine()
    for paper, language in specimens.warming():
        html = typesetting.typeset(paper, language)
        style = typesetting.STYLES[kind_of(paper)]
        printer.print(html, style=style, identifier=b"")
    printer.missing.characters.clear()
    weasy.settle()
    return printer


def _serve(control: socket.socket, printer: Engine) -> None:
    bell, ringer = os.pipe()
    os.set_blocking(bell, False)
    os.set_blocking(ringer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ringer, warn_on_full_buffer=False)
    children: dict[int, socket.socket] = {}
    idle_bytes = _address_space_bytes()
    while True:
        waiting: list[Any] = [bell, *([control] if len(children) < CHILDREN_MAX else [])]
        readable, _, _ = select.select(waiting, [], [])
        if bell in readable:
            os.read(bell, 4096)
        _reap(children)
        if control not in readable:
            continue
        document = _next(control)
        if document is None:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (control, *children.values()):
                inherited.close()
            os.close(bell)
            os.close(ringer)
            _work(document, printer, idle_bytes)
        children[pid] = document


def _next(control: socket.socket) -> socket.socket | None:
    """This function will take one document's socket off the control socket; None at its end."""
    _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
    return socket.socket(fileno=descriptors[0]) if descriptors else None


def _reap(children: dict[int, socket.socket]) -> None:
    """This function will collect ended children and tell the client of a violent end.

    A child that ends by itself has said everything, unless it had no memory for that; one that was
    killed could not, so its signal follows whatever it wrote.
    """
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            continue
        with children.pop(pid) as document:
            if os.WIFSIGNALED(status):
                _tell(document, struct.pack("!i", os.WTERMSIG(status)))
            elif os.WEXITSTATUS(status) == _OUT_OF_MEMORY_STATUS:
                _tell(document, _OUT_OF_MEMORY)


def _tell(document: socket.socket, last_words: bytes) -> None:
    document.setblocking(False)
    with suppress(OSError):  # the client is gone, or does not read: its own deadline ends it
        document.sendall(last_words)


def _work(document: socket.socket, printer: Engine, idle_bytes: int) -> NoReturn:
    """This function will print one document in the child and end the process.

    Memory may run out at any line, also while an answer is being written down.
    """
    status = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, READ_SECONDS)
        order, html = _order(document)
        _confine(order, idle_bytes)
        answer, pdf = _printed(printer, order, html)
        header = json.dumps(answer).encode() + b"\n"
        document.sendall(header)
        document.sendall(pdf)
        status = 0
    except MemoryError:
        status = _OUT_OF_MEMORY_STATUS
    finally:
        os._exit(status)


def _order(document: socket.socket) -> tuple[dict[str, Any], str]:
    parts = []
    while part := document.recv(_CHUNK_BYTES):
        parts.append(part)
    header, _, html = b"".join(parts).partition(b"\n")
    return json.loads(header), html.decode()


def _confine(order: dict[str, Any], idle_bytes: int) -> None:
    """This function will set the child's limits; the kernel keeps them, also inside C code.

    The alarm's default action ends the process, so no watchdog is needed. macOS does not
    enforce RLIMIT_AS.
    """
    signal.setitimer(signal.ITIMER_REAL, order["wall_seconds"])
    cpu_seconds, memory_bytes = order["cpu_seconds"], idle_bytes + order["memory_bytes"]
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES_MAX, OPEN_FILES_MAX))
    readable = tuple(
        str(Path(root).resolve()) for root in (sys.prefix, sys.base_prefix, Path(__file__).parent)
    )

    def guard(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _FORBIDDEN:
            raise PermissionError(event)
        if event != "open" or not isinstance(arguments[0], str):
            return
        if not os.path.realpath(arguments[0]).startswith(readable):
            raise PermissionError(event)

    sys.addaudithook(guard)


def _printed(printer: Engine, order: dict[str, Any], html: str) -> tuple[dict[str, Any], bytes]:
    """This function will return what to answer and the PDF, empty when it failed.

    A failure is told by its class only: messages may quote the document. Raises: MemoryError.
    """
    try:
        pdf = printer.print(
            html, style=order["style"], identifier=bytes.fromhex(order["identifier"])
        )
    except DocumentRefused as refused:
        return {"failed": "refused", "reason": str(refused)}, b""
    except MemoryError:
        raise
    except Exception as failure:
        if _wants_memory(failure):
            raise MemoryError from None
        return {"failed": "broken", "reason": type(failure).__name__}, b""
    missing = sorted(printer.missing.characters)
    digest = hashlib.sha256(pdf).hexdigest()
    return {"pdf_bytes": len(pdf), "sha256": digest, "missing": missing}, pdf


def _wants_memory(failure: BaseException | None) -> bool:
    """This function will tell whether memory is behind a failure: libraries call it other names."""
    while failure is not None:
        if isinstance(failure, MemoryError) or getattr(failure, "errno", None) == errno.ENOMEM:
            return True
        failure = failure.__context__
    return False


def _address_space_bytes() -> int:
    """This function will return how much address space the idle press holds (0 if unknown)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except FileNotFoundError:
        return 0
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main(int(sys.argv[1]))
