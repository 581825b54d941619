"""`flask bench crash-billing`: billing runs killed anywhere, over drawn histories."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType

import click

from app.base import clock
from app.base.config import CHECKOUT
from app.base.db import close_connections

# They lie with the tests, which an installation need not have.
_CRASHES = "tests.scenarios.crashes"
_BILLER = "tests.scenarios.killed_biller"


def differences(*, schedules: int, first: int) -> Iterator[tuple[int, list[str]]]:
    """This function will yield, schedule by schedule, how many were killed and what was wrong.

    The environment leads to a database of the bench's own, whose clock may be set.

    Raises: click.ClickException where the histories are not at hand.
    """
    crashes = _histories()
    clock.set_now(crashes.TODAY)
    with subprocess.Popen(
        [sys.executable, "-m", _BILLER],
        env={
            **os.environ,
            "TENANTRY_LEASE_SECONDS": "0",
            "TENANTRY_WORK_ATTEMPTS_MAX": "1000000",
            "TENANTRY_INVOICING_CHUNK": "2",
            "TENANTRY_LOG_LEVEL": "ERROR",
        },
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as biller:
        for schedule in crashes.schedules(schedules, first=first):
            made = crashes.make(schedule.seed)
            wanted = crashes.expected(made)
            killed = sum(ending < 0 for ending in _bill(biller, schedule.deaths))
            found = [] if _bill(biller, (None,)) == [0] else ["the last run did not end"]
            found += crashes.differences(wanted)
            yield killed, [f"seed {schedule.seed}, {schedule.deaths}: {each}" for each in found]
        if biller.stdin is not None:
            biller.stdin.close()
    close_connections()
    yield 0, list(crashes.broken_rules())


def _histories() -> ModuleType:
    try:
        return importlib.import_module(_CRASHES)
    except ModuleNotFoundError as error:
        if not _CRASHES.startswith(str(error.name)):
            raise
        raise click.ClickException(
            "The histories are part of the tests: run this in a checkout of the source, which has"
            " a folder tests/scenarios."
        ) from error


def _bill(biller: subprocess.Popen[str], deaths: tuple[float | None, ...]) -> list[int]:
    if biller.stdin is None or biller.stdout is None:
        raise RuntimeError("the biller was started with pipes")
    biller.stdin.write(json.dumps(list(deaths)) + "\n")
    biller.stdin.flush()
    return list(json.loads(biller.stdout.readline()))
