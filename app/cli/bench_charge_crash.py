"""`flask bench crash`: charges and refunds whose workers are killed anywhere, over seeds."""

from __future__ import annotations

import importlib
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from uuid import UUID

import click

from app.base import clock
from app.base.db import close_connections

# They lie with the tests, which an installation need not have.
_CRASHES = "tests.scenarios.charge_crashes"
_GATEWAY = "tests.invoices.collecting"
# So many schedules share their last, undisturbed runs; every fourth debtor then gets money back.
TOGETHER = 50


def differences(*, schedules: int, first: int) -> Iterator[tuple[int, list[str]]]:
    """This function will yield, part by part, how many were killed and what was wrong after it.

    The environment leads to a database of the bench's own, whose clock may be set.

    Raises: click.ClickException where the schedules are not at hand.
    """
    crashes, gateway = _tests(_CRASHES), _tests(_GATEWAY)
    with (
        tempfile.TemporaryDirectory(prefix="tenantry-crash-") as folder,
        gateway.gateway_at(Path(folder)) as sandbox,
        crashes.collectors(Path(folder)) as crew,
    ):
        invoices: list[UUID] = []
        credited: list[UUID] = []
        for begun in range(first, first + schedules, TOGETHER):
            seeds = range(begun, min(begun + TOGETHER, first + schedules))
            clock.set_now(crashes.NOW)
            killed = 0
            owed: list[UUID] = []
            for seed in seeds:
                owed += crashes.debtors(seed)
                killed += crew.run(crashes.schedule(seed)).count(-signal.SIGKILL)
            crew.to_the_end(clock.set_now, hears=begun)
            paid = [each for each in owed[::4] if crashes.charged(sandbox, [each])]
            crashes.credit(paid)
            for seed in seeds[::4]:
                killed += crew.run(crashes.schedule(seed)).count(-signal.SIGKILL)
            crew.to_the_end(clock.set_now, hears=begun + 1)
            invoices, credited = invoices + owed, credited + paid
            yield killed, []
        found = crashes.wrong(sandbox, invoices, credited)
    close_connections()
    yield 0, found


def _tests(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(str(error.name)):
            raise
        raise click.ClickException(
            "The schedules are part of the tests: run this in a checkout of the source, which has"
            " a folder tests/scenarios."
        ) from error
