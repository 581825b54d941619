"""Figures for Prometheus; every process of this machine adds to the same folder of counters.

Processes that live for one job write none: each would leave a file behind.
"""

from __future__ import annotations

import os
from pathlib import Path

from app.base.config import settings

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def _choose_folder() -> None:
    """prometheus_client looks at this variable once, when it is imported."""
    if settings().environment == "test" and _VARIABLE not in os.environ:
        return
    folder = Path(os.environ.setdefault(_VARIABLE, str(settings().var_dir / "metrics")))
    folder.mkdir(parents=True, exist_ok=True)


_choose_folder()

from prometheus_client import (  # noqa: E402 - after the folder is chosen
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

REQUEST_SECONDS = Histogram(
    "tenantry_request_seconds",
    "Server time of a request.",
    ("endpoint", "method", "status"),
    buckets=(0.002, 0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
JOB_SECONDS = Histogram(
    "tenantry_job_seconds",
    "Time of one job of a step, and how it ended.",
    ("step", "outcome"),
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180),
)
WAKES = Counter(
    "tenantry_wakes_total", "Jobs put on the queue, by what called for them.", ("step", "by")
)
STEP_DUE = Gauge(
    "tenantry_step_due",
    "1 while a step has work due, as the last sweep saw it.",
    ("step",),
    multiprocess_mode="mostrecent",
)
VISITS_DROPPED = Counter(
    "tenantry_visits_dropped_total", "Visits that found no room on their way to the database."
)
SWEEP_AT = Gauge(
    "tenantry_last_sweep_timestamp_seconds",
    "When the dispatcher last swept every step.",
    multiprocess_mode="mostrecent",
)


def exposition(*collectors: object) -> bytes:
    """This function will return the figures of all processes in Prometheus' text format.

    `collectors` add figures that are read at the moment of asking, such as counts of rows.
    """
    if _VARIABLE not in os.environ:
        registry = REGISTRY
        text = generate_latest(registry)
    else:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # prometheus_client's
        text = generate_latest(registry)
    if collectors:
        extra = CollectorRegistry()
        for collector in collectors:
            extra.register(collector)  # type: ignore[arg-type]  # any object with collect()
        text += generate_latest(extra)
    return text


def forget_ended_processes() -> None:
    """This function will drop the files of processes that are gone: called while nobody serves."""
    if _VARIABLE not in os.environ:
        return
    for file in Path(os.environ[_VARIABLE]).glob("*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            file.unlink(missing_ok=True)
