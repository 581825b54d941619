"""`flask supervise`: the whole system, as bin/dev runs it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from app.embedded import simulators, system
from app.embedded.errors import EmbeddedError


@click.command("supervise")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it keeps everything; by default var/ of the checkout.",
)
@click.option("--seed/--no-seed", default=True, show_default=True, help="Load the small demo.")
@click.option(
    "--with",
    "simulated",
    default="",
    metavar="stripe,odcloud,…",
    help="Whom to simulate beside it: stripe, toss, portone, popbill, odcloud.",
)
def supervise_command(*, directory: Path | None, seed: bool, simulated: str) -> None:
    """Run web, workers, scheduler, sandbox gateway and mailbox until Ctrl-C."""
    try:
        code = system.run(
            directory=directory,
            environment="dev",
            scratch=False,
            seed=seed,
            quiet=False,
            simulated=simulators.named(simulated),
        )
    except EmbeddedError as problem:
        raise click.ClickException(str(problem)) from problem
    sys.exit(code)
