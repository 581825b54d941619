"""The settings that bin/dev, bin/flask and bin/demo give their processes.

What the user has set wins. Secrets that a checkout needs are made once, in its var directory.
"""

from __future__ import annotations

import base64
import contextlib
import os
from pathlib import Path

from app.embedded import accounts, ports, servers

DEFAULT_PORTS = {"web": 8000, "gateway": 8010, "mailbox": 8025, "smtp": 1025}
# Ours must not follow us into a scratch system, nor a Python setting slow every start down.
NEVER_PASSED = ("PYTHONDONTWRITEBYTECODE", "PYTHONHOME", "FLASK_DEBUG")

# Commands that start a scratch system of their own, and must never reach another one by mistake.
OWN_SYSTEM = frozenset({"demo"})
ADDRESSES = ("DATABASE_URL", "USAGE_DATABASE_URL", "REDIS_URL")
NOWHERE = {
    "DATABASE_URL": f"postgresql://{ports.LOOPBACK}:1/none",
    "REDIS_URL": f"redis://{ports.LOOPBACK}:1/0",
}


def var_directory() -> Path:
    """Return the folder of everything this checkout makes by itself."""
    return Path(os.environ.get("TENANTRY_VAR_DIR") or servers.CODE / "var").resolve()


def secret_keys(directory: Path) -> str:
    """Return the checkout's own secret keys, the current one first; made at the first asking."""
    path = directory / "secret_keys"
    with contextlib.suppress(FileNotFoundError):
        kept = path.read_text().split()
        if kept:
            return ",".join(kept)
    directory.mkdir(parents=True, exist_ok=True)
    accounts.private_file(path, base64.urlsafe_b64encode(os.urandom(32)).decode() + "\n")
    return path.read_text().strip()


def inherited(*, scratch: bool) -> dict[str, str]:
    """Return our own environment, without what would lead a scratch system to real servers."""
    names = [name for name in os.environ if name not in NEVER_PASSED]
    if scratch:
        names = [n for n in names if n not in ADDRESSES]
        names = [n for n in names if not n.startswith("TENANTRY_")]
    return {name: os.environ[name] for name in names}


def missing_servers(values: dict[str, str]) -> frozenset[str]:
    """Return which embedded servers are needed: those whose address the user has not set."""
    named = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}
    return frozenset(server for server, variable in named.items() if not values.get(variable))


def complete(
    values: dict[str, str],
    *,
    directory: Path,
    environment: str,
    held: servers.Hold | None,
    chosen: dict[str, int],
) -> dict[str, str]:
    """Fill in what the user has left open; `chosen` are the ports by name."""
    url = "http://127.0.0.1:{}".format
    defaults = {
        "TENANTRY_ENVIRONMENT": environment,
        "TENANTRY_VAR_DIR": str(directory),
        "TENANTRY_PUBLIC_URL": url(chosen["web"]),
        "TENANTRY_SANDBOX_GATEWAY_URL": url(chosen["gateway"]),
        "TENANTRY_MAILBOX_URL": url(chosen["mailbox"]),
        "TENANTRY_SMTP_HOST": ports.LOOPBACK,
        "TENANTRY_SMTP_PORT": str(chosen["smtp"]),
        "FLASK_APP": str(servers.CODE / "wsgi.py"),
    }
    filled = {**defaults, **{name: value for name, value in values.items() if value}}
    if not filled.get("TENANTRY_SECRET_KEYS"):
        filled["TENANTRY_SECRET_KEYS"] = secret_keys(directory)
    if held is not None:
        filled["DATABASE_URL"] = filled.get("DATABASE_URL") or held.database_url
        filled["REDIS_URL"] = filled.get("REDIS_URL") or held.redis_url
    search = [str(servers.CODE), values.get("PYTHONPATH", "")]
    filled["PYTHONPATH"] = os.pathsep.join(filter(None, search))
    filled["PYTHONUNBUFFERED"] = "1"
    return filled


def for_command(command: str) -> dict[str, str]:
    """Return what a Flask command needs, with the servers held until this process ends.

    The process may turn into another program (exec): the hold goes with it.
    """
    directory = var_directory()
    chosen = {**DEFAULT_PORTS, **ports.remembered(directory / "run" / "ports.json")}
    if command in OWN_SYSTEM:
        values = {**inherited(scratch=True), **NOWHERE}
        return complete(values, directory=directory, environment=command, held=None, chosen=chosen)
    values = inherited(scratch=False)
    needs = missing_servers(values)
    held = servers.hold(directory, needs=needs) if needs else None
    if held is not None:
        held.keep_across_exec()
    return complete(values, directory=directory, environment="dev", held=held, chosen=chosen)
