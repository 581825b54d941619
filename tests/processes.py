"""Python processes of tests: forked from the one that has imported the application.

Where no such process serves, as for somebody who only opens a simulator's till, a fresh interpreter
does the same.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.zygote import ADDRESS, ANSWER

ROOT = Path(__file__).resolve().parents[1]


class Forked(subprocess.Popen[Any]):
    """A process that is not this one's child, held as if it were."""

    _call: socket.socket

    def _execute_child(self, args: Sequence[str], *given: Any) -> None:
        directory, environment, pipes, session = given[4], given[5], given[9:15], given[20]
        told = {
            "command": list(args),
            "directory": str(directory),
            "environment": dict(environment),
            "session": session,
        }
        # Its input, output and errors; ours, where no other is named.
        fds = [own if fd == -1 else fd for own, fd in enumerate((pipes[0], pipes[3], pipes[5]))]
        self._call = socket.socket(socket.AF_UNIX)
        self._call.connect(os.environ[ADDRESS])
        socket.send_fds(self._call, [b"!"], fds)
        self._call.sendall(json.dumps(told).encode() + b"\n")
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
        self.pid = self._heard()
        self._child_created = True

    def _heard(self) -> int:
        answer = self._call.recv(ANSWER.size, socket.MSG_WAITALL)
        if len(answer) < ANSWER.size:
            raise RuntimeError("the process to fork others from has ended")
        return int(ANSWER.unpack(answer)[0])

    def _internal_poll(self, *_given: Any, **_more: Any) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._wait(0)
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if timeout is not None and not select.select([self._call], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout)
            self.returncode = self._heard()
            self._call.close()
        return self.returncode


def start(
    *command: str, environment: Mapping[str, str], text: bool = True, **given: Any
) -> subprocess.Popen[Any]:
    """This function will start what `python *command` does: `-m module …` or `-c code …`.

    `given` is what `subprocess.Popen` takes: stdin, stdout, stderr, start_new_session.
    """
    given = {"cwd": ROOT, "env": environment, "text": text, **given}
    if ADDRESS in os.environ:
        return Forked(command, **given)
    return subprocess.Popen([sys.executable, *command], **given)


def run(
    *command: str,
    environment: Mapping[str, str],
    timeout: float,
    words: str = "",
    directory: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """This function will start it, say `words` to it and wait for its end.

    Raises: subprocess.TimeoutExpired, after killing it.
    """
    pipe = subprocess.PIPE
    given = {"cwd": directory, "stdin": pipe, "stdout": pipe, "stderr": pipe}
    with start(*command, environment=environment, **given) as process:
        try:
            output, errors = process.communicate(words, timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, output, errors)
