"""`flask bench model`: the engine against a slow model of it, over drawn histories."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator

import click

# Both lie with the tests, which an installation need not have.
_COMPARING = "tests.model.comparing"


def differences(*, first: int, seeds: int, jobs: int | None) -> Iterator[tuple[int, list[str]]]:
    """This function will yield, chunk by chunk, how many seeds were tried and what differed.

    Raises: click.ClickException where the model is not at hand.
    """
    try:
        comparing = importlib.import_module(_COMPARING)
    except ModuleNotFoundError as error:
        if not _COMPARING.startswith(str(error.name)):
            raise
        raise click.ClickException(
            "The model and its histories are part of the tests: run this in a checkout of the"
            " source, which has a folder tests/model."
        ) from error
    yield from comparing.in_parallel(first=first, seeds=seeds, jobs=jobs or os.cpu_count() or 1)
