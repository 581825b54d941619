"""Keeps a list of processes running: ordered start, restart with backoff, ordered stop.

Independent of what the processes are. Single-threaded: children ask the kernel to end with the
thread that started them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import selectors
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

import psutil

from app.embedded import identity
from app.embedded.children import Child, Process, adopt_orphans, begin
from app.embedded.errors import EmbeddedError
from app.embedded.log_lines import LogLines

TICK_SECONDS = 0.2
PROBE_SECONDS = 0.05  # while something is not ready yet
ORPHANS_SECONDS = 1.0  # how often we look for orphans: it takes a look at every process there is
FAILED_STARTS_MAX = 4  # before everything was ready once; afterwards we try for ever
STOP_SECONDS_MAX = 8.0  # for all processes together

Stages = Sequence[Sequence[Process]]


class StartFailed(EmbeddedError):
    """A process did not become ready; the message ends with what it said last."""


def claim(run_directory: Path, *, say: Callable[[str], None]) -> int:
    """Become the only supervisor of a directory, and stop what a killed one left behind.

    Returns the lock, which the kernel drops when this process ends.
    """
    run_directory.mkdir(parents=True, exist_ok=True)
    lock = os.open(run_directory / "supervisor.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise EmbeddedError(
            f"It runs already: another process holds {run_directory}/supervisor.lock."
        ) from None
    found = identity.stop_leftovers(run_directory, str(run_directory.resolve()))
    if found:
        say(f"Stopped {found} processes left over from a run that was killed.")
    return lock


class Supervisor:
    """Runs `stages` in order: the processes of one stage start together.

    Whoever makes one has claimed `run_directory` before.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        run_directory: Path,
        log_directory: Path,
        say: Callable[[str], None],
        echo: TextIO | None = None,
    ):
        self.run_directory = run_directory
        self.mark = str(run_directory.resolve())
        self.stages = [[Child(process) for process in stage] for stage in stages]
        self.say = say
        self._stopping = 0
        self._orphans_at = 0.0
        self._selector = selectors.DefaultSelector()
        names = [child.process.name for child in self._children()]
        width = max(map(len, names), default=0)
        self._logs = {
            name: LogLines(name, log_directory, echo=echo, width=width, place=place)
            for place, name in enumerate(names)
        }

    def run(
        self,
        *,
        on_ready: Callable[[], None] = lambda: None,
        on_tick: Callable[[], None] = lambda: None,
        until: Callable[[], bool] = lambda: False,
    ) -> int:
        """Start everything, keep it running until told to stop, stop it; return the exit code.

        `on_tick` is called a few times a second once everything runs, and `until` says that
        nobody needs us any more.
        """
        self._listen_to_signals()
        adopt_orphans()
        try:
            for stage in self.stages:
                self._start_stage(stage)
                if self._stopping:
                    return 0
            on_ready()
            while not self._stopping and not until():
                self._turn(TICK_SECONDS)
                on_tick()
            return 0
        except EmbeddedError as problem:
            self.say(str(problem))
            return 1
        finally:
            self.stop()
            for log in self._logs.values():
                log.close()

    def stop(self) -> None:
        """Stop everything in reverse order, within STOP_SECONDS_MAX; leave no process behind."""
        deadline = time.monotonic() + STOP_SECONDS_MAX
        for stage in reversed(self.stages):
            self._stop_stage([child for child in stage if child.popen is not None], deadline)
        identity.stop(identity.marked(self.mark), ladder=())
        for path in self.run_directory.glob("*.json"):
            path.unlink(missing_ok=True)
        self._drain()

    def _children(self) -> list[Child]:
        return [child for stage in self.stages for child in stage]

    # ---- starting

    def _start_stage(self, stage: list[Child]) -> None:
        for child in stage:
            self._start(child)
        began = time.monotonic()
        while not self._stopping:
            waiting = [child for child in stage if not (child.ready or child.ended)]
            for child in waiting:
                if child.failures > (0 if child.process.once else FAILED_STARTS_MAX):
                    raise self._failure(child, "failed" if child.process.once else "does not start")
                child.probe()
            waiting = [child for child in stage if not (child.ready or child.ended)]
            if not waiting:
                return
            for child in waiting:
                if time.monotonic() - began > child.process.ready_seconds:
                    patience = f"{child.process.ready_seconds:.0f} s {child.process.asked}"
                    raise self._failure(child, f"was not ready after {patience.strip()}")
            self._turn(PROBE_SECONDS)

    def _failure(self, child: Child, what: str) -> StartFailed:
        log = self._logs[child.process.name]
        self._drain()
        said = log.tail()
        words = f"It said last ({log.path}):\n{said}" if said else f"It said nothing ({log.path})."
        return StartFailed(f"{child.process.name} {what}. {words}")

    def _start(self, child: Child) -> None:
        child.started_at = time.monotonic()
        reader, writer = os.pipe()
        try:
            popen = begin(child.process, extra={identity.MARKER: self.mark}, output=writer)
        except (OSError, EmbeddedError) as problem:
            os.close(reader)
            self._logs[child.process.name].take(f"{problem}\n".encode())
            child.gone(time.monotonic())
            return
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self._selector.register(reader, selectors.EVENT_READ, self._logs[child.process.name])
        child.started(popen)
        identity.write(self.run_directory / f"{child.process.name}.json", popen.pid)

    # ---- running

    def _listen_to_signals(self) -> None:
        reader, writer = os.pipe()
        for descriptor in (reader, writer):
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        self._selector.register(reader, selectors.EVENT_READ, None)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        # Any handler will do: the end of a child must wake the loop at once.
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _asked_to_stop(self, *_: object) -> None:
        self._stopping += 1

    def _turn(self, seconds: float) -> None:
        """Wait for output, signals or time; then see to children that ended or are due."""
        self._read(seconds)
        now = time.monotonic()
        for child in self._children():
            if child.popen is not None and child.popen.poll() is not None:
                self._ended(child, now)
            elif child.popen is None and not child.ended and 0 < child.start_at <= now:
                child.start_at = 0.0
                self._start(child)
            else:
                child.probe()
        if now >= self._orphans_at:
            self._orphans_at = now + ORPHANS_SECONDS
            self._reap_orphans()

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            try:
                data = os.read(key.fd, 65_536)
            except BlockingIOError:
                continue
            if key.data is None:
                continue
            if data:
                key.data.take(data)
            else:
                self._selector.unregister(key.fd)
                os.close(key.fd)

    def _drain(self) -> None:
        """Read what was said until now."""
        for _ in range(1_000):
            if not self._selector.select(0):
                return
            self._read(0)

    def _ended(self, child: Child, now: float) -> None:
        assert child.popen is not None
        pid, code = child.popen.pid, child.popen.wait()
        child.kill_group(pid)
        self._orphans_at = 0.0
        (self.run_directory / f"{child.process.name}.json").unlink(missing_ok=True)
        if child.process.once and code == 0:
            child.ended, child.popen = True, None
            return
        delay = child.gone(now)
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        if not child.process.once:
            self.say(f"{child.process.name} ended ({how}); starting it again in {delay:.1f} s.")

    def _reap_orphans(self) -> None:
        """Kill grandchildren whose parent died: their work is a row in a state, found again."""
        known = {child.pid for child in self._children()}
        for process in psutil.Process().children():
            if process.pid in known:
                continue
            with contextlib.suppress(psutil.Error, OSError):
                if process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)
                elif process.environ().get(identity.MARKER) == self.mark:
                    process.kill()

    # ---- stopping

    def _stop_stage(self, children: list[Child], deadline: float) -> None:
        for child in children:
            child.offspring = child.family()
        steps = max((len(child.process.ladder) for child in children), default=0)
        for step in range(steps):
            seconds = 0.0
            for child in children:
                if step < len(child.process.ladder) and child.popen and child.popen.poll() is None:
                    number, patience = child.process.ladder[step]
                    child.popen.send_signal(number)
                    seconds = max(seconds, patience)
            self._wait(children, min(time.monotonic() + seconds, deadline))
        for child in children:
            if child.popen is None:
                continue
            if child.popen.poll() is None:
                self.say(f"{child.process.name} does not end by itself: killed.")
                child.popen.kill()
            pid = child.popen.pid
            child.popen.wait()
            child.kill_group(pid)
            child.popen = None
            identity.stop([p for p in child.offspring if p.is_running()], ladder=())

    def _wait(self, children: list[Child], until: float) -> None:
        asked = self._stopping
        while any(child.popen and child.popen.poll() is None for child in children):
            left = until - time.monotonic()
            if left <= 0 or self._stopping > max(asked, 1):
                return  # Out of patience, or asked a second time.
            self._read(min(left, PROBE_SECONDS))
