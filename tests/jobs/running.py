"""The real scheduler and the real workers as processes of a scenario, ended for certain."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests import processes
from tests.conftest import Scenario
from tests.patience import eventually


@contextmanager
def process(
    scenario: Scenario, log: Path, *command: str, **extra: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run one of our commands until the block ends, then see that nothing of it is left."""
    with log.open("ab") as output:
        running = processes.start(
            *("-m", "flask", *command),
            environment={**scenario.environment, "TENANTRY_LOG_LEVEL": "INFO", **extra},
            text=False,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield running
    finally:
        end(running)


def end(running: subprocess.Popen[bytes]) -> float:
    """Ask a process to stop, make sure that it did, and return how long it took."""
    begun = time.monotonic()
    try:
        family = psutil.Process(running.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    if running.poll() is None:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
    took = time.monotonic() - begun
    for child in family:
        if child.is_running():
            child.kill()
    return took


@contextmanager
def machinery(scenario: Scenario, log: Path, **extra: str) -> Iterator[None]:
    """A scheduler and the workers of the default queue."""
    with (
        process(scenario, log, "scheduler", **extra),
        process(scenario, log, "worker", **extra),
    ):
        eventually(
            lambda: (
                b"dispatcher.started" in log.read_bytes() and b"workers.started" in log.read_bytes()
            ),
            log,
        )
        yield
