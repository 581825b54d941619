"""The dispatcher: hears of due work at commit, sweeps for it every few seconds, keeps the slots.

It holds nothing. Kill it, run two of it, take Valkey or PostgreSQL away for a while: the rows are
the to-do list, and the next sweep reads them.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime

import psycopg
import structlog
from apscheduler.schedulers.background import BackgroundScheduler
from redis import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.base import clock, metrics
from app.base.config import settings
from app.base.db import APP_ROLE, WORK_CHANNEL, control_session, control_statements, role_url
from jobs import timetable, wakeups
from jobs.registry import all_steps
from jobs.steps import Step

log = structlog.get_logger(__name__)

TICK_SECONDS = 1.0
LISTEN_SECONDS = 0.5
RECONNECT_SECONDS = 1.0


def serve(stop: threading.Event) -> None:
    """This function will dispatch until `stop` is set."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    scheduler = BackgroundScheduler(
        timezone="UTC",
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    scheduler.add_job(sweep, "interval", seconds=settings().sweep_seconds, id="sweep")
    scheduler.add_job(tick, "interval", seconds=TICK_SECONDS, id="tick")
    scheduler.start()
    log.info("dispatcher.started", steps=len(all_steps()))
    try:
        while not stop.is_set():
            try:
                listen(stop)
            except psycopg.Error as error:
                log.warning("listen.lost", error=type(error).__name__)
                stop.wait(RECONNECT_SECONDS)
    finally:
        scheduler.shutdown(wait=False)
        log.info("dispatcher.stopped")


def listen(stop: threading.Event) -> None:
    """This function will wake steps as they are named, over a connection of its own.

    LISTEN does not pass a transaction pooler, so the connection is direct. What was committed
    before it stood is found by the sweep that follows.

    Raises: psycopg.Error when PostgreSQL goes away.
    """
    url = role_url(APP_ROLE).set(drivername="postgresql")
    with psycopg.connect(
        url.render_as_string(hide_password=False),
        autocommit=True,
        connect_timeout=5,
        application_name="tenantry dispatcher",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    ) as connection:
        connection.execute(f"LISTEN {WORK_CHANNEL}")
        sweep()
        checked_at = time.monotonic()
        while not stop.is_set():
            for notification in connection.notifies(timeout=LISTEN_SECONDS, stop_after=1):
                wake(notification.payload, by="notification")
            if time.monotonic() - checked_at > settings().sweep_seconds:
                # A connection that died without a word would otherwise be listened to for ever.
                connection.execute("SELECT 1")
                checked_at = time.monotonic()


def sweep() -> None:
    """This function will wake every step that has work due, whatever was heard or missed."""
    now = clock.now()
    try:
        # One connection for all, and no transaction: what a step asks is a statement or two.
        with control_statements() as connection, Session(connection) as session:
            for step in all_steps().values():
                _look(step, session, now)
    except SQLAlchemyError as error:
        log.warning("sweep.failed", error=type(error).__name__)
    metrics.SWEEP_AT.set(clock.real_now().timestamp())


def _look(step: Step, session: Session, now: datetime) -> None:
    """One step that cannot be asked keeps no other from being asked."""
    try:
        due = step.due(session, now)
    except Exception as error:
        log.warning("sweep.failed", step=step.name, error=type(error).__name__)
        return
    metrics.STEP_DUE.labels(step=step.name).set(int(due))
    if due:
        wake(step.name, by="sweep")


def tick() -> None:
    """This function will write down the slots that have come due by the application clock."""
    try:
        with control_session() as session:
            timetable.enumerate_slots(control_session=session, now=clock.now())
    except SQLAlchemyError as error:
        log.warning("tick.failed", error=type(error).__name__)


def wake(step_name: str, *, by: str) -> None:
    """This function will put a step on its queue; while Valkey is away it leaves that for later."""
    if step_name not in all_steps():
        log.warning("step.unknown", step=step_name)
        return
    try:
        if wakeups.wake(step_name):
            metrics.WAKES.labels(step=step_name, by=by).inc()
    except RedisError as error:
        log.warning("valkey.away", step=step_name, error=type(error).__name__)
