"""`flask scheduler` and `flask worker`: the two processes of the jobs."""

from __future__ import annotations

import signal
import threading

import click


@click.command("scheduler")
def scheduler_command() -> None:
    """Dispatch due work to the workers, until SIGTERM or Ctrl-C. Any number may run."""
    from jobs import dispatcher  # noqa: PLC0415 - RQ is loaded by the processes that queue

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    dispatcher.serve(stop)


@click.command("worker")
@click.option(
    "--queue",
    type=click.Choice(["default", "documents"]),
    default="default",
    show_default=True,
    help="documents needs pango, and keeps a warm printer.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="How many jobs at a time.")
def worker_command(*, queue: str, workers: int | None) -> None:
    """Work on due rows, until SIGTERM or Ctrl-C; the job in hand ends after its row."""
    from jobs import worker  # noqa: PLC0415 - likewise

    worker.serve(queue, workers=workers)
