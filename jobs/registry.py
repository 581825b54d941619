"""Every step by its name, in the order of the road."""

from __future__ import annotations

import importlib
from functools import lru_cache

import structlog

from jobs.steps import Step

log = structlog.get_logger(__name__)

STEP_MODULES = (
    "timetable",
    "visits",
    "provisioning",
    "limits",
    "metering",
    "rollups",
    "quotas",
    "consents",
    "invoicing",
    "collection",
    "payment",
    "refunds",
    "dunning",
    "gateway_events",
    "payment_methods",
    "transfers",
    "reconciliation",
    "business_status",
    "evidence",
    "tax_papers",
    "cash_receipts",
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
    answers `--help` should not load every room. A step that can't be loaded is reported and left
    out: the others go on, and its rows wait.
    """
    steps: dict[str, Step] = {}
    for name in STEP_MODULES:
        try:
            step: Step = importlib.import_module(f"jobs.{name}").STEP
        except ImportError:
            log.exception("step.unloadable", step=name)
            continue
        steps[step.name] = step
    return steps
