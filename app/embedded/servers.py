"""PostgreSQL and Valkey shared by every command of a checkout that needs them.

Who needs the servers holds a shared lock on a file; the kernel drops it however the holder ends. A
keeper process runs both servers, starts them again when they are killed, and stops them once it
gets that lock for itself alone: nobody counts, so no count can be wrong.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from app.embedded import accounts, identity, ports
from app.embedded.errors import EmbeddedError
from app.embedded.identity import Identity
from app.embedded.postgres import EmbeddedPostgres
from app.embedded.supervisor import Supervisor, claim
from app.embedded.valkey import EmbeddedValkey

CONTROL_DATABASE = "tenantry"
START_SECONDS_MAX = 150.0  # a first start on a slow disk makes the cluster, too
STOP_SECONDS_MAX = 8.0
NOTICE_SECONDS = 1.0  # within which a keeper that nobody needs begins to stop
POLL_SECONDS = 0.02
BOTH = frozenset({"postgres", "valkey"})
# Keepers that this process started: they may outlive every Hold of ours, for others' sake.
_KEEPERS: list[subprocess.Popen[bytes]] = []
CODE = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class State:
    """What the keeper tells the commands: who it is, and where its servers listen."""

    keeper: Identity
    database_url: str
    redis_url: str
    ready: bool
    moved: str = ""  # what listens elsewhere than expected, for people to read

    @property
    def runs(self) -> frozenset[str]:
        urls = {"postgres": self.database_url, "valkey": self.redis_url}
        return frozenset(name for name, url in urls.items() if url)

    @staticmethod
    def path(directory: Path) -> Path:
        return directory / "run" / "servers.state"

    def write(self, directory: Path) -> None:
        accounts.private_file(self.path(directory), json.dumps(asdict(self)))

    @classmethod
    def read(cls, directory: Path) -> State | None:
        """Return what a living keeper says; None where none lives."""
        try:
            known = json.loads(cls.path(directory).read_text())
            state = cls(**{**known, "keeper": Identity(**known["keeper"])})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return state if identity.alive(state.keeper) else None


class Hold:
    """Keeps the servers of `directory` running as long as it (or the process) lives."""

    def __init__(self, directory: Path, *, needs: frozenset[str], scratch: bool):
        self.directory = directory.resolve()
        self.needs = needs
        self.scratch = scratch
        self.state: State | None = None
        (self.directory / "run").mkdir(parents=True, exist_ok=True)
        self._lock: int | None = os.open(_holders(self.directory), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_SH)  # waits while a keeper is stopping
        try:
            self.ensure()
        except BaseException:
            self.release()
            raise

    @property
    def database_url(self) -> str:
        """The superuser's address of the control database."""
        return self._known().database_url

    @property
    def redis_url(self) -> str:
        return self._known().redis_url

    def ensure(self) -> None:
        """Start the keeper if it does not run (any more)."""
        if self.state is not None and identity.alive(self.state.keeper):
            return
        with open(self.directory / "run" / "servers.start", "a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self.state = State.read(self.directory)
            if self.state is None:
                keeper = _start_keeper(self.directory, self.needs, scratch=self.scratch)
                self.state = _wait_for(keeper, self.directory)
        if self.needs - self.state.runs:
            raise EmbeddedError(
                f"The embedded servers of {self.directory} were started without "
                f"{' and '.join(sorted(self.needs - self.state.runs))}, because that command had "
                "DATABASE_URL or REDIS_URL set. End it first, or set them here too."
            )

    def keep_across_exec(self) -> None:
        """Hand the hold to the program that this process turns into."""
        if self._lock is not None:
            os.set_inheritable(self._lock, True)

    def release(self) -> None:
        """Let go; if nobody else holds them, wait until the servers are gone."""
        if self._lock is None:
            return
        os.close(self._lock)
        self._lock = None
        started = time.monotonic()
        while (seconds := time.monotonic() - started) < STOP_SECONDS_MAX:
            if self.state is None or not identity.alive(self.state.keeper):
                return
            said = State.read(self.directory)
            if said is not None and said.ready and seconds > NOTICE_SECONDS:
                return  # somebody else holds them
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Hold:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _known(self) -> State:
        if self.state is None:
            raise EmbeddedError("The embedded servers are not running.")
        return self.state


def hold(directory: Path, *, needs: frozenset[str] = BOTH, scratch: bool = False) -> Hold:
    """Start the servers of `directory` if nobody has, and keep them while the result lives.

    With `scratch` the data are gone once nobody holds them, and nothing waits for the disk.
    """
    return Hold(directory, needs=needs, scratch=scratch)


def _holders(directory: Path) -> Path:
    return directory / "run" / "servers.holders"


def _start_keeper(
    directory: Path, needs: frozenset[str], *, scratch: bool
) -> subprocess.Popen[bytes]:
    passed = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONWARNINGS")
    environment = {name: os.environ[name] for name in passed if name in os.environ}
    environment |= {"PYTHONPATH": str(CODE), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", "app.embedded", "keep", "--directory", str(directory)]
    command += [f"--only={name}" for name in sorted(needs)]
    (directory / "log").mkdir(exist_ok=True)
    with open(_keeper_log(directory), "wb") as log:
        keeper = subprocess.Popen(
            [*command, "--scratch"] if scratch else command,
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _KEEPERS[:] = [keeper, *(other for other in _KEEPERS if other.poll() is None)]
    return keeper


def _keeper_log(directory: Path) -> Path:
    return directory / "log" / "servers.log"


def _wait_for(keeper: subprocess.Popen[bytes], directory: Path) -> State:
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        state = State.read(directory)
        if state is not None and state.ready:
            return state
        if keeper.poll() is not None:
            break
        time.sleep(POLL_SECONDS)
    said = _keeper_log(directory).read_text(errors="replace")[-4_000:]
    raise EmbeddedError(f"The embedded servers do not start:\n{said}")


def keep(directory: Path, *, only: frozenset[str], scratch: bool) -> int:
    """Run the servers of `directory` until nobody holds them; the keeper's whole life."""
    run_directory = directory / "run" / "servers"
    claim(run_directory, say=_say)
    home = accounts.home(directory, scratch=scratch)
    secrets = directory / "run"
    postgres = EmbeddedPostgres(home / "postgres", secrets / "postgres.password", 0, scratch)
    valkey = EmbeddedValkey(home / "valkey", secrets / "valkey.password", 0)
    servers = [server for server in (postgres, valkey) if server.name in only]
    for server in servers:
        # Before a port is chosen: a server that outlived a kill would seem to have taken its own.
        server.clear_leftovers()
    moved = _choose_ports(directory, servers, scratch=scratch)
    for server in servers:
        server.prepare()
    database_url = postgres.url(CONTROL_DATABASE) if postgres in servers else ""
    redis_url = valkey.url() if valkey in servers else ""
    supervisor = Supervisor(
        [[server.process() for server in servers]],
        run_directory=run_directory,
        log_directory=directory / "log",
        say=_say,
    )
    itself = identity.of(os.getpid())
    assert itself is not None

    def tell(*, ready: bool) -> None:
        State(itself, database_url, redis_url, ready, moved).write(directory)

    lock = os.open(_holders(directory), os.O_RDWR | os.O_CREAT, 0o600)

    def unneeded() -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        tell(ready=False)
        return True

    try:
        return supervisor.run(on_ready=lambda: tell(ready=True), until=unneeded)
    finally:
        if scratch:
            for server in servers:
                server.destroy()
            shutil.rmtree(home, ignore_errors=True)
            (directory / "embedded.json").unlink(missing_ok=True)
        State.path(directory).unlink(missing_ok=True)


def _choose_ports(
    directory: Path, servers: list[EmbeddedPostgres | EmbeddedValkey], *, scratch: bool
) -> str:
    moved = []
    for server in servers:
        start = ports.scratch_start() if scratch else server.default_port
        known = directory / "run" / "ports.json"
        server.port, elsewhere = ports.choose(known, server.name, start)
        if elsewhere and not scratch:
            moved.append(f"{server.name} listens on {server.port}: the usual port is taken.")
    return " ".join(moved)


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
