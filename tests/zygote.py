"""A process that has imported the application, to fork Python processes from.

Importing takes longer than most of what tests start. What is forked from here still is a process of
its own, with its own arguments, environment, input and output; nothing is configured or connected
yet where it begins. `python -m tests.zygote SOCKET` serves until its standard input ends. Each call
brings three descriptors and a line of JSON, and is answered by the pid and then by how it ended.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Where those who start processes find the one to fork from.
ADDRESS = "TENANTRY_TEST_ZYGOTE"
ANSWER = struct.Struct("=q")
# What `python -m` is asked for, and what takes long to import without being the application.
_PRELOADED = (
    *("app.factory", "app.web", "app.sandbox.command", "app.mailbox.command"),
    *("app.embedded.system", "app.cli.demo", "app.cli.bench", "app.cli.seed"),
    *("jobs.worker", "jobs.dispatcher", "jobs.timetable"),
    *("tests.factories", "tests.template", "tests.fakes.stripe.server", "tests.fakes.toss.server"),
    *("tests.fakes.portone.server", "alembic.command", "httpx", "psutil", "flask.cli", "pytest"),
)


class Zygote:
    """The tests' end of it: started once for all workers of a run."""

    def __init__(self, root: Path) -> None:
        """This function will start the process without waiting until it serves."""
        self._folder = tempfile.TemporaryDirectory(prefix="tenantry-zygote-")
        address = f"{self._folder.name}/socket"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.zygote", address],
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        os.environ[ADDRESS] = address

    def wait(self) -> None:
        """This function will return when there is something to fork from."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            raise RuntimeError("the process to fork others from does not start")

    def stop(self) -> None:
        """This function will end the process."""
        os.environ.pop(ADDRESS, None)
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()


def serve(address: str) -> None:
    """This function will fork a process for each call, until nobody is there to call."""
    calls: dict[int, socket.socket] = {}
    bell, ringing = os.pipe()
    for end in (bell, ringing):
        os.set_blocking(end, False)
    # Any handler will do: the end of a child must wake the loop.
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(ringing, warn_on_full_buffer=False)
    with socket.socket(socket.AF_UNIX) as door, selectors.DefaultSelector() as waiting:
        door.bind(address)
        door.listen(64)
        print("ready", flush=True)  # noqa: T201 - whoever started it waits for this line
        for source in (door, bell, sys.stdin.fileno()):
            waiting.register(source, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fileobj is door:
                    call, _ = door.accept()
                    _, fds, _, _ = socket.recv_fds(call, 1, 3)
                    with call.makefile() as lines:
                        told = json.loads(lines.readline())
                    pid = os.fork()
                    if pid == 0:
                        for end in (bell, ringing):
                            os.close(end)
                        for each in (waiting, door, call, *calls.values()):
                            each.close()
                        _become(told, fds)
                    for fd in fds:
                        os.close(fd)
                    calls[pid] = call
                    _say(call, pid)
                elif key.fileobj == bell:
                    os.read(bell, 4096)
                    _tell_who_ended(calls)
                else:
                    return


def _tell_who_ended(calls: dict[int, socket.socket]) -> None:
    while calls:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        with calls.pop(pid) as call:
            _say(call, os.waitstatus_to_exitcode(status))


def _say(call: socket.socket, number: int) -> None:
    try:
        call.sendall(ANSWER.pack(number))
    except BrokenPipeError:
        return  # nobody asks any more


def _become(told: dict[str, Any], fds: Sequence[int]) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if told["session"]:
        os.setsid()
    for number, fd in enumerate(fds):
        os.dup2(fd, number)
        os.close(fd)
    code = 1
    try:
        os.chdir(told["directory"])
        os.environ.clear()
        os.environ.update(told["environment"])
        _run(told["command"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)  # noqa: T201 - as the interpreter does
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run(command: Sequence[str]) -> None:
    """What the interpreter does with `-m module …` and `-c code …`."""
    from app.base.config import settings

    settings.cache_clear()
    how, what, *arguments = command
    path = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]
    sys.path[:0] = [each for each in path if each not in sys.path]
    sys.argv = [how, *arguments]
    if how == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
        return
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    exec(compile(what, "<string>", "exec"), vars(main))  # noqa: S102 - what a test wrote


def _import_everything() -> None:
    for name in _PRELOADED:
        importlib.import_module(name)
    from sqlalchemy.orm import configure_mappers

    from app.cli import COMMANDS
    from jobs.registry import all_steps

    for path in COMMANDS.values():
        importlib.import_module(path.partition(":")[0])
    all_steps()
    configure_mappers()


if __name__ == "__main__":
    _import_everything()
    # Whoever is forked shares these objects and need not walk them.
    gc.collect()
    gc.freeze()
    serve(sys.argv[1])
