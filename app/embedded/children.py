"""One supervised process: its description, its start, its end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from app.embedded import forks
from app.embedded.accounts import Account

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
BACKOFF_SECONDS_FIRST = 0.2
BACKOFF_SECONDS_MAX = 10.0
STEADY_SECONDS = 10.0  # alive this long, an end counts as the first again
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
Running = subprocess.Popen[bytes] | forks.Forked


@dataclass(frozen=True)
class Process:
    """What to run and how to tell that it runs.

    `ready` is asked with the pid until it says yes; None means ready once started. A process with
    `once` must end by itself with 0 before the next stage begins. `ladder` lists the signals that
    ask it to end and the seconds it has after each; SIGKILL follows. One that is `forked` is a
    module of ours, which its supervisor has imported.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path = Path("/")
    ready: Callable[[int], bool] | None = None
    ready_seconds: float = 60.0
    asked: str = ""  # what `ready` asks, for whoever reads why it never said yes
    once: bool = False
    ladder: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 2.0),)
    account: Account | None = None
    before_start: Callable[[], None] | None = None
    forked: bool = False


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent died, so that none of them is lost."""
    if _LIBC is not None:  # macOS has no such thing: leftovers are found at the next start
        _LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def spawn(process: Process, *, extra: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that ends when we end, however we end."""
    if process.before_start is not None:
        process.before_start()
    account = process.account
    return subprocess.Popen(
        process.command,
        env={**process.environment, **extra},
        cwd=process.directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        # After the change of user, which would clear the wish again.
        preexec_fn=_last_wish(process),  # noqa: PLW1509 we start processes from one thread only
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
    )


def begin(process: Process, *, extra: Mapping[str, str], output: int) -> Running:
    """Start a process as `spawn` does: forked, if it is one of those."""
    if not process.forked:
        return spawn(process, extra=extra, output=output)
    return forks.fork(
        process.command,
        name=process.name,
        environment={**process.environment, **extra},
        directory=process.directory,
        output=output,
        before_start=_last_wish(process),
    )


def _last_wish(process: Process) -> Callable[[], None]:
    """Return what a child calls to end when we end."""
    parent = os.getpid()
    number = int(process.ladder[0][0])

    def end_with_parent() -> None:
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
            if os.getppid() != parent:
                os._exit(1)

    return end_with_parent


class Child:
    """A process under supervision: running, or waiting for its next start."""

    def __init__(self, process: Process):
        self.process = process
        self.popen: Running | None = None
        self.ready = False
        self.ended = False  # a `once` process that ended well
        self.started_at = 0.0
        self.start_at = 0.0  # when to start (again), on the monotonic clock
        self.failures = 0
        self.offspring: list[psutil.Process] = []

    @property
    def pid(self) -> int | None:
        return None if self.popen is None else self.popen.pid

    def started(self, popen: Running) -> None:
        """Note that the process runs."""
        self.popen = popen
        self.started_at = time.monotonic()
        self.ready = self.process.ready is None and not self.process.once

    def gone(self, now: float) -> float:
        """Note an end that was not asked for; return the seconds until the next start."""
        if now - self.started_at >= STEADY_SECONDS:
            self.failures = 0
        delay: float = min(BACKOFF_SECONDS_FIRST * 2**self.failures, BACKOFF_SECONDS_MAX)
        self.failures += 1
        self.popen = None
        self.ready = False
        self.start_at = now + delay
        return delay

    def probe(self) -> bool:
        """Ask whether the process is ready; once it was, it stays so until it ends."""
        if not self.ready and self.pid is not None and self.process.ready is not None:
            self.ready = self.process.ready(self.pid)
        return self.ready

    def family(self) -> list[psutil.Process]:
        """Return the process's descendants as they are now."""
        if self.pid is None:
            return []
        try:
            found: list[psutil.Process] = psutil.Process(self.pid).children(recursive=True)
        except psutil.Error:
            return []
        return found

    def kill_group(self, pid: int) -> None:
        """Kill what is left of the process's group."""
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return
