"""The supervisor with toys for children: order, healing, ending."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.embedded import identity, ports
from tests.patience import PATIENCE_SECONDS, eventually

TOYS = Path(__file__).with_name("toy_supervisor.py")
CODE = Path(__file__).resolve().parents[2]


class Toys:
    """A supervisor in a process of its own."""

    def __init__(self, directory: Path):
        self.directory = directory
        self.ports: list[int] = []
        self.names: list[str] = []
        self.popen: subprocess.Popen[bytes] | None = None

    def start(self, *behaviours: str) -> None:
        if not self.ports:
            start = ports.scratch_start()
            for _ in behaviours:
                self.ports.append(ports.first_free(start, apart_from=frozenset(self.ports)))
        arguments = [
            word
            for port, kind in zip(self.ports, behaviours, strict=True)
            for word in (str(port), kind)
        ]
        self.names = [f"{kind}-{port}" for port, kind in zip(self.ports, behaviours, strict=True)]
        with open(self.directory / "said", "wb") as said:
            self.popen = subprocess.Popen(
                [sys.executable, str(TOYS), str(self.directory), *arguments],
                env={**os.environ, "PYTHONPATH": str(CODE)},
                stdout=said,
                stderr=said,
            )

    def started(self, *behaviours: str) -> None:
        self.start(*behaviours)
        eventually(lambda: "all ready" in self.said(), "everything ready")

    def said(self) -> str:
        return (self.directory / "said").read_text()

    def pid(self, place: int) -> int | None:
        path = self.directory / "run" / f"{self.names[place]}.json"
        found = identity.read(path)
        return None if found is None else found.pid

    def end(self, number: signal.Signals) -> int:
        assert self.popen is not None
        self.popen.send_signal(number)
        return self.popen.wait(PATIENCE_SECONDS)

    def processes(self) -> list[psutil.Process]:
        return list(identity.marked(str((self.directory / "run").resolve())))


@pytest.fixture
def toys(tmp_path: Path) -> Iterator[Toys]:
    made = Toys(tmp_path)
    yield made
    if made.popen is not None and made.popen.poll() is None:
        made.end(signal.SIGKILL)
    identity.stop(made.processes(), ladder=())


class TestStart:
    def test_waits_for_each_stage_before_the_next(self, toys: Toys) -> None:
        toys.started("plain", "once", "plain")
        said = toys.said()
        assert said.index(f"listens on {toys.ports[0]}") < said.index("done once")
        assert said.index("done once") < said.index(f"listens on {toys.ports[2]}")

    def test_gives_up_on_a_child_that_cannot_start_and_says_its_last_words(
        self, toys: Toys
    ) -> None:
        toys.start("plain", "broken")
        assert toys.popen is not None
        assert toys.popen.wait(PATIENCE_SECONDS) == 1
        assert "does not start" in toys.said()
        assert "broken on purpose" in toys.said().split("does not start")[1]
        assert toys.processes() == []

    def test_refuses_a_second_supervisor_of_one_directory(self, toys: Toys) -> None:
        toys.started("plain")
        done = subprocess.run(
            [sys.executable, str(TOYS), str(toys.directory), str(toys.ports[0]), "plain"],
            env={**os.environ, "PYTHONPATH": str(CODE)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 1
        assert "runs already" in done.stderr
        assert ports.answers(toys.ports[0])

    def test_keeps_a_log_file_for_each_child(self, toys: Toys) -> None:
        toys.started("plain")
        log = (toys.directory / "log" / f"{toys.names[0]}.log").read_text()
        assert log == f"toy {toys.pid(0)} listens on {toys.ports[0]}\n"
        assert f"{toys.names[0]} │ {log}" in toys.said()


class TestHealing:
    def test_starts_a_killed_child_again(self, toys: Toys) -> None:
        toys.started("plain", "plain")
        first, other = toys.pid(0), toys.pid(1)
        assert first is not None
        os.kill(first, signal.SIGKILL)
        eventually(lambda: toys.pid(0) not in (None, first), "another process in its place")
        eventually(lambda: ports.answers(toys.ports[0]), "it answers again")
        assert toys.pid(1) == other

    def test_kills_the_orphans_of_a_killed_child(self, toys: Toys) -> None:
        toys.started("parent")
        first = toys.pid(0)
        assert first is not None
        (orphan,) = psutil.Process(first).children()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: not orphan.is_running(), "the orphan is gone")
        eventually(lambda: toys.pid(0) not in (None, first), "another process in its place")


class TestEnd:
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_ends_everything_within_ten_seconds(self, toys: Toys, number: signal.Signals) -> None:
        toys.started("plain", "stubborn", "parent", "stubborn")
        began = time.monotonic()
        assert toys.end(number) == 0
        assert time.monotonic() - began < 10
        assert toys.processes() == []
        assert not any(ports.answers(port) for port in toys.ports)

    def test_heals_at_the_next_start_after_a_kill_of_the_supervisor(self, toys: Toys) -> None:
        toys.started("plain", "stubborn", "parent")
        before = {process.pid for process in toys.processes()}
        toys.end(signal.SIGKILL)
        toys.started("plain", "stubborn", "parent")
        after = {process.pid for process in toys.processes()}
        assert len(before) == len(after) == 4
        assert not before & after

    def test_never_signals_a_stranger_who_got_a_recorded_pid(self, toys: Toys) -> None:
        stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        try:
            run = toys.directory / "run"
            run.mkdir()
            record = {"pid": stranger.pid, "started": "another life"}
            (run / "plain.json").write_text(json.dumps(record))
            toys.started("plain")
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()
