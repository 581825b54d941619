"""Dispatcher and workers as they run: real processes, real PostgreSQL, real Valkey."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import select

from app.base import clock
from app.base.db import APP_ROLE, control_session
from app.base.messages import Message, _queue
from jobs import dispatcher, wakeups
from jobs.models import Slot
from tests.conftest import Scenario, administrator
from tests.jobs.catcher import Catcher, catching
from tests.jobs.running import end, machinery, process
from tests.patience import eventually


def write_mail(subject: str, to: str = "somebody@customer.example") -> None:
    """A mail as a room would write it, committed."""
    with control_session() as session:
        _queue(
            control_session=session,
            values={
                "channel": "mail",
                "kind": "test",
                "recipient": to,
                "language": "en",
                "subject": subject,
                "text": "Text",
                "html": "<p>Text</p>",
                "created_at": clock.now(),
            },
        )


def states() -> list[str]:
    with control_session() as session:
        return list(session.scalars(select(Message.state).order_by(Message.created_at)))


@pytest.fixture
def catcher() -> Iterator[tuple[Catcher, dict[str, str]]]:
    with catching() as (caught, port):
        yield caught, {"TENANTRY_SMTP_PORT": str(port), "TENANTRY_SMTP_HOST": "127.0.0.1"}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


class TestDispatcher:
    def test_wakes_a_step_within_a_second_of_the_commit(
        self, scenario: Scenario, catcher: tuple[Catcher, dict[str, str]], log: Path
    ) -> None:
        caught, where = catcher
        with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="3600", **where):
            write_mail("warm")
            eventually(lambda: caught.subjects() == ["warm"], log)
            write_mail("quick")
            # No sweep for an hour: only the notification can have brought it.
            eventually(lambda: "quick" in caught.subjects(), log)
            eventually(lambda: states() == ["sent", "sent"], "both are written down as sent")

    def test_finds_by_sweep_what_nobody_announced(
        self, scenario: Scenario, catcher: tuple[Catcher, dict[str, str]], log: Path
    ) -> None:
        caught, where = catcher
        with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="0.3", **where):
            with administrator(scenario.database) as connection:
                connection.execute(
                    "INSERT INTO message (id, state, channel, kind, recipient, language, subject,"
                    " text, html, advertising, created_at) VALUES (uuidv7(), 'due', 'mail', 'test',"
                    " 'somebody@customer.example', 'en', 'silent', 't', 'h', false, now())"
                )
            eventually(lambda: caught.subjects() == ["silent"], log)

    @pytest.mark.usefixtures("valkey")
    def test_a_step_that_cannot_be_asked_keeps_no_other_from_being_asked(
        self, scenario: Scenario
    ) -> None:
        write_mail("behind the broken step")
        with administrator(scenario.database) as connection:
            connection.execute(f"REVOKE SELECT ON {Slot.__tablename__} FROM {APP_ROLE}")
        wakeups.valkey.cache_clear()  # another test's may be gone
        dispatcher.sweep()
        woken = {job.args[0] for job in wakeups.queue("default").jobs}
        assert "messages" in woken
        assert "timetable" not in woken

    def test_listens_again_after_postgresql_dropped_it(
        self, scenario: Scenario, catcher: tuple[Catcher, dict[str, str]], log: Path
    ) -> None:
        caught, where = catcher
        with machinery(scenario, log, TENANTRY_SWEEP_SECONDS="3600", **where):
            with administrator() as connection:
                listening = (
                    "SELECT pid FROM pg_stat_activity WHERE datname = %s"
                    " AND application_name = 'tenantry dispatcher'"
                )

                def listener() -> object:
                    return connection.execute(listening, (scenario.database,)).fetchone()

                eventually(listener, log)
                before = listener()
                connection.execute(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = %s AND usename = 'tenantry_app'",
                    (scenario.database,),
                )
                eventually(lambda: listener() not in (None, before), log)
            write_mail("after the cut")
            eventually(lambda: caught.subjects() == ["after the cut"], log)

    def test_stops_within_five_seconds_while_idle(self, scenario: Scenario, log: Path) -> None:
        with (
            process(scenario, log, "scheduler") as scheduler,
            process(scenario, log, "worker") as worker,
        ):
            eventually(
                lambda: (
                    b"dispatcher.started" in log.read_bytes()
                    and b"workers.started" in log.read_bytes()
                ),
                "both run",
            )
            took = end(scheduler), end(worker)
        assert max(took) < 5, took
        assert scheduler.returncode == 0
        assert worker.returncode == 0


class TestWorker:
    def test_ends_the_job_in_hand_and_loses_nothing_when_killed(
        self, scenario: Scenario, log: Path, valkey: redis.Redis
    ) -> None:
        """A worker dies with a lease in hand; another gets the row when the lease is over."""
        short = {
            "TENANTRY_LEASE_SECONDS": "2",
            "TENANTRY_SWEEP_SECONDS": "0.3",
            "TENANTRY_SMTP_HOST": "127.0.0.1",
        }
        with tarpit() as stuck, process(scenario, log, "scheduler", **short):
            dying = {**short, "TENANTRY_SMTP_PORT": str(stuck)}
            with process(scenario, log, "worker", **dying) as worker:
                write_mail("survivor")
                eventually(held, log)
                kill_family(worker)
            assert states() == ["due"]
            with (
                catching() as (caught, port),
                process(scenario, log, "worker", **short, TENANTRY_SMTP_PORT=str(port)),
            ):
                eventually(lambda: caught.subjects() == ["survivor"], log)
                eventually(lambda: states() == ["sent"], "it is written down as sent")


def held() -> bool:
    with control_session() as session:
        return session.scalar(select(Message.lease_until)) is not None


def kill_family(worker: subprocess.Popen[bytes]) -> None:
    family = [psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)]
    assert len(family) >= 3, "the pool, its workers and the job in hand"
    for one in family:
        one.kill()
    psutil.wait_procs(family, timeout=10)


@contextmanager
def tarpit() -> Iterator[int]:
    """A server that accepts connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield int(listening.getsockname()[1])
