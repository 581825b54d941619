"""The workers: RQ carries a step's name to a forked process, which works until nothing is due."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from typing import Any

import httpx
import structlog
from redis import Redis, RedisError
from rq import Worker
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer
from rq.worker_pool import WorkerPool
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import configure_mappers

from app.base import authorities, clock, logs, metrics
from app.base.config import settings
from app.base.db import control_engine, forget_connections
from invoices import working_days
from jobs import stopping, wakeups
from jobs.registry import all_steps

log = structlog.get_logger(__name__)

WORKERS = {"default": 2, "documents": 1}
# Then the next step has its turn; what is left goes to the end of the queue.
TURN_SECONDS = 4.0
# An idle worker hears of its own end at the latest after this, less 15 s (RQ's own arithmetic).
WORKER_TTL_SECONDS = 17
# How soon the jobs of a killed worker are cleared away; their rows come back by their leases.
MAINTENANCE_SECONDS = 30
MONITOR_SECONDS = 10
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def run(step_name: str) -> None:
    """This function will work on one step until nothing is due or its turn is over.

    It is what every job on the queue calls. A job lost or run twice changes nothing: the rows
    decide.
    """
    step = all_steps()[step_name]
    wakeups.begun(step_name)
    begun_at = time.monotonic()
    settled = 0
    while not stopping.asked():
        count = step.work()
        settled += count
        if count == 0:
            break
        if time.monotonic() - begun_at > TURN_SECONDS:
            wakeups.wake(step_name)
            break
    if settled:
        elapsed_ms = round((time.monotonic() - begun_at) * 1000)
        log.info("step.worked", settled=settled, elapsed_ms=elapsed_ms)


class StepWorker(Worker):
    """RQ's forking worker, with our terms and an ear for the order to stop."""

    max_connection_wait_time = 3.0
    log_result_lifespan = False

    def __init__(self, queues: Any, **given: Any) -> None:
        # RQ's pool hands over queues that would unpickle; by name they are made anew, for JSON.
        names = [queue.name if isinstance(queue, Queue) else queue for queue in queues]
        given.update(
            serializer=JSONSerializer,
            worker_ttl=WORKER_TTL_SECONDS,
            maintenance_interval=MAINTENANCE_SECONDS,
            job_monitoring_interval=MONITOR_SECONDS,
            log_job_description=False,
        )
        super().__init__(names, **given)

    def work(self, *positional: Any, **given: Any) -> bool:
        """This function will serve the queue; the timetable is ours, so RQ's scheduler stays."""
        _end_with_parent(signal.SIGTERM)
        given["with_scheduler"] = False
        forget_connections()
        return bool(super().work(*positional, **given))

    def handle_warm_shutdown_request(self) -> None:
        """This function will tell the job in hand to end after the row that it is on."""
        if self.horse_pid:
            try:
                os.kill(self.horse_pid, signal.SIGTERM)
            except ProcessLookupError:
                return

    def execute_job(self, job: Job, queue: Queue) -> None:
        """This function will run one job in a fork and take its time from outside."""
        begun_at = time.monotonic()
        failed_before = self.failed_job_count
        try:
            super().execute_job(job, queue)
        finally:
            outcome = "failed" if self.failed_job_count > failed_before else "done"
            metrics.JOB_SECONDS.labels(step=_step_of(job), outcome=outcome).observe(
                time.monotonic() - begun_at
            )

    def setup_work_horse_signals(self) -> None:
        """This function will make the fork its own master: own connections, own end."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        stopping.forget()
        signal.signal(signal.SIGTERM, lambda *_: stopping.ask())
        _end_with_parent(signal.SIGKILL)
        forget_connections()
        wakeups.valkey.cache_clear()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """This function will put the job's ids on every line that it logs."""
        logs.clear()
        logs.bind(job_id=job.id, step=_step_of(job))
        super().main_work_horse(job, queue)

    def handle_exception(self, job: Job, *exc_info: Any) -> None:
        """This function will log a job that failed as a whole; its rows are still due."""
        log.error("job.failed", exc_info=exc_info)
        super().handle_exception(job, *exc_info)


def _step_of(job: Job) -> str:
    return str(job.args[0]) if job.args else "unknown"


def _end_with_parent(with_signal: signal.Signals) -> None:
    """A killed parent takes its children along (Linux); elsewhere the supervisor finds them."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0)


def serve(queue_name: str, *, workers: int | None = None) -> None:
    """This function will run the workers of one queue until SIGTERM or Ctrl-C."""
    if queue_name == "documents":
        _warm_the_press()
    connection = Redis.from_url(
        settings().redis_url, socket_connect_timeout=wakeups.CONNECT_SECONDS
    )
    _wait_for_valkey(connection)
    _warm_up()
    pool = WorkerPool(
        [queue_name],
        connection=connection,
        num_workers=workers or WORKERS[queue_name],
        worker_class=StepWorker,
        serializer=JSONSerializer,
    )
    log.info("workers.started", queue=queue_name, workers=pool.num_workers)
    pool.start(logging_level="WARNING")
    log.info("workers.stopped", queue=queue_name)


def _wait_for_valkey(connection: Redis) -> None:
    """A worker may start before Valkey answers; it says so and waits."""
    told = False
    while True:
        try:
            connection.ping()
            return
        except RedisError as error:
            if not told:
                log.warning("valkey.away", error=type(error).__name__)
                told = True
            time.sleep(0.5)


def _warm_up() -> None:
    """Loaded and put together once, shared by every fork: a job lives shorter than this takes."""
    all_steps()
    configure_mappers()
    # Both load the rest of themselves when they are first used.
    httpx.Client(verify=authorities.of_the_web()).close()
    working_days.is_working_day(clock.now().date())
    try:
        # What the server is gets asked over an engine's first connection alone.
        control_engine().connect().close()
    except SQLAlchemyError as error:
        log.warning("postgresql.away", error=type(error).__name__)
    control_engine().dispose()


def _warm_the_press() -> None:
    """Forks share a press that is already warm; without pango the papers wait, and say why."""
    from app.base.errors import Unavailable  # noqa: PLC0415 - only this queue loads the press
    from invoices.documents import press  # noqa: PLC0415 - likewise

    try:
        press.start()
    except Unavailable as error:
        log.warning("press.unavailable", remedy=error.message)
