"""From an approval to the trial: the real dispatcher and workers, as a system runs them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from app.base import clock
from app.base.config import CHECKOUT, settings
from app.base.db import control_session
from tenants import bench
from tenants.models import Tenant

LIMIT_SECONDS = 3.0
PATIENCE_SECONDS = 120.0
POLL_SECONDS = 0.005
# Apart from a system that runs on the same Valkey, whose workers would look for our tenants.
QUEUES_APART = "/13"


def approvals_to_trials(*, n: int) -> list[float]:
    """This function will return the seconds of each of `n` tenants, one after the other.

    From the commit of the approval to the commit that lets them in. The first is not counted: it
    waits until the processes are up.
    """
    with _machinery():
        return [_seconds() for _ in range(n + 1)][1:]


def _seconds() -> float:
    with control_session() as session:
        tenant_id, _ = bench.approve(control_session=session, now=clock.now())
    begun_at = time.perf_counter()
    while time.perf_counter() - begun_at < PATIENCE_SECONDS:
        with control_session() as session:
            if session.get_one(Tenant, tenant_id).state == "trialing":
                return time.perf_counter() - begun_at
        time.sleep(POLL_SECONDS)
    raise RuntimeError("an approved tenant came to no trial")


@contextmanager
def _machinery() -> Iterator[None]:
    """The scheduler and the workers of the default queue, on the database of this moment."""
    queues = urlsplit(settings().redis_url)._replace(path=QUEUES_APART).geturl()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "flask", *command],
            cwd=CHECKOUT,
            env={**os.environ, "REDIS_URL": queues, "TENANTRY_LOG_LEVEL": "ERROR"},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in (("scheduler",), ("worker",))
    ]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait(30)
