"""The whole system under one supervisor: bin/dev, and the scratch systems of bin/demo and tests."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from app.embedded import accounts, forks, identity, ports, servers, simulators, system_libraries
from app.embedded import environment as settings
from app.embedded.children import Process, spawn
from app.embedded.errors import EmbeddedError
from app.embedded.identity import Identity
from app.embedded.log_lines import terminal
from app.embedded.processes import stages
from app.embedded.supervisor import Supervisor, claim

HEAL_SECONDS = 1.0  # how often we look whether the servers' keeper lives
START_SECONDS_MAX = 420.0
STOP_SECONDS_MAX = 15.0
POLL_SECONDS = 0.05

Say = Callable[[str], None]


def run(
    *,
    directory: Path | None,
    environment: str,
    scratch: bool,
    seed: bool,
    quiet: bool,
    settings_of_its_own: dict[str, str] | None = None,
    simulated: tuple[str, ...] = (),
) -> int:
    """Run everything until SIGINT or SIGTERM; return the exit code.

    `simulated`: companies to start beside it, with accounts at them or settings that lead there.
    """
    directory = (directory or settings.var_directory()).resolve()
    say: Say = _say
    run_directory = _run_directory(directory)
    identity.bear(str(run_directory))
    for lacking in system_libraries.missing():
        say(str(lacking))
    claim(run_directory, say=say)  # before ports are chosen: leftovers may still listen on ours
    values = {**settings.inherited(scratch=scratch), **(settings_of_its_own or {})}
    chosen, moved = _choose_ports(directory, scratch=scratch, simulated=simulated)
    values = {
        **simulators.settings_of(simulated, chosen=chosen),
        **{name: value for name, value in values.items() if value},  # what the user set wins
    }
    needs = settings.missing_servers(values)
    held = servers.hold(directory, needs=needs, scratch=scratch) if needs else None
    try:
        if held is not None and held.state is not None and held.state.moved:
            moved.append(held.state.moved)
        values = settings.complete(
            values, directory=directory, environment=environment, held=held, chosen=chosen
        )
        supervisor = Supervisor(
            stages(
                environment=values,
                chosen=chosen,
                directory=directory,
                seed=seed,
                simulated=simulated,
                forked=forks.import_application(values),
            ),
            run_directory=run_directory,
            log_directory=directory / "log",
            say=say,
            echo=None if quiet else terminal(),
        )
        return supervisor.run(
            on_ready=lambda: _announce(directory, values, moved, say),
            on_tick=_Healing(held, say),
        )
    except KeyboardInterrupt:
        return 0  # asked to stop before anything of the system had started
    finally:
        _state_path(directory).unlink(missing_ok=True)
        if held is not None:
            held.release()


def addresses(values: dict[str, str]) -> dict[str, str]:
    """Return where people find the system, the mailbox last."""
    public = values["TENANTRY_PUBLIC_URL"]
    return {
        "site": f"{public}/",
        "console": f"{public}/console/",
        "portal": f"{public}/portal/",
        "gateway": f"{values['TENANTRY_SANDBOX_GATEWAY_URL']}/",
        "mailbox": f"{values['TENANTRY_MAILBOX_URL']}/",
    }


def logins(directory: Path) -> list[dict[str, str]]:
    """Return the demo logins that `flask seed` wrote: who, url, email, password."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads((directory / "demo_logins.json").read_text())
        return [entry for entry in found if isinstance(entry, dict)]
    return []


@dataclass
class System:
    """A system of our own in a folder of its own, as a child of this process."""

    directory: Path
    addresses: dict[str, str]
    environment: dict[str, str]
    _child: subprocess.Popen[bytes] = field(repr=False)

    def stop(self) -> int:
        """Stop it, leaving no process behind; return its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
        try:
            return self._child.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._child.kill()
            identity.stop(identity.marked(str(_run_directory(self.directory))), ladder=())
            return self._child.wait()

    def destroy(self) -> None:
        """Stop it and remove everything that it made."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)


def start_system(
    directory: Path,
    *,
    environment: str = "demo",
    seed: bool = False,
    settings_of_its_own: dict[str, str] | None = None,
) -> System:
    """Start a whole scratch system in `directory`, beside any other one, and wait for it.

    It has servers and ports of its own, ignores DATABASE_URL, REDIS_URL and TENANTRY_* of ours
    but takes `settings_of_its_own`, and ends with us however we end.
    """
    directory = directory.resolve()
    (directory / "log").mkdir(parents=True, exist_ok=True)
    values = {**settings.inherited(scratch=True), "PYTHONPATH": str(servers.CODE)}
    arguments = ["--directory", str(directory), "--environment", environment, "--scratch"]
    arguments += ["--quiet"] if seed else ["--quiet", "--no-seed"]
    arguments += [f"--set={name}={value}" for name, value in (settings_of_its_own or {}).items()]
    command = (sys.executable, "-m", "app.embedded", "supervise", *arguments)
    log_path = directory / "log" / "system.log"
    with open(log_path, "wb") as log:
        described = Process("system", command, values, servers.CODE)
        mark = str(_run_directory(directory))
        child = spawn(described, extra={identity.MARKER: mark}, output=log.fileno())
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline and child.poll() is None:
        found = _read_state(directory)
        if found is not None and found["supervisor"]["pid"] == child.pid:
            return System(directory, found["addresses"], found["environment"], child)
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(psutil.NoSuchProcess):
        identity.stop([psutil.Process(child.pid)], ladder=((signal.SIGTERM, STOP_SECONDS_MAX),))
    said = log_path.read_text(errors="replace")[-4_000:]
    raise EmbeddedError(f"The system in {directory} does not start:\n{said}")


class _Healing:
    """Starts the servers' keeper again should it be killed."""

    def __init__(self, held: servers.Hold | None, say: Say):
        self.held = held
        self.say = say
        self.next_at = 0.0

    def __call__(self) -> None:
        if self.held is None or time.monotonic() < self.next_at:
            return
        try:
            self.held.ensure()
        except EmbeddedError as problem:
            self.say(str(problem))
        self.next_at = time.monotonic() + HEAL_SECONDS


def _choose_ports(
    directory: Path, *, scratch: bool, simulated: tuple[str, ...]
) -> tuple[dict[str, int], list[str]]:
    """Choose a port for everything people or programs reach; say which is not the usual one."""
    chosen, moved = {}, []
    wanted = settings.DEFAULT_PORTS | {name: simulators.DEFAULT_PORTS[name] for name in simulated}
    for name, default in wanted.items():
        start = ports.scratch_start() if scratch else default
        chosen[name], elsewhere = ports.choose(directory / "run" / "ports.json", name, start)
        if elsewhere and not scratch:
            moved.append(f"{name} listens on {chosen[name]}: the usual port is taken.")
    return chosen, moved


def _announce(directory: Path, values: dict[str, str], moved: list[str], say: Say) -> None:
    """Write where everything is, for programs to a file and for people to the terminal."""
    itself = identity.of(os.getpid())
    assert itself is not None
    found = addresses(values)
    state = {"supervisor": itself.__dict__, "addresses": found, "environment": values}
    accounts.private_file(_state_path(directory), json.dumps(state))
    lines = ["", *moved, "Tenantry runs. Ctrl-C stops it."]
    mailbox = found.pop("mailbox")
    lines += [f"  {name:<10}{url}" for name, url in found.items()]
    entries = logins(directory)
    width = max((len(str(entry.get("email", ""))) for entry in entries), default=0)
    lines += ["", "Sign in with:"] if entries else []
    for entry in entries:
        who, url, email, password = (
            str(entry.get(key, "")) for key in ("who", "url", "email", "password")
        )
        elsewhere = "" if url in found.values() else f"  {url}"
        # The name comes last: Hangul is wider than a count of letters says.
        lines.append(f"  {email:<{width}}  {password}  {who}{elsewhere}")
    lines += ["", f"  {'logs':<10}{directory / 'log'}  here only what is out of the ordinary"]
    say("\n".join([*lines, f"  {'mailbox':<10}{mailbox}  every mail that was sent", ""]))


def _run_directory(directory: Path) -> Path:
    return directory / "run" / "system"


def _state_path(directory: Path) -> Path:
    return directory / "run" / "system.state"


def _read_state(directory: Path) -> dict[str, dict[str, Any]] | None:
    try:
        state = json.loads(_state_path(directory).read_text())
        return state if identity.alive(Identity(**state["supervisor"])) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
