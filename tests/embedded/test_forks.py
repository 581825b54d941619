"""Children forked from a process that has imported the application."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import processes
from tests.patience import PATIENCE_SECONDS
from tests.processes import ROOT

FORKING = """
import fcntl, os, sys
from pathlib import Path
from app.embedded import forks
from app.embedded.children import Process, begin
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(lock, fcntl.LOCK_EX)
environment = dict(os.environ)
assert forks.import_application(environment)
command = (sys.executable, "-m", "tests.embedded.toy_fork", "one", "two")
toy = Process("a-toy", command, environment, Path("/"), forked=True)
print("ended with", begin(toy, extra={"MARK": "ours"}, output=1).wait())
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")


def test_a_forked_child_is_a_process_of_its_own_that_holds_no_lock_of_ours(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    done = processes.run(
        *("-c", FORKING, str(lock)),
        environment={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=PATIENCE_SECONDS * 3,
    )
    assert done.returncode == 0, done.stderr
    told, *said = sorted(done.stdout.splitlines(), key=lambda line: not line.startswith("{"))
    found = json.loads(told)
    assert str(lock) not in found.pop("holds")
    assert found == {
        "arguments": ["one", "two"],
        "directory": "/",
        "is its own session": True,
        "mark": "ours",
        "called": "a-toy",
    }
    assert sorted(said) == ["ended with 3", "the thread was waited for"]


def test_settings_that_are_wrong_leave_nothing_to_fork() -> None:
    """The first process that is started afresh then says what is wrong with them."""
    asking = "import os, sys; from app.embedded import forks; "
    asking += "sys.exit(forks.import_application(dict(os.environ)))"
    done = subprocess.run(
        [sys.executable, "-c", asking],
        env={**os.environ, "PYTHONPATH": str(ROOT), "TENANTRY_ENVIRONMENT": "nowhere"},
        timeout=PATIENCE_SECONDS * 3,
        check=False,
    )
    assert done.returncode == 0
