"""A process that has imported the application, to fork commands from.

Importing takes longer than most commands do. A command that is forked from here still is a process
of its own, with its own arguments, environment and output; nothing is configured or connected yet
where it begins. `python -m tests.zygote SOCKET` serves until its standard input ends.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

START_SECONDS_MAX = 60
_FDS = 2  # standard output and error


class Zygote:
    """The tests' end: it starts the process when the first command is run."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self._folder = tempfile.TemporaryDirectory(prefix="tenantry-zygote-")
        self._address = f"{self._folder.name}/socket"

    def run(
        self, arguments: Sequence[str], *, environment: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """This function will run a Flask command and wait for it.

        Raises: subprocess.TimeoutExpired, after killing it.
        """
        self._start()
        with (
            tempfile.TemporaryFile() as output,
            tempfile.TemporaryFile() as errors,
            socket.socket(socket.AF_UNIX) as call,
        ):
            call.connect(self._address)
            fds = array.array("i", [output.fileno(), errors.fileno()])
            socket.send_fds(call, [b"!"], list(fds))
            call.sendall(json.dumps([list(arguments), dict(environment)]).encode() + b"\n")
            answers = call.makefile()
            pid = int(answers.readline())
            call.settimeout(timeout)
            try:
                code = int(answers.readline())
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(["flask", *arguments], timeout) from None
            texts = []
            for file in (output, errors):
                file.seek(0)
                texts.append(file.read().decode())
        return subprocess.CompletedProcess(["flask", *arguments], code, *texts)

    def _start(self) -> None:
        with self._starting:
            if self._process is not None:
                return
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.zygote", self._address],
                cwd=self._root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._process.stdout is not None
            if not self._process.stdout.readline():
                raise RuntimeError("the process to fork commands from does not start")

    def stop(self) -> None:
        """This function will end the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        self._folder.cleanup()


def serve(address: str) -> None:
    """This function will fork a command for each call, until nobody is there to call."""
    # Here and not above: the tests' own process imports this module too.
    import app.cli
    import app.factory
    import app.web  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as waiting:
        door.bind(address)
        door.listen(16)
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this line
        waiting.register(door, selectors.EVENT_READ)
        waiting.register(sys.stdin.fileno(), selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is not door:
                    return
                call, _ = door.accept()
                if os.fork() == 0:
                    _answer(call)
                call.close()


def _answer(call: socket.socket) -> None:
    """In a child: fork the command, and tell its pid and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, fds, _, _ = socket.recv_fds(call, 1, _FDS)
    arguments, environment = json.loads(call.makefile().readline())
    pid = os.fork()
    if pid == 0:
        call.close()
        _become(arguments, environment, fds)
    call.sendall(f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    call.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _become(arguments: Sequence[str], environment: Mapping[str, str], fds: Sequence[int]) -> None:
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, fd in enumerate(fds, start=1):
        os.dup2(fd, number)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["flask", *arguments]
    code = 1
    try:
        from flask.cli import main

        from app.base.config import settings

        settings.cache_clear()

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
