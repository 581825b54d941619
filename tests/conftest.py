"""The real parts under every test: one PostgreSQL and one Valkey for the run, a database a worker.

The process that collects (xdist's controller, or the only one) starts the servers and builds a
control template; each worker clones it. `control_session` rolls back; `scenario` may commit, and
the worker's database is made anew after it.
"""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import redis

from app.embedded.servers import Hold, hold
from tests import databases, processes
from tests.databases import TEMPLATE, administrator
from tests.processes import ROOT
from tests.zygote import Zygote

__all__ = ["Scenario", "administrator"]

pytest_plugins = ("invoices.gateways.conformance.plugin",)

# How long an example takes says how busy the machine is, and nothing about what it tries.
hypothesis.settings.register_profile("tenantry", deadline=None)
hypothesis.settings.load_profile("tenantry")
_zygotes: list[Zygote] = []
_held: list[Hold] = []
_folders: list[Path] = []


def pytest_configure(config: pytest.Config) -> None:
    """This function will start the servers once, and point every process at its own database."""
    # Thousands of tests are collected and stay: the collector need not walk them again and again.
    gc.set_threshold(20_000, 50, 100)
    if not hasattr(config, "workerinput"):
        _start_servers()
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    number = int(worker.removeprefix("gw")) + 1 if worker.startswith("gw") else 0
    var_dir = Path(tempfile.mkdtemp(prefix=f"tenantry-{worker}-"))
    _folders.append(var_dir)
    os.environ |= {
        "DATABASE_URL": databases.url(f"control_{worker}"),
        "REDIS_URL": os.environ["TENANTRY_TEST_REDIS"].rsplit("/", 1)[0] + f"/{number}",
        "TENANTRY_VAR_DIR": str(var_dir),
        "TENANTRY_PUBLIC_URL": "http://localhost",
    }


def _start_servers() -> None:
    os.environ |= {
        "TENANTRY_ENVIRONMENT": "test",
        "TENANTRY_SECRET_KEYS": "a key for tests only",
        "TENANTRY_LOG_LEVEL": "WARNING",
        # What a test changes is so at once; the memory has a test of its own.
        "TENANTRY_API_MEMORY_SECONDS": "0",
        "FLASK_APP": str(ROOT / "wsgi.py"),
    }
    # It imports while the servers start.
    _zygotes.append(Zygote(ROOT))
    directory = Path(tempfile.mkdtemp(prefix="tenantry-tests-"))
    servers = hold(directory, scratch=True)
    _held.append(servers)
    _folders.append(directory)
    os.environ |= {
        "TENANTRY_TEST_DATABASE": servers.database_url,
        "TENANTRY_TEST_REDIS": servers.redis_url,
    }
    _zygotes[0].wait()
    prepared = processes.run(
        *("-m", "tests.template"),
        environment={**os.environ, "DATABASE_URL": databases.url(TEMPLATE)},
        timeout=300,
    )
    if prepared.returncode:
        servers.release()
        raise pytest.UsageError(f"the control template could not be built:\n{prepared.stderr}")


# Stories of whole systems and processes wait more than they compute.
_WAITING = ("tests/scenarios/", "tests/embedded/", "tests/cli/test_bench", "tests/jobs/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """This function will put what waits first, so that other workers fill the processor's time.

    What is left for the end is short, and shared evenly.
    """
    items.sort(key=lambda item: not item.nodeid.startswith(_WAITING))


def pytest_collection_finish() -> None:
    """This function will leave what was collected out of every later walk of the collector."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """This function will let the servers go when the run is over."""
    if browsing := sys.modules.get("tests.browser"):
        browsing.stop()
    if serving := sys.modules.get("tests.web.site.serving"):
        serving.stop()
    for zygote in _zygotes:
        zygote.stop()
    for servers in _held:
        servers.release()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Scenario:
    """A control database that a test may commit to, and the environment that leads to it."""

    database: str
    environment: dict[str, str]

    def run_python(self, code: str, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """This function will start a Python process of its own on this database."""
        return processes.start(
            *("-c", code, *arguments),
            environment={**self.environment, **extra},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def flask(
        self, *arguments: str, timeout: float = 120, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        """This function will run a command of ours as an operator would."""
        return processes.run(
            *("-m", "flask", *arguments),
            environment={**self.environment, **extra},
            timeout=timeout,
        )


@pytest.fixture(scope="session")
def _control_database() -> Iterator[str]:
    from app.base.db import control_engine

    name = os.environ["DATABASE_URL"].rsplit("/", 1)[1]
    databases.clone(name)
    yield name
    control_engine().dispose()
    databases.drop(name)


@pytest.fixture
def control_session(_control_database: str) -> Iterator[Any]:
    """A session whose every commit is a savepoint: nothing is left behind."""
    from app.base.db import control_engine

    yield from _rolled_back(control_engine())


@pytest.fixture
def usage_session(_control_database: str) -> Iterator[Any]:
    """The same where pushed usage lies: a connection of its own, as it is outside of tests."""
    from app.base.db import usage_engine

    yield from _rolled_back(usage_engine())


def _rolled_back(engine: Any) -> Iterator[Any]:
    from sqlalchemy.orm import Session

    with engine.connect() as connection:
        transaction = connection.begin()
        with Session(
            connection, join_transaction_mode="create_savepoint", expire_on_commit=False
        ) as session:
            yield session
        transaction.rollback()


@pytest.fixture
def scenario(_control_database: str, valkey: redis.Redis) -> Iterator[Scenario]:
    """A control database for stories that commit, use several processes or are killed."""
    from app.base import clock
    from app.base.config import settings
    from app.base.db import control_engine

    yield Scenario(_control_database, {**os.environ, "PYTHONPATH": str(ROOT)})
    clock.reset()
    shutil.rmtree(settings().files, ignore_errors=True)
    control_engine().dispose()
    databases.renew(_control_database)


@pytest.fixture
def valkey() -> Iterator[redis.Redis]:
    """This worker's own, empty Valkey database."""
    with redis.Redis.from_url(os.environ["REDIS_URL"], decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture(scope="session")
def _flask_app(_control_database: str) -> Any:
    from app.factory import create_app

    return create_app()


@pytest.fixture
def app(_flask_app: Any, scenario: Scenario) -> Any:
    """The whole application on a database that requests may commit to."""
    return _flask_app


@pytest.fixture
def client(app: Any) -> Any:
    """A browser without JavaScript, as far as Werkzeug's test client is one."""
    return app.test_client()


@pytest.fixture
def limited_client(app: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an application that counts requests, as it does outside of tests."""
    from app.base.config import settings
    from app.factory import create_app
    from app.web import security

    counting = settings().model_copy(update={"environment": "dev"})
    monkeypatch.setattr(security, "settings", lambda: counting)
    yield create_app().test_client()
    security.limiter.enabled = False


@pytest.fixture
def now() -> datetime:
    """A working day at noon in Seoul, far from any boundary."""
    return datetime(2026, 3, 10, 3, 0, tzinfo=UTC)


@pytest.fixture
def set_clock(scenario: Scenario) -> Callable[[datetime], None]:
    """Moves the application clock for this test and for every process that it starts."""
    from app.base import clock

    return clock.set_now
