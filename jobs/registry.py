"""Every step by its name, in the order of the road."""

from __future__ import annotations

import importlib
from functools import lru_cache

from jobs.steps import Step

STEP_MODULES = (
    "timetable",
    "visits",
    "provisioning",
    "limits",
    "metering",
    "invoicing",
    "collection",
    "payment",
    "gateway_events",
    "evidence",
    "documents",
    "lifecycle",
    "destruction",
    "exports",
    "bundles",
    "messages",
)


@lru_cache(maxsize=1)
def all_steps() -> dict[str, Step]:
    """This function will import every step once and return them by name.

    Imported here and not at the top of the file, because a process that only sends one mail or
    answers `--help` should not load every room.
    """
    steps: dict[str, Step] = {}
    for name in STEP_MODULES:
        try:
            module = importlib.import_module(f"jobs.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"jobs.{name}":
                raise
            continue
        step: Step = module.STEP
        steps[step.name] = step
    return steps
