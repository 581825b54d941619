"""Which process a recorded number means: pids are reused, so a pid alone proves nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

MARKER = "TENANTRY_SUPERVISED_BY"  # in the environment of every supervised process


@dataclass(frozen=True)
class Identity:
    """A process told apart from every other that ever had its number on this machine."""

    pid: int
    started: str


def of(pid: int) -> Identity | None:
    """Return who `pid` is now, or None where no living process has that number."""
    if sys.platform == "linux":
        # Ticks since boot, because wall-clock start times move whenever the clock is set.
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = text[text.rindex(")") + 2 :].split()
        if fields[0] in "ZX":
            return None
        return Identity(pid, f"{_boot_id()}/{fields[19]}")
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return Identity(pid, f"{process.create_time():.2f}")
    except psutil.NoSuchProcess:
        return None


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def alive(identity: Identity) -> bool:
    """Return whether exactly this process still runs."""
    return of(identity.pid) == identity


def write(path: Path, pid: int) -> None:
    """Record who `pid` is, for a later start that may have to clear up after us."""
    identity = of(pid)
    if identity is None:
        return
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(identity)))
    fresh.replace(path)


def read(path: Path) -> Identity | None:
    """Return the living process that `path` records; None where it is gone or another one."""
    try:
        found = Identity(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return found if alive(found) else None


def bear(mark: str) -> None:
    """Let this process, and with it whatever is forked from it, be found as supervised by `mark`.

    The kernel shows the environment that a process began with: without the mark, it begins again.
    """
    if os.environ.get(MARKER) != mark:
        os.environ[MARKER] = mark
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 no shell is meant


def marked(mark: str) -> Iterator[psutil.Process]:
    """Find every process that was started, however indirectly, under the supervisor `mark`."""
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in ours and process.environ().get(MARKER) == mark:
                yield process


def stop(
    processes: Iterable[psutil.Process],
    *,
    ladder: tuple[tuple[signal.Signals, float], ...] = ((signal.SIGTERM, 3.0),),
) -> None:
    """Stop verified processes: each signal of `ladder` with its seconds, SIGKILL as the last."""
    remaining = list(processes)
    for number, seconds in (*ladder, (signal.SIGKILL, 2.0)):
        for process in remaining:
            # psutil compares the start time again before it signals.
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        remaining = psutil.wait_procs(remaining, timeout=seconds)[1]
        if not remaining:
            return


def stop_leftovers(run_directory: Path, mark: str) -> int:
    """Stop what an earlier supervisor of this directory left behind; return how many those were."""
    found: dict[int, psutil.Process] = {process.pid: process for process in marked(mark)}
    for path in run_directory.glob("*.json"):
        recorded = read(path)
        if recorded is not None and recorded.pid != os.getpid():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.setdefault(recorded.pid, psutil.Process(recorded.pid))
        path.unlink(missing_ok=True)
    stop(found.values())
    return len(found)
