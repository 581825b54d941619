"""The whole system as bin/dev and bin/demo run it, with its real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from app.embedded import identity, ports, servers, system
from tests.patience import PATIENCE_SECONDS, eventually

PROCESSES = ("gateway", "mailbox", "web", "worker", "documents", "scheduler")


def pid_of(running: system.System, name: str) -> int | None:
    found = identity.read(running.directory / "run" / "system" / f"{name}.json")
    return None if found is None else found.pid


def is_healthy(running: system.System) -> bool:
    url = f"{running.environment['TENANTRY_PUBLIC_URL']}/healthz"
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[system.System]:
    started = system.start_system(tmp_path_factory.mktemp("system"), environment="test")
    yield started
    started.destroy()


class TestWhatItSaysOnceItRuns:
    def test_is_addresses_and_logins_and_the_mailbox_last(self, tmp_path: Path) -> None:
        values = {
            "TENANTRY_PUBLIC_URL": "http://localhost:8000",
            "TENANTRY_SANDBOX_GATEWAY_URL": "http://localhost:8001",
            "TENANTRY_MAILBOX_URL": "http://localhost:8002",
        }
        login = {"who": "finance", "url": "http://localhost:8000/console/"}
        login |= {"email": "finance@tenantry.example", "password": "only for the demo"}
        (tmp_path / "run").mkdir()
        (tmp_path / "demo_logins.json").write_text(json.dumps([login]))
        said: list[str] = []
        system._announce(tmp_path, values, ["web listens on 8000"], said.append)
        lines = [line for line in said[0].splitlines() if line]
        assert lines[0] == "web listens on 8000"
        for address in system.addresses(values).values():
            assert address in said[0]
        (shown,) = [line for line in lines if login["email"] in line]
        assert login["password"] in shown
        assert "http://localhost:8002/" in lines[-1]
        assert "mailbox" in lines[-1]


class TestSystem:
    def test_answers_where_it_says(self, running: system.System) -> None:
        assert list(running.addresses)[-1] == "mailbox"
        for address in running.addresses.values():
            assert ports.answers(int(urlsplit(address).port or 0)), address
        assert is_healthy(running)

    def test_has_servers_of_its_own(self, running: system.System) -> None:
        assert running.environment["DATABASE_URL"] != os.environ.get("DATABASE_URL")
        assert servers.State.read(running.directory) is not None
        assert running.environment["TENANTRY_ENVIRONMENT"] == "test"

    @pytest.mark.parametrize("name", PROCESSES)
    def test_starts_each_process_again_when_it_is_killed(
        self, running: system.System, name: str
    ) -> None:
        first = pid_of(running, name)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: pid_of(running, name) not in (None, first), f"another {name}")
        eventually(lambda: is_healthy(running), "the web answers")


class TestEndOfSystem:
    def test_leaves_no_process_within_ten_seconds(self, running: system.System) -> None:
        """The last to use the system that runs, for it ends it."""
        home = running.directory
        marks = [str(home.resolve() / "run" / name) for name in ("system", "servers")]
        keeper = servers.State.read(home)
        assert keeper is not None
        processes = [process for mark in marks for process in identity.marked(mark)]
        processes.append(psutil.Process(keeper.keeper.pid))
        assert len(processes) > len(PROCESSES)
        supervisor = next(
            parent
            for parent in psutil.Process(pid_of(running, "web")).parents()
            if "supervise" in parent.cmdline()
        )
        supervisor.send_signal(signal.SIGINT)
        supervisor.wait(10)
        assert [process for process in processes if process.is_running()] == []
        assert running.stop() == 0

    def test_leaves_no_process_when_it_is_killed_itself(self, tmp_path: Path) -> None:
        started = system.start_system(tmp_path, environment="test")
        web = psutil.Process(pid_of(started, "web"))
        supervisor = web.parent()
        assert supervisor is not None
        supervisor.kill()
        supervisor.wait(PATIENCE_SECONDS)
        mark = str(tmp_path.resolve() / "run" / "system")
        eventually(lambda: list(identity.marked(mark)) == [], "the end of every process")
        eventually(lambda: servers.State.read(tmp_path) is None, "the end of the servers")
        started.destroy()
