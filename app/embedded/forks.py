"""Children forked from a supervisor that has imported the application once for all of them.

Importing takes a processor longer than most children need for everything else at their start. What
is forked still is a process of its own, with its own session, arguments, output and end; nothing of
the application is configured or connected yet where it begins.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

# What several of the processes need, and the modules that take long without being the application.
# The printer's library is not among them: only its own process may hold it.
_SHARED = (
    *("app.factory", "app.cli.running", "app.cli.setup", "flask.cli", "gunicorn.app.wsgiapp"),
    *("gunicorn.workers.gthread", "jobs.dispatcher", "jobs.worker", "alembic.command"),
    *("app.sandbox.command", "app.mailbox.command"),
)
_DESCRIPTORS = Path("/proc/self/fd")
# Opened by what was imported, whose objects close them when they go.
_kept: set[int] = {0, 1, 2}


class Forked:
    """A child that was forked, held as `subprocess.Popen` holds a program."""

    def __init__(self, pid: int):
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return how it ended, or None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Wait for its end and return how it ended."""
        code = self._wait(0)
        assert code is not None
        return code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid == self.pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


def import_application(environment: Mapping[str, str]) -> bool:
    """Import what children share, under the environment that all of them have.

    Returns whether there is something to fork. Where it cannot be imported, as for settings that
    are wrong, a child that is started afresh says why. Elsewhere than on Linux, libraries of the
    system may not stand being forked.
    """
    if sys.platform != "linux":
        return False
    os.environ.clear()
    os.environ.update(environment)
    before = _open_descriptors()
    try:
        for name in _SHARED:
            importlib.import_module(name)
        importlib.import_module("jobs.registry").all_steps()
        importlib.import_module("sqlalchemy.orm").configure_mappers()
    except Exception:  # whatever it is, the first child that needs it meets it, too
        return False
    _kept.update(_open_descriptors() - before)
    # Whoever is forked shares these objects and need not walk them.
    gc.collect()
    gc.freeze()
    return True


def fork(
    command: Sequence[str],
    *,
    name: str,
    environment: Mapping[str, str],
    directory: Path,
    output: int,
    before_start: Callable[[], None],
) -> Forked:
    """Fork what `command` would start afresh: an interpreter, `-m`, a module and its arguments.

    `environment` is the imported one's, or adds to it; `before_start` is called in the child.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # else both of us would say it
    # A signal that comes before the child is its own master must neither be lost nor be ours.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        _become(
            command,
            name=name,
            environment=environment,
            directory=directory,
            output=output,
            before_start=before_start,
        )
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return Forked(pid)


def _become(
    command: Sequence[str],
    *,
    name: str,
    environment: Mapping[str, str],
    directory: Path,
    output: int,
    before_start: Callable[[], None],
) -> NoReturn:
    code = 1
    try:
        os.setsid()
        _forget_signals()
        before_start()
        _take_descriptors(output)
        Path("/proc/self/comm").write_text(name)  # told apart from us in lists of processes
        os.chdir(directory)
        os.environ.update(environment)
        _, _, module, *arguments = command
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            sys.stderr.write(end.code + "\n")  # as the interpreter does
    except BaseException:  # likewise
        sys.excepthook(*sys.exc_info())
    finally:
        _end(code)


def _forget_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _take_descriptors(output: int) -> None:
    """Its output is `output`; of the supervisor's locks and pipes it may hold none."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for own in (1, 2):
        os.dup2(output, own)
    for descriptor in _open_descriptors() - _kept:
        os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]


def _open_descriptors() -> set[int]:
    with os.scandir(_DESCRIPTORS) as found:
        open_ones = {int(entry.name) for entry in found}
    # The folder that was looked through is closed by now.
    return {number for number in open_ones if (_DESCRIPTORS / str(number)).exists()}


def _end(code: int) -> NoReturn:
    """What the interpreter does at its end; the supervisor's own frames must not unwind here."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)
